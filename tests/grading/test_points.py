from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from grader.exercise import catalog
from grader.grading import points
from grader.model.exercise import Exercise, Kernel, Parameter
from grader.model.measurements import read
from grader.model.result import Check, Finding, Status
from tests.fakes import write_exercise

PASSED, FAILED, SKIPPED = Status.PASSED, Status.FAILED, Status.SKIPPED
NOT_JUDGED, ERROR = Status.NOT_JUDGED, Status.ERROR


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    """Two required cases: even, ragged. 40, 40 and 20 points."""
    return catalog.read(write_exercise(tmp_path / "01_double"))


def of_cases(name: str, device: str | None = "cpu", **statuses: Status) -> list[Check]:
    return [Check(f"{name}[{case}]", status, case=case, device=device) for case, status in statuses.items()]


def quality(given: float) -> Check:
    return Check("quality", PASSED, required=False, measurements=read({"points": given}))


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({"even": PASSED, "ragged": PASSED, "one": PASSED, "two": PASSED}, 40),
        ({"even": PASSED, "ragged": PASSED, "one": PASSED, "two": FAILED}, 26.67),
        ({"even": PASSED, "ragged": FAILED, "one": PASSED, "two": PASSED}, 26.67),
        ({"even": FAILED, "ragged": SKIPPED, "one": FAILED, "two": FAILED}, 0),
        ({"even": PASSED, "ragged": FAILED}, 20),
        ({"even": PASSED, "ragged": NOT_JUDGED, "one": PASSED}, None),
        ({"even": PASSED, "ragged": ERROR, "one": FAILED}, None),
    ],
)
def test_correctness_is_shared_out(exercise: Exercise, statuses: dict[str, Status], expected: float | None) -> None:
    assert points.of(exercise, of_cases("correct", **statuses)).correctness == expected


def kernel(name: str, output: str, weight: float = 1.0) -> Kernel:
    return Kernel(name, (Parameter("x", "const float*"), Parameter("y", "float*", output)), (), weight=weight)


@pytest.fixture
def several(exercise: Exercise) -> Exercise:
    """Three outputs, the last of which two kernels make; half of the points are the first one's."""
    kernels = (kernel("a", "of_a", 2), kernel("b", "of_b"), kernel("c", "of_c", 0), kernel("d", "of_c"))
    return msgspec.structs.replace(exercise, kernels=kernels)


def wrong(*kernels: str, case: str = "even") -> Check:
    findings = tuple(Finding("wrong-values", "a.cu", 1, "", kernel=name) for name in kernels)
    return Check(f"correct[{case}]", FAILED, case=case, findings=findings)


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (wrong("b"), 15),
        (wrong("d"), 15),
        (wrong("a"), 10),
        (wrong("a", "b", "d"), 0),
        (wrong(""), 0),
        (Check("correct[even]", SKIPPED, case="even"), 0),
        (Check("correct[even]", SKIPPED, case="even", measurements=read({"right_kernels": ["a", "d"]})), 15),
    ],
)
def test_each_kernel_earns_its_part_of_a_case(several: Exercise, check: Check, expected: float) -> None:
    ragged = Check("correct[ragged]", FAILED, case="ragged")
    given = points.of(several, [check, ragged, quality(8)])
    assert given.correctness == expected
    assert given.quality == (8 if expected else 0)


def test_of_all_other_cases_a_kernel_earns_its_part_where_it_is_right_in_each(several: Exercise) -> None:
    right = of_cases("correct", even=PASSED, ragged=PASSED)
    given = points.of(several, [*right, wrong("a", case="one"), wrong("b", case="two")])
    assert given.correctness == pytest.approx(40 / 3 * 2.25, abs=0.01)


def test_what_never_ends_gains_nothing(exercise: Exercise) -> None:
    """The other cases were not tried, or took too long."""
    checks = [Check("memory[even]", FAILED, case="even"), *of_cases("correct", even=SKIPPED, ragged=NOT_JUDGED)]
    given = points.of(exercise, [*checks, quality(8)])
    assert (given.correctness, given.quality) == (None, 0)


def test_what_is_forbidden_earns_nothing(exercise: Exercise) -> None:
    right = of_cases("correct", even=PASSED, ragged=PASSED) + of_cases("speed", "cuda", even=PASSED, ragged=PASSED)
    given = points.of(exercise, [*right, Check("rules", FAILED), quality(8)])
    assert (given.correctness, given.performance, given.quality) == (0, 0, 8)


def test_speed_not_judged_is_not_zero(exercise: Exercise) -> None:
    checks = of_cases("speed", None, even=NOT_JUDGED, ragged=NOT_JUDGED)
    assert points.of(exercise, checks).performance is None


def test_speed_skipped_on_a_cpu_is_not_zero_either(exercise: Exercise) -> None:
    assert points.of(exercise, of_cases("speed", None, even=SKIPPED, ragged=SKIPPED)).performance is None


@pytest.mark.parametrize("check", ["compile", "launch", "memory[even]", "correct[even]"])
def test_speed_skipped_for_an_error_of_the_graders_is_not_zero(exercise: Exercise, check: str) -> None:
    skipped = of_cases("correct", ragged=SKIPPED) + of_cases("speed", "cuda", even=SKIPPED, ragged=SKIPPED)
    given = points.of(exercise, [Check(check, ERROR), *skipped])
    assert (given.correctness, given.performance) == (None, None)


@pytest.mark.parametrize(("check", "performance"), [("compile", None), ("launch", None), ("rules", 0)])
def test_on_a_cpu_only_what_is_forbidden_has_lost_its_points_for_speed(
    exercise: Exercise, check: str, performance: int | None
) -> None:
    skipped = of_cases("correct", even=SKIPPED, ragged=SKIPPED) + of_cases(
        "speed", None, even=SKIPPED, ragged=SKIPPED
    )
    given = points.of(exercise, [Check(check, FAILED), *skipped, Check("quality", SKIPPED, required=False)])
    assert (given.correctness, given.performance, given.quality, given.total) == (0, performance, 0, 0)


def test_performance_is_shared_out_where_a_gpu_judged_it(exercise: Exercise) -> None:
    checks = of_cases("speed", "cuda", even=PASSED, ragged=FAILED)
    assert points.of(exercise, checks).performance == 20


def test_quality_counts_from_the_first_right_case_on(exercise: Exercise) -> None:
    wrong = [*of_cases("correct", even=FAILED, ragged=FAILED), quality(8)]
    right = [*of_cases("correct", even=FAILED, ragged=PASSED), quality(8)]
    assert points.of(exercise, wrong).quality == 0
    assert points.of(exercise, right).quality == 8


def test_the_total_adds_what_is_known(exercise: Exercise) -> None:
    checks = [*of_cases("correct", even=PASSED, ragged=PASSED), quality(8)]
    given = points.of(exercise, checks)
    assert (given.total, given.max, given.manual) == (48, 100, None)


def test_nothing_known_is_no_total(exercise: Exercise) -> None:
    checks = [*of_cases("correct", even=ERROR, ragged=ERROR), Check("quality", ERROR, required=False)]
    assert points.of(exercise, checks).total is None


def test_where_the_verdict_is_error_there_are_no_points_at_all(exercise: Exercise) -> None:
    right = of_cases("correct", even=PASSED, ragged=PASSED)
    assert points.of(exercise, [*right, quality(8)]).total == 48
    failed = points.of(exercise, [*right, quality(8), Check("memory[one]", ERROR)])
    assert (failed.correctness, failed.quality, failed.total, failed.max) == (None, None, None, 100)

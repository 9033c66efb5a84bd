from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from grader.checks import quality
from grader.exercise import catalog
from grader.model.execution import Compilation, Resources
from grader.model.exercise import Exercise, QualityRule
from grader.model.result import Check, Finding, Status
from tests.fakes import COMPILED, KERNELS, SOURCE, changed, write_exercise

GOOD = SOURCE.decode()
RULES = tuple(QualityRule(name, 2) for name in ("no-warnings", "no-spills", "formatted", "commented"))


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    return msgspec.structs.replace(catalog.read(write_exercise(tmp_path / "01_double")), quality=RULES)


def judged(exercise: Exercise, text: str = GOOD, compilation: Compilation = COMPILED) -> Check:
    return quality.judge(exercise, compilation, text, "starter.cu")


def broken(check: Check) -> list[tuple[str, int, int]]:
    return [(finding.kind, finding.line, finding.count) for finding in check.findings]


def test_good_work_gets_every_point_and_costs_no_verdict(exercise: Exercise) -> None:
    check = judged(exercise)
    assert (check.status, check.required, check.findings) == (Status.PASSED, False, ())
    assert (check.measurements.points, check.measurements.points_max) == (8, 8)


def test_each_broken_rule_costs_its_own_points(exercise: Exercise) -> None:
    spilling = Resources(registers=255, shared_bytes=0, spill_bytes=48, stack_bytes=0)
    warnings = tuple(Finding("compile-warning", "starter.cu", line, "unused") for line in (6, 7))
    compilation = msgspec.structs.replace(changed(KERNELS[0], resources=spilling), findings=warnings)
    check = judged(exercise, GOOD.replace("// Doubles.\n", "").replace("    y", "\ty"), compilation)
    assert (check.status, check.measurements.points) == (Status.FAILED, 0)
    assert broken(check) == [
        ("no-warnings", 6, 2),
        ("no-spills", 4, 1),
        ("formatted", 5, 1),
        ("commented", 3, 1),
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("    y[", "\ty[", 6),
        ("cols)\n{", "cols) \n{", 4),
        ("// Doubles.", "// " + "x" * 120, 3),
        ("// Doubles.\n", "// A page\fends.\n" + " " * 120 + ";\n", 4),
    ],
)
def test_formatting_names_the_first_line(exercise: Exercise, old: str, new: str, line: int) -> None:
    assert [(kind, at) for kind, at, _ in broken(judged(exercise, GOOD.replace(old, new)))] == [("formatted", line)]


def test_a_comment_inside_the_kernel_counts(exercise: Exercise) -> None:
    text = GOOD.replace("// Doubles.\n", "").replace("    y[", "    // twice\n    y[")
    assert judged(exercise, text).status is Status.PASSED


def test_the_comment_of_another_function_does_not(exercise: Exercise) -> None:
    text = GOOD.replace("// Doubles.\n", "").replace("launch->grid", "// one block\n    launch->grid")
    assert [kind for kind, _, _ in broken(judged(exercise, text))] == ["commented"]

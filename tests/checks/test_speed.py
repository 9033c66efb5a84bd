from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from grader.baselines.work import Work
from grader.checks import speed
from grader.exercise import catalog
from grader.model.execution import CompiledKernel, Resources
from grader.model.exercise import Case, Exercise, Floor
from grader.model.measurements import LaunchedKernel
from grader.model.result import Check, Status
from grader.sandbox.messages import Verified
from grader.timing.inputs import Sets
from grader.timing.session import Timing
from grader.timing.statistics import Interval
from tests.fakes import write_exercise
from tests.timing.samples import H200, timing

CASE = Case("even", True, {}, "M 4 4")
KERNEL = CompiledKernel("double_kernel", (8,), 4, Resources(64, 17408, 8, 0))
SETS = Sets((CASE,) * 5, {}, Work(6.7e7, 2e6), 1_500_000)


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    return catalog.read(write_exercise(tmp_path / "01_double"))


def judge(exercise: Exercise, *timings: Timing) -> Check:
    return speed.judge(exercise, CASE, timings or (timing(),), SETS, H200, (KERNEL,), "starter.cu")


def test_fast_enough(exercise: Exercise) -> None:
    check = judge(exercise, timing(0.7))
    assert (check.status, check.device) == (Status.PASSED, "cuda")
    assert "10.0 us, cuBLAS (strided) 7.0 us: 0.70 of its speed; 0.60 is required" in check.message


def test_too_slow(exercise: Exercise) -> None:
    check = judge(exercise, timing(0.5))
    assert (check.status, check.measurements.bonus) == (Status.FAILED, 0.0)


@pytest.mark.parametrize(
    ("ratio", "to_floor", "status"),
    [(0.7, 1.4, Status.PASSED), (0.7, 1.2, Status.FAILED), (0.5, 1.4, Status.FAILED)],
)
def test_a_floor_must_be_reached_too(exercise: Exercise, ratio: float, to_floor: float, status: Status) -> None:
    exercise = msgspec.structs.replace(exercise, floors=(Floor("padded", 1.3, ("even",)),))
    check = judge(exercise, timing(ratio, floors={"padded": Interval(to_floor, to_floor - 0.01, to_floor + 0.01)}))
    assert check.status is status
    label = "cuBLAS, all groups padded to the longest"
    assert f"{to_floor:.2f} of {label}, 1.30 is required" in check.message
    (floor,) = check.measurements.floors or ()
    assert (floor.label, floor.required, floor.passed) == (label, 1.3, to_floor > 1.3)


def test_measures_what_the_contract_names(exercise: Exercise) -> None:
    measured = judge(exercise, timing(1.5)).measurements
    assert (measured.time_us, measured.baseline_us, measured.ratio) == (10.0, 15.0, 1.5)
    assert measured.ratio_low == pytest.approx(1.485)
    assert measured.ratio_high == pytest.approx(1.515)
    assert measured.tflops == pytest.approx(6.7)
    assert (measured.route, measured.baseline) == ("strided", "cublas strided")
    assert measured.single_matrix_ratio == pytest.approx(0.8)
    assert measured.bonus == pytest.approx(1.5)


def test_says_what_limits_the_kernel(exercise: Exercise) -> None:
    measured = judge(exercise).measurements
    (launch,) = measured.launched
    assert launch == LaunchedKernel(
        name="double_kernel",
        blocks_per_sm=8,
        occupancy=0.5,
        grid_blocks=128,
        registers=64,
        shared_bytes=17408,
        spill_bytes=8,
    )
    assert (measured.roof, measured.intensity) == ("compute", 33.5)


@pytest.mark.parametrize(("ratio", "status"), [(0.603, Status.PASSED), (0.598, Status.FAILED)])
def test_three_processes_that_leave_it_open_are_borderline(exercise: Exercise, ratio: float, status: Status) -> None:
    check = judge(exercise, timing(0.61), timing(ratio), timing(0.59))
    assert (check.status, check.measurements.borderline) == (status, True)
    assert check.message.startswith("borderline, decided by the median: ")
    assert len(check.measurements.processes) == 3


def test_three_processes_may_settle_it(exercise: Exercise) -> None:
    wide = timing(0.61, interval=Interval(0.61, 0.55, 0.67))
    check = judge(exercise, wide, timing(0.65), timing(0.66))
    assert (check.status, check.measurements.borderline) == (Status.PASSED, False)


def test_a_time_below_the_roof_is_an_error_and_no_record(exercise: Exercise) -> None:
    check = judge(exercise, timing(time_us=0.1))
    assert check.status is Status.ERROR
    assert "no NVIDIA H200 can do it in less than 0.312 us" in check.message


def test_wrong_outputs_of_timed_launches_fail(exercise: Exercise) -> None:
    check = judge(exercise, timing(verified=Verified(float("nan"), 3, 1000, {})))
    assert (check.status, check.findings[0].kind, check.findings[0].count) == (Status.FAILED, "wrong-values", 3)
    assert math.isnan(check.measurements.max_abs_error)


def test_a_cublas_that_is_wrong_judges_nobody(exercise: Exercise) -> None:
    verified = Verified(1e-5, 0, 1000, {"strided": 0, "grouped": 7})
    check = judge(exercise, timing(verified=verified))
    assert check.status is Status.ERROR
    assert "cuBLAS's grouped disagrees" in check.message


def test_a_case_may_be_left_unjudged(exercise: Exercise) -> None:
    check = speed.not_judged(exercise, CASE.name, "64 rounds were dropped")
    assert (check.status, check.reason) == (Status.NOT_JUDGED, "64 rounds were dropped")
    assert msgspec.structs.replace(check, reason=None).device is None

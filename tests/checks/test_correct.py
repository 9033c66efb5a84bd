from __future__ import annotations

import math

import numpy as np
import pytest

from grader.checks import correct
from grader.checks.correct import Origin
from grader.diagnosis import tolerance
from grader.model.details import Detail
from grader.model.exercise import Array, Case
from grader.model.result import Check, Status

SIZES = [3, 0, 5]
REFERENCE = np.random.default_rng(3).random((8, 16)) * 4 - 2


def judged(
    actual: np.ndarray,
    reference: np.ndarray = REFERENCE,
    sizes: list[int] = SIZES,
    unset: frozenset[int] = frozenset(),
    arrays: tuple[str, ...] = (),
) -> Check:
    case = Case("odd", True, {"M_sizes": Array("M_sizes", np.array(sizes, np.int32))}, "M 3 0 5")
    outputs, origins = {"C": actual}, {"C": Origin("C", 12, "k", arrays)}
    known = tolerance.judge(case, outputs, {"C": reference}, tolerance=1e-3)
    return correct.judge(case, known, outputs, filename="starter.cu", origins=origins, unset=unset)


def changed(row: int, column: int, value: float) -> np.ndarray:
    actual = REFERENCE.astype(np.float32)
    actual[row, column] = value
    return actual


def test_rounding_is_no_error() -> None:
    check = judged(REFERENCE.astype(np.float32))
    assert (check.id, check.status, check.findings) == ("correct[odd]", Status.PASSED, ())
    assert 0 < check.measurements.max_abs_error < 1e-6
    assert (check.measurements.mismatches, check.measurements.elements) == (0, 128)


def test_one_wrong_element_of_many_fails() -> None:
    check = judged(changed(4, 7, 0.5))
    (finding,) = check.findings
    assert check.status is Status.FAILED
    assert (finding.kind, finding.file, finding.line, finding.count) == ("wrong-values", "starter.cu", 12, 1)
    assert finding.message.startswith(f"group 2, row 1, column 7: expected {REFERENCE[4, 7]:.6g}, got 0.5;")
    assert "1 of 128 elements is wrong" in finding.message


def test_several_dynamic_shared_arrays_are_named_as_one() -> None:
    (finding,) = judged(changed(4, 7, 0.5), arrays=("a_tile", "b_tile")).findings
    assert finding.notes == ("a_tile and b_tile, both extern __shared__, begin at the same address",)
    assert finding.detail == Detail.ONE_SHARED_ARRAY
    (finding,) = judged(changed(4, 7, 0.5), arrays=("tiles",)).findings
    assert (finding.notes, finding.detail) == ((), "")
    assert judged(REFERENCE.astype(np.float32), arrays=("a_tile", "b_tile")).findings == ()


@pytest.mark.parametrize("error", [1.1e-3, -1.1e-3])
def test_the_tolerance_is_for_each_element_alone(error: float) -> None:
    exact = np.zeros((8, 16))
    assert judged(np.full((8, 16), error * 0.9, np.float32), exact).status is Status.PASSED
    actual = np.zeros((8, 16), np.float32)
    actual[7, 15] = error
    assert judged(actual, exact).status is Status.FAILED


def test_infinity_may_come_of_a_variable_that_was_never_set() -> None:
    infinite = judged(changed(4, 7, math.inf), unset=frozenset({31, 8}))
    (finding,) = infinite.findings
    assert finding.message.startswith("line 8 may use a variable that was never set. First wrong element: ")
    assert (finding.detail, finding.notes) == (
        Detail.UNSET_VARIABLE,
        ("line 31 may use a variable that was never set",),
    )
    assert judged(changed(4, 7, 0.5), unset=frozenset({8})).findings[0].notes == ()


def test_the_tolerance_itself_is_too_much() -> None:
    assert judged(np.full((8, 16), 1e-3), np.zeros((8, 16))).status is Status.FAILED


@pytest.mark.parametrize(
    ("value", "named", "says"),
    [(math.nan, "nan", "1 NaN"), (math.inf, "inf", "1 infinite"), (-math.inf, "inf", "1 infinite")],
)
def test_nan_and_infinity_are_wrong_and_said(value: float, named: str, says: str) -> None:
    check = judged(changed(0, 0, value))
    assert check.status is Status.FAILED
    assert repr(check.measurements.max_abs_error) == named
    assert says in check.findings[0].message


def test_a_nan_is_wrong_even_beside_larger_errors() -> None:
    actual = changed(0, 0, math.nan)
    actual[7, 7] = 1e30
    assert math.isnan(judged(actual).measurements.max_abs_error)


def test_what_was_never_written_is_called_so() -> None:
    actual = REFERENCE.astype(np.float32)
    actual.view(np.uint32)[6:] = 0xFFFFFFFF
    actual[0, 0] = math.nan
    assert "33 of 128 elements are wrong (32 never written, 1 NaN)" in judged(actual).findings[0].message


def test_says_where_by_group() -> None:
    actual = REFERENCE.astype(np.float32)
    actual[3:] = 0
    assert judged(actual).findings[0].message.endswith("80 of 128 elements are wrong: every element of group 2")


def test_an_output_without_groups_is_named_itself() -> None:
    actual = REFERENCE.astype(np.float32)
    actual[:] = 0
    assert judged(actual, sizes=[99]).findings[0].message.startswith("C, row 0, column 0: expected ")


def test_no_rows_are_no_errors() -> None:
    assert judged(np.empty((0, 16), np.float32), np.empty((0, 16)), [0]).status is Status.PASSED

"""Compares outputs with FP64 references, with an absolute tolerance: the default rule of an exercise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from grader.diagnosis import mismatch
from grader.diagnosis.search import Search
from grader.model.exercise import Case
from grader.model.judged import Judged
from grader.reference_kernels.mistakes import Cause, numbers
from grader.reference_kernels.mistakes.untouched import untouched


def judge(
    case: Case,
    outputs: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    *,
    tolerance: float,
    search: Search | None = None,
) -> Iterator[Judged]:
    """`expected` holds FP64 values by output. With `search`, the common mistake that gives exactly these numbers."""
    for name, reference in expected.items():
        actual = outputs[name].reshape(reference.shape)
        difference = _difference(actual, reference)
        wrong = ~(difference < tolerance)  # so that a NaN is wrong
        largest = float(difference.max()) if difference.size else 0.0
        if not wrong.any():
            yield Judged(name, wrong, largest=largest, tolerance=tolerance)
            continue
        found = _diagnose(search, case, name, actual, expected, wrong, tolerance)
        right, got = _first_wrong(actual, reference, wrong)
        yield Judged(
            name,
            wrong,
            sentence=f"expected {right}, {f'got {got}' if got else 'nothing was written'}",
            cause=found.sentence if found else "",
            mistake=found.name if found else "",
            hint=found.hint if found else "",
            expected=right,
            got=got,
            largest=largest,
            tolerance=tolerance,
        )


def _difference(actual: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """|actual - reference| in FP64; NaN or infinite where `actual` is."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference: np.ndarray = np.subtract(actual, reference, dtype=np.float64)
        np.abs(difference, out=difference)
    return difference


def _first_wrong(actual: np.ndarray, reference: np.ndarray, wrong: np.ndarray) -> tuple[str, str]:
    """The expected value there and the actual one; "" if nothing was written."""
    at = int(np.argmax(wrong))
    got = actual.reshape(-1)[at : at + 1]
    return f"{reference.flat[at]:.6g}", "" if untouched(got).any() else f"{got[0]:.6g}"


def _diagnose(
    search: Search | None,
    case: Case,
    name: str,
    actual: np.ndarray,
    expected: Mapping[str, np.ndarray],
    wrong: np.ndarray,
    tolerance: float,
) -> Cause | None:
    """None for a secret case, which must not be revealed."""
    if search is None or case.secret:
        return None
    flat = mismatch.rows(wrong)
    regions = mismatch.regions(case, name, len(flat))

    def name_row(row: int) -> str:
        region = next(r for r in regions if r.start <= row < r.stop)
        return f"{region.name}, row {row - region.start}"

    output = numbers.output(actual.reshape(flat.shape), expected[name].reshape(flat.shape), flat, tolerance)
    return search.explain(case, name, output, expected, numbers.looks(tolerance, name_row))

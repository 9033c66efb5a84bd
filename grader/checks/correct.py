"""correct[CASE]: every element of every output is within the tolerance, group by group; NaN never is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from grader import diagnosis, mismatch
from grader.mismatch import Region
from grader.model.exercise import Array, Case
from grader.model.result import Check, Finding, Status, to_number

NAME = "correct"


def identity(case: Case) -> str:
    return f"{NAME}[{case.name}]"


def judge(
    case: Case,
    outputs: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    *,
    tolerance: float,
    filename: str,
    line: int = 0,
    search: diagnosis.Search | None = None,
) -> Check:
    """`expected` holds FP64 values by output; `line` is the kernel's: a wrong value has no better one.

    With `search`, a finding begins with the common mistake that gives just these numbers, if one does.
    """
    findings: list[Finding] = []
    largest, wrong_elements, elements = 0.0, 0, 0
    for name, reference in expected.items():
        difference = _difference(outputs[name].reshape(reference.shape), reference)
        wrong = ~(difference < tolerance)  # so that a NaN is wrong
        elements += wrong.size
        if difference.size:
            largest = float(np.maximum(largest, difference.max()))  # a NaN stays
        if wrong.any():
            wrong_elements += int(wrong.sum())
            actual = outputs[name].reshape(reference.shape)
            message, hint = _message(case, name, actual, reference, wrong), ""
            found = _diagnose(search, case, name, actual, expected, wrong, tolerance)
            if found is not None:
                message, hint = f"{found.sentence}. First wrong element: {message}", found.hint
            count = int(wrong.sum())
            findings.append(Finding("wrong-values", filename, line, message, count=count, hint=hint))
    return Check(
        id=identity(case),
        status=Status.FAILED if findings else Status.PASSED,
        message=findings[0].message if findings else f"largest error {largest:.1e}, allowed {tolerance:g}",
        case=case.name,
        device="cpu",
        findings=tuple(findings),
        measurements={
            "max_abs_error": to_number(largest),
            "tolerance": tolerance,
            "mismatches": wrong_elements,
            "elements": elements,
        },
    )


def _difference(actual: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """|actual - reference| in FP64; NaN or infinite where `actual` is."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference: np.ndarray = np.subtract(actual, reference, dtype=np.float64)
        np.abs(difference, out=difference)
    return difference


def _diagnose(
    search: diagnosis.Search | None,
    case: Case,
    name: str,
    actual: np.ndarray,
    expected: Mapping[str, np.ndarray],
    wrong: np.ndarray,
    tolerance: float,
) -> diagnosis.Diagnosis | None:
    """Not for a secret case, of which nothing may be shown."""
    if search is None or case.secret:
        return None
    columns = _columns(actual)
    flat = wrong.reshape(-1, columns)
    regions = _regions(case, name, len(flat))

    def name_row(row: int) -> str:
        region = next(r for r in regions if r.start <= row < r.stop)
        return f"{region.name}, row {row - region.start}"

    output = diagnosis.Output(
        actual.reshape(flat.shape), expected[name].reshape(flat.shape), flat, tolerance, name_row
    )
    return search.explain(case, name, output, expected)


def _columns(values: np.ndarray) -> int:
    return values.shape[-1] if values.ndim > 1 else 1


def _message(case: Case, name: str, actual: np.ndarray, reference: np.ndarray, wrong: np.ndarray) -> str:
    """ "group 3, row 992, column 0: expected 1.71, got 0; 8192 of 1137664 elements wrong: the last ..." """
    flat = wrong.reshape(-1, _columns(reference))
    regions = _regions(case, name, flat.shape[0])
    region, row, column = mismatch.first(flat, regions)
    at = (region.start + row, column)
    value, right = actual.reshape(flat.shape)[at], reference.reshape(flat.shape)[at]
    return (
        f"{region.name}, row {row}, column {column}: expected {right:.6g}, got {value:.6g}; "
        f"{int(wrong.sum())} of {wrong.size} elements wrong{_not_finite(actual)}: "
        f"{mismatch.describe(flat, regions)}"
    )


def _not_finite(actual: np.ndarray) -> str:
    nan = np.isnan(actual)
    untouched = diagnosis.never_written(actual)
    counts = {
        "never written": int(untouched.sum()),
        "NaN": int(nan.sum() - untouched.sum()),
        "infinite": int(np.isinf(actual).sum()),
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    return f" ({', '.join(parts)})" if parts else ""


def _regions(case: Case, name: str, rows: int) -> Sequence[Region]:
    """The groups, where the output's rows are those of M_sizes one under the other; else all rows as one."""
    sizes = case.arguments.get("M_sizes")
    if isinstance(sizes, Array) and int(sizes.data.sum()) == rows:
        ends = np.cumsum(sizes.data, dtype=np.int64).tolist()
        starts = [0, *ends[:-1]]
        return [Region(f"group {g}", s, e) for g, (s, e) in enumerate(zip(starts, ends, strict=True))]
    return [Region(name, 0, rows)]

"""correct[CASE]: every element of every output is right; nothing passes by an average."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from grader.diagnosis import mismatch
from grader.model import measurements
from grader.model.details import Detail, Role
from grader.model.exercise import Case
from grader.model.families import CORRECT
from grader.model.judged import Judged
from grader.model.measurements import Measurements, WrongByte
from grader.model.result import Check, Finding, Related, Status
from grader.reference_kernels.mistakes.untouched import untouched

_OF_IT = " of it"  # an output that is one region is not named again


class Origin(NamedTuple):
    """Where an output comes from: a wrong value has no better line than its kernel's."""

    called: str  # as the student knows it: "C_concat", "y of encode_e4m3_kernel"
    line: int
    kernel: str = ""
    dynamic_arrays: tuple[str, ...] = ()  # its extern __shared__ arrays


def judge(
    case: Case,
    judged: Iterable[Judged],
    outputs: Mapping[str, np.ndarray],
    *,
    filename: str,
    origins: Mapping[str, Origin],
    unset: Collection[int] = (),
) -> Check:
    """A finding for each output that holds a wrong element; it begins with the mistake that explains them.

    `unset`: lines that may read a variable which nothing has set; infinity comes of it.
    """
    known = tuple(judged)
    bad = [one for one in known if one.wrong.any()]
    findings = tuple(_finding(case, one, outputs[one.output], filename, origins[one.output], unset) for one in bad)
    largest = _largest(known)
    return Check(
        id=CORRECT.id(case.name),
        status=Status.FAILED if findings else Status.PASSED,
        message=findings[0].message if findings else _passed(known, largest),
        case=case.name,
        device="cpu",
        findings=findings,
        measurements=Measurements(
            max_abs_error=largest,
            tolerance=known[0].tolerance if known else None,
            mismatches=sum(int(one.wrong.sum()) for one in known),
            elements=sum(one.wrong.size for one in known),
            example=_example(bad),
            # They may be why; another machine's registers may happen to be right.
            unset_lines=tuple(sorted(unset)) if any(one.related for one in findings) else None,
        ),
    )


def _largest(judged: Iterable[Judged]) -> float | None:
    """Over all outputs for which it means something; a NaN stays."""
    errors = [one.largest for one in judged if one.largest is not None]
    return float(np.max(errors)) if errors else None


def _example(bad: Iterable[Judged]) -> WrongByte | None:
    """One wrong byte, for the report to draw."""
    return next((measurements.read({"example": one.example}).example for one in bad if one.example), None)


def _passed(judged: tuple[Judged, ...], largest: float | None) -> str:
    if largest is not None and judged[0].tolerance is not None:
        return f"largest error {largest:.1e}, allowed {judged[0].tolerance:g}"
    return f"all {sum(one.wrong.size for one in judged)} elements are right"


def _finding(
    case: Case, judged: Judged, actual: np.ndarray, filename: str, origin: Origin, unset: Collection[int]
) -> Finding:
    """ "CAUSE. First wrong element: group 3, row 9, column 0: expected 1.7, got 0; 8 of 99 elements are wrong..." """
    wrong = judged.wrong
    count = int(wrong.sum())
    place, where = _places(case, judged)
    called = f"{origin.called}: " if len(origin.called.split()) > 1 else ""
    extent = f"{_count(count, wrong.size)} wrong{_not_finite(actual.reshape(wrong.shape))}{where}"
    message = f"{called}{place}{judged.sentence}; {extent}"
    lines = sorted(unset) if _has_infinity(actual) else []
    unset_ = f"line {lines[0]} may use a variable that was never set" if lines else ""
    cause = unset_ or judged.cause
    if cause:
        message = f"{cause}. First wrong element: {message}"
    overlap = _overlap(origin.dynamic_arrays) if not cause else ()
    return Finding(
        "wrong-values",
        filename,
        origin.line,
        message,
        count=count,
        notes=(*(f"line {line} may use a variable that was never set" for line in lines[1:]), *overlap),
        hint=judged.hint,
        detail=Detail.UNSET_VARIABLE if lines else judged.detail or (Detail.ONE_SHARED_ARRAY if overlap else ""),
        related=tuple(Related(Role.UNSET, line) for line in lines),
        kernel=origin.kernel,
        output=judged.output,
        mistake=judged.mistake,
        cause=cause,
        first=judged.first or place.removesuffix(": "),
        expected=judged.expected,
        got=judged.got,
        extent=extent,
    )


def _overlap(arrays: Sequence[str]) -> tuple[str, ...]:
    if len(arrays) < 2:
        return ()
    together = "both" if len(arrays) == 2 else "all"
    return (f"{', '.join(arrays[:-1])} and {arrays[-1]}, {together} extern __shared__, begin at the same address",)


def _count(wrong: int, elements: int) -> str:
    if elements == 1:
        return "the only element is"
    return f"{wrong} of {elements} elements {'is' if wrong == 1 else 'are'}"


def _has_infinity(actual: np.ndarray) -> bool:
    return actual.dtype.kind == "f" and bool(np.isinf(actual).any())


def _places(case: Case, judged: Judged) -> tuple[str, str]:
    """Where the first wrong element is, and where all are. An exercise's own rule describes the first itself."""
    wrong = judged.wrong
    if wrong.ndim == 1:
        return "", f": {where}" if (where := mismatch.describe_line(wrong)) else ""
    flat = mismatch.rows(wrong)
    if judged.tolerance is None:
        where = mismatch.describe(flat, mismatch.regions(case, "it", len(flat))) if wrong.ndim == 2 else ""
        return "", f": {where.replace(_OF_IT, '')}" if where else ""
    regions = mismatch.regions(case, judged.output, len(flat))
    region, row, column = mismatch.first(flat, regions)
    return f"{region.name}, row {row}, column {column}: ", f": {mismatch.describe(flat, regions)}"


def _not_finite(actual: np.ndarray) -> str:
    if actual.dtype.kind != "f":
        return ""
    nan = np.isnan(actual)
    missing = untouched(actual)
    counts = {
        "never written": int(missing.sum()),
        "NaN": int(nan.sum() - missing.sum()),
        "infinite": int(np.isinf(actual).sum()),
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    return f" ({', '.join(parts)})" if parts else ""

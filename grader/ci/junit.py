"""Results as JUnit XML: as GitLab, Jenkins and GitHub read it. A suite per submission, and a test per check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import msgspec

from grader.model.measurements import to_number
from grader.model.result import Check, Result, Status
from grader.reports.text import inert

# What of a check's measurements becomes a property of its test.
PROPERTIES = (
    *("ratio", "ratio_low", "ratio_high", "time_us", "baseline", "baseline_us", "tflops"),
    *("max_abs_error", "mismatches", "elements", "seconds"),
)

# XML has no way to write these two.
_NO_XML = {0xFFFE: "�", 0xFFFF: "�"}

Outcome = Literal["passed", "failure", "error", "skipped"]


class Suite(msgspec.Struct, frozen=True):
    """One submission. Without a result, `problem` says why, and whether that is an error."""

    name: str
    result: Result | None = None
    problem: str = ""
    is_error: bool = False


def outcome(check: Check) -> tuple[Outcome, str]:
    """Wrong or slow is a failure, a fault of the machine an error, and not judged is skipped, each with the reason.

    What is wrong but does not affect the verdict is skipped too: a build server would turn it red.
    """
    match check.status:
        case Status.PASSED:
            return "passed", check.message
        case Status.ERROR:
            return "error", f"the grader failed, not the submission: {check.message}"
        case Status.FAILED if check.required:
            return "failure", "\n".join(_findings(check)) or check.message
        case Status.FAILED:
            return "skipped", f"costs no verdict: {check.message or next(iter(_findings(check)), '')}"
        case _:
            return "skipped", check.reason or check.status


def properties(check: Check) -> list[tuple[str, object]]:
    """What the check says, and its figures; names and values."""
    return [("message", check.message), *figures(check)]


def figures(check: Check) -> list[tuple[str, object]]:
    """Names and values of what was measured; NaN and infinities by name."""
    found = ((name, getattr(check.measurements, name)) for name in PROPERTIES)
    return [
        (name, to_number(value) if isinstance(value, float) else value) for name, value in found if value is not None
    ]


def document(suites: Sequence[Suite]) -> bytes:
    root = Element("testsuites", name="grade")
    for suite in suites:
        _suite(root, suite)
    indent(root)
    text: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _suite(root: Element, suite: Suite) -> None:
    element = SubElement(root, "testsuite", name=_xml(suite.name))
    if suite.result is None:
        case = SubElement(element, "testcase", name="grade", classname=_xml(suite.name))
        _mark(case, "error" if suite.is_error else "skipped", suite.problem)
    else:
        _listed(element, [("seed", suite.result.seed), ("verdict", suite.result.verdict)])
        for check in suite.result.checks:
            _case(element, suite.result, check)
    for attribute, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped",) * 2):
        element.set(attribute, str(sum(1 for _ in element.iter(tag))))


def _case(suite: Element, result: Result, check: Check) -> None:
    case = SubElement(
        suite,
        "testcase",
        name=check.id,
        classname=result.exercise,
        file=_xml(result.submission.path),
        time=f"{check.measurements.seconds or 0.0:.3f}",
    )
    _listed(case, properties(check))
    kind, text = outcome(check)
    if kind != "passed":
        _mark(case, kind, text)


def _mark(case: Element, kind: Outcome, text: str) -> None:
    """The first line as the message, for lists; all of it as the text."""
    mark = SubElement(case, kind, message=_xml(text.partition("\n")[0]))
    mark.text = _xml(text)


def _listed(parent: Element, values: Iterable[tuple[str, object]]) -> None:
    listed = SubElement(parent, "properties")
    for name, value in values:
        SubElement(listed, "property", name=name, value=_xml(str(value)))


def _findings(check: Check) -> Iterable[str]:
    for finding in check.findings:
        place = finding.file + (f":{finding.line}" if finding.line else "")
        yield f"{place}: {finding.kind}: {finding.message}"
        yield from (f"  {note}" for note in finding.notes)


def _xml(text: str) -> str:
    return inert(text).translate(_NO_XML)

"""Which section of an exercise's problem.md helps with a finding."""

from __future__ import annotations

import re

import msgspec

from grader.model.exercise import Exercise
from grader.model.result import Check, Finding

# By kind of finding: the pitfall that explains it. A problem.md without that heading gives no hint.
PITFALLS = {
    "bad-launch": "wrong-launch",
    "out-of-bounds": "out-of-range-rows",
    "uninitialised-read": "uninitialised-memory",
    "misaligned-access": "misaligned-access",
    "race": "missing-synchronization",
    "barrier-divergence": "barrier-in-divergent-code",
    "collective-mismatch": "warp-collectives",
    "read-only-write": "read-only-memory",
    "did-not-finish": "endless-loop",
}


def sections(exercise: Exercise) -> frozenset[str]:
    """The anchors of problem.md's headings, as GitHub makes them: "Endless loop" is endless-loop."""
    try:
        text = (exercise.folder / "problem.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    headings = re.findall(r"^#+ +(.+?) *#*$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def give(check: Check, known: frozenset[str]) -> Check:
    """The check, each finding with its own hint, else its kind's; none that leads nowhere."""
    findings = tuple(_hinted(finding, known) for finding in check.findings)
    return msgspec.structs.replace(check, findings=findings)


def _hinted(finding: Finding, known: frozenset[str]) -> Finding:
    own, usual = finding.hint, PITFALLS.get(finding.kind, "")
    hint = own if own in known else usual if usual in known else ""
    return finding if hint == own else msgspec.structs.replace(finding, hint=hint)

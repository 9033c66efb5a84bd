"""The section of an exercise's problem.md that explains a finding."""

from __future__ import annotations

import msgspec

from grader.model import problem_text
from grader.model.details import Detail
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding

# By kind of finding: the pitfalls that explain it. Without any of them in problem.md, there is no hint.
PITFALLS = {
    "bad-launch": ("wrong-launch",),
    "out-of-bounds": ("out-of-range-rows", "out-of-range-elements"),
    "uninitialised-read": ("uninitialised-memory",),
    "misaligned-access": ("misaligned-access",),
    "race": ("missing-synchronization",),
    "barrier-divergence": ("barrier-in-divergent-code",),
    "collective-mismatch": ("warp-collectives",),
    "read-only-write": ("read-only-memory",),
    "did-not-finish": ("endless-loop",),
    "forbidden-instruction": ("forbidden-instructions",),
}

# By kind and detail, or the space of the array, if another pitfall explains it better.
FINER: dict[tuple[str, str], tuple[str, ...]] = {
    # The launch function sets the size of dynamic shared memory, so that is the first place to look.
    # Where threads combine what they have stored in shared memory, it is the steps that go too far.
    ("out-of-bounds", "shared"): ("the-reduction", *PITFALLS["out-of-bounds"]),
    ("out-of-bounds", Detail.DYNAMIC_SHARED): PITFALLS["bad-launch"],
    ("out-of-bounds", Detail.NOT_REQUESTED): PITFALLS["bad-launch"],
    **{(kind, Detail.FLAT_BLOCK): PITFALLS["bad-launch"] for kind in ("out-of-bounds", "uninitialised-read", "race")},
    # No barrier can fix a race between blocks.
    ("race", Detail.BETWEEN_BLOCKS): ("race-between-blocks", "out-of-range-rows", "missing-synchronization"),
    ("race", Detail.READ_BETWEEN_BLOCKS): ("race-between-blocks", "missing-synchronization"),
    ("race", Detail.UPDATE): ("race-between-blocks", "missing-synchronization"),  # the same atomics cure it
}


def sections(exercise: Exercise) -> frozenset[str]:
    """The anchors of problem.md's headings; none if it cannot be read."""
    try:
        text = (exercise.folder / "problem.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(section.anchor for section in problem_text.sections(text))


def give(check: Check, known: frozenset[str]) -> Check:
    """The check, each finding with its own hint or its kind's; no hints without a section."""
    findings = tuple(_hinted(finding, known) for finding in check.findings)
    return msgspec.structs.replace(check, findings=findings)


def _hinted(finding: Finding, known: frozenset[str]) -> Finding:
    finer = FINER.get((finding.kind, finding.detail)) or FINER.get((finding.kind, finding.space))
    pitfalls = finer or PITFALLS.get(finding.kind, ())
    hint = next((anchor for anchor in (finding.hint, *pitfalls) if anchor in known), "")
    return finding if hint == finding.hint else msgspec.structs.replace(finding, hint=hint)

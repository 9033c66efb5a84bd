"""What changed since an earlier attempt at the same exercise."""

from __future__ import annotations

from dataclasses import dataclass

from grader.model.result import Check, Result, Status
from grader.reports.cases import against, outcome
from grader.reports.text import readable

RUBRIC = ("total", "correctness", "performance", "quality")


@dataclass(frozen=True)
class Turned:
    """A check with another outcome than before, in words: "wrong", then "right"."""

    check: str
    before: str
    now: str
    better: bool


@dataclass(frozen=True)
class Moved:
    """A number that changed: points of a rubric, or a case's ratio."""

    what: str
    before: float
    now: float
    of: str = ""  # what a ratio is a share of: "cuBLAS"

    @property
    def better(self) -> bool:
        return self.now > self.before


@dataclass(frozen=True)
class Changes:
    same_file: bool
    verdict: tuple[str, str] | None  # where it is another
    turned: tuple[Turned, ...]
    points: tuple[Moved, ...]
    ratios: tuple[Moved, ...]

    @property
    def fixed(self) -> tuple[Turned, ...]:
        return tuple(turned for turned in self.turned if turned.better)

    @property
    def broken(self) -> tuple[Turned, ...]:
        return tuple(turned for turned in self.turned if not turned.better)

    @property
    def sentence(self) -> str:
        """In one line: "failed, now passed; points 40 to 92; fixed: memory[small]"."""
        parts = [f"{self.verdict[0]}, now {self.verdict[1]}"] if self.verdict else []
        parts += [f"points {readable(m.before)} to {readable(m.now)}" for m in self.points if m.what == "total"]
        parts += [f"fixed: {_some(self.fixed)}"] if self.fixed else []
        parts += [f"new: {_some(self.broken)}"] if self.broken else []
        parts += [f"{m.what} {m.before:.2f} to {m.now:.2f} of {m.of}" for m in self.ratios[:2]]
        if not parts:
            return "the same file, the same outcome" if self.same_file else "no check has a different outcome"
        return "; ".join(parts)


def changes(now: Result, before: Result) -> Changes:
    """Checks that only one of the two has, or that were not judged both times, are not compared."""
    earlier = {check.id: check for check in before.checks}
    pairs = [(earlier[check.id], check) for check in now.checks if check.id in earlier]
    return Changes(
        same_file=now.submission.sha256 == before.submission.sha256,
        verdict=None if now.verdict is before.verdict else (before.verdict.value, now.verdict.value),
        turned=tuple(_turned(old, new) for old, new in pairs if _has_turned(old, new)),
        points=tuple(
            Moved(rubric, was, is_now)
            for rubric in RUBRIC
            if (was := getattr(before.points, rubric)) is not None
            and (is_now := getattr(now.points, rubric)) is not None
            and was != is_now
        ),
        ratios=tuple(
            Moved(new.case or new.id, was, is_now, against(new.measurements))
            for old, new in pairs
            if (was := old.measurements.ratio) is not None
            if (is_now := new.measurements.ratio) is not None
            if round(was, 2) != round(is_now, 2)
        ),
    )


def _has_turned(old: Check, new: Check) -> bool:
    """Red to green or green to red. What was or is skipped follows from another check, which is named."""
    green = old.status is Status.PASSED, new.status is Status.PASSED
    red = Status.FAILED in (old.status, new.status)
    return red and green[0] != green[1] and not {old.status, new.status} & {Status.NOT_JUDGED, Status.ERROR}


def _turned(old: Check, new: Check) -> Turned:
    return Turned(new.id, outcome(old), outcome(new), new.status is Status.PASSED)


def _some(turned: tuple[Turned, ...]) -> str:
    names = [one.check for one in turned]
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")

"""Input after input, as its seed says; what became of them, and a file for each that offends."""

from __future__ import annotations

import sys
import tempfile
import threading
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from tests.fuzz.children import left_behind
from tests.fuzz.targets import Input, Outcome, Ptx, Sources, Target

# By the clock: a grading takes less than a second of processor time, and all its deadlines together take a minute.
HANGS_SECONDS = 600.0


class Campaign:
    """Every input follows from the seed, its kind and its number alone. A context manager: it ends its children."""

    def __init__(self, seed: int, offenders: Path) -> None:
        self.seed = seed
        self.targets: dict[str, Target] = {"source": Sources(), "ptx": Ptx()}
        self.counts = {kind: Counter[str]() for kind in self.targets}
        self.offences: list[str] = []
        self._offenders = offenders

    def __enter__(self) -> Campaign:
        self._temporary = tempfile.TemporaryDirectory()
        self._before, tempfile.tempdir = tempfile.tempdir, self._temporary.name
        return self

    def __exit__(self, *_: object) -> None:
        for target in self.targets.values():
            target.children.close()
        if left := left_behind(set(), Path(self._temporary.name)):
            self.offences.append(f"at the end, left behind: {', '.join(left)}")
        tempfile.tempdir = self._before
        self._temporary.cleanup()

    def input(self, kind: str, number: int) -> Input:
        return self.targets[kind].input(Random(f"{self.seed} {kind} {number}"))

    def one(self, kind: str, number: int) -> Outcome:
        target, given = self.targets[kind], self.input(kind, number)
        outcome = _watched(target, given)
        known = {pid for each in self.targets.values() for pid in each.children.pids}
        if left := left_behind(known, Path(self._temporary.name)):
            outcome = Outcome("left something", f"{outcome}; left behind: {', '.join(left)}")
        self.counts[kind][outcome.verdict] += 1
        if outcome.offence:
            self._keep(kind, number, given, outcome)
        return outcome

    def _keep(self, kind: str, number: int, given: Input, outcome: Outcome) -> None:
        self._offenders.mkdir(parents=True, exist_ok=True)
        file = self._offenders / f"{kind}-{self.seed}-{number}{self.targets[kind].suffix}"
        file.write_text(given.text, encoding="utf-8", errors="surrogatepass")
        said = f"made from {given.origin} with --seed {self.seed} --kind {kind} --first {number}\n{outcome.offence}\n"
        file.with_suffix(".txt").write_text(said, encoding="utf-8", errors="replace")
        self.offences.append(f"{file.name}: {outcome.offence.strip().splitlines()[-1][:200]}")


def _watched(target: Target, given: Input) -> Outcome:
    """In a thread of its own, which may hang."""
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(target.outcome(given)), daemon=True)
    thread.start()
    thread.join(HANGS_SECONDS)
    if found:
        return found[0]
    frame = sys._current_frames().get(thread.ident or 0)
    target.children.end()
    thread.join(10)
    where = "".join(traceback.format_stack(frame)) if frame else "its thread died"
    return Outcome("hang", where)

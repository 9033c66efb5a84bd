"""Whether it pays to compile a kernel once more, to run it warp by warp."""

from __future__ import annotations

from grader.ptx.analysis.work import times_run
from grader.ptx.syntax import Function

USUAL = 0.2e-9  # seconds that the scalar engine takes for an instruction as times_run counts them
SHORTEST = 0.03  # seconds of a run that says something of its kernel
GAIN = 2  # at least so many times as fast
COMPILING, PER_INSTRUCTION = 0.1, 0.0005  # seconds; the second for each in the PTX


class Pace:
    """Of one module's kernels. What earlier launches took counts for more than what the PTX looks like."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}
        self._known: dict[str, float] = {}  # seconds per instruction

    def pays(self, function: Function, threads: int, workers: int) -> bool:
        instructions, each = self._count(function)
        seconds = threads * each * self._known.get(function.name, USUAL / workers)
        return seconds * (1 - 1 / GAIN) > COMPILING + PER_INSTRUCTION * instructions

    def note(self, function: Function, threads: int, seconds: float) -> None:
        """The scalar engine took so long."""
        if seconds > SHORTEST:
            self._known[function.name] = seconds / (threads * self._count(function)[1])

    def _count(self, function: Function) -> tuple[int, int]:
        """Instructions of the kernel, and those that a thread runs."""
        if function.name not in self._counts:
            times = [n for _, n in times_run(function)]
            self._counts[function.name] = len(times), sum(times)
        return self._counts[function.name]

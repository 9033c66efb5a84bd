"""Where a submission is graded: on a core of this machine, and where there are GPUs, on one of them.

On a GPU, timing has it alone (`timing.lock`). Several submissions are on their way to one GPU at a time, so that it
need not wait for a compiler, a child that starts, or the CPU's checks.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from grader import executors, machine
from grader.errors import GraderError
from grader.sandbox import ChildDied, ChildMemory, ChildTimeout

# Timing takes a second or two of a GPU, what comes before it four to eight of a core, and a kernel that hangs on the
# CPU half a minute. More than this only holds memory.
PER_GPU = 10
BYTES_PER_LANE = 3 << 29  # a context, and inputs several times as large as the cache


class Lanes(Protocol):
    """Hands out lanes until there is none; None is the lane of a CPU."""

    def take(self) -> tuple[int | None] | None:
        """The GPU's number in a tuple of one; None where there is no lane free."""
        ...

    def give_back(self, gpu: int | None) -> None: ...


class Cpu:
    """As many lanes as anybody asks for: the number of threads is the limit."""

    def take(self) -> tuple[int | None] | None:
        return (None,)

    def give_back(self, gpu: int | None) -> None:
        pass


class Gpus:
    """A pool of GPUs, by number. One that was lost gets nothing more; its work goes to the others."""

    def __init__(self, lanes: Mapping[int, int]) -> None:
        """How many lanes each has, by number."""
        self._free = dict(lanes)
        self._lock = threading.Lock()

    def take(self) -> tuple[int | None] | None:
        with self._lock:
            gpu = max(self._free, key=lambda number: self._free[number], default=None)
            if gpu is None or not self._free[gpu]:
                return None
            self._free[gpu] -= 1
            return (gpu,)

    def give_back(self, gpu: int | None) -> None:
        with self._lock:
            if gpu in self._free:
                self._free[gpu] += 1

    def lose(self, gpu: int) -> None:
        with self._lock:
            self._free.pop(gpu, None)

    @property
    def left(self) -> tuple[int, ...]:
        with self._lock:
            return tuple(self._free)


def answers(gpu: int) -> bool:
    """The health probe: a fresh process gets a context on it, and memory, and a kernel through."""
    return _lanes(gpu) > 0


def _lanes(gpu: int) -> int:
    """How many submissions its memory is enough for; 0 where it does not answer."""
    child = executors.open_cuda(gpu)
    try:
        memory = child.describe().memory_bytes
    except (ChildDied, ChildTimeout, ChildMemory):
        return 0
    finally:
        child.close()
    return max(1, min(PER_GPU, memory // BYTES_PER_LANE))


def usable(wanted: Sequence[int], *, required: bool) -> dict[int, int]:
    """The GPUs of these numbers (none: all) that answer, and how many lanes each has. Empty where none does and none
    is required.

    Raises GraderError where one is required and missing.
    """
    count = machine.gpus()
    missing = [number for number in wanted if number >= count]
    if missing:
        raise GraderError(f"there is no GPU {missing[0]}: this machine has {count}, counted from 0")
    numbers = list(dict.fromkeys(wanted)) or list(range(count))
    if not numbers:
        if required:
            raise GraderError(
                "no NVIDIA GPU found on this machine; grade doctor says what is missing.\n"
                "With --device cpu everything but speed is judged."
            )
        return {}
    with ThreadPoolExecutor(len(numbers)) as threads:
        found = list(threads.map(_lanes, numbers))
    healthy = {number: lanes for number, lanes in zip(numbers, found, strict=True) if lanes}
    if required and not healthy:
        raise GraderError("no GPU answers; grade doctor says more")
    return healthy

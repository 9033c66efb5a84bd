"""Where submissions are graded: each on a core of this machine and, if there are GPUs, on one of them.

A lane is one place in a GPU's queue. Timing has the GPU to itself (`timing.lock`), but several submissions share its
lanes, so that it does not wait for compilation, the start of a child, or the CPU's checks.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from grader import executors, machine
from grader.errors import GraderError
from grader.sandbox import ChildDied, ChildMemory, ChildTimeout

# Timing takes one or two seconds on a GPU, the steps before it four to eight on a core, and a kernel that hangs on
# the CPU half a minute. More lanes would only occupy memory.
PER_GPU = 10
BYTES_PER_LANE = 3 << 29  # a context, and inputs several times the size of the cache


class Lanes(Protocol):
    """Hands out lanes while there are any; None is a lane of the CPU."""

    def take(self) -> tuple[int | None] | None:
        """A tuple with the GPU's number; None if no lane is free."""
        ...

    def give_back(self, gpu: int | None) -> None: ...


class Cpu:
    """Unlimited lanes: the number of threads is the limit."""

    def take(self) -> tuple[int | None] | None:
        return (None,)

    def give_back(self, gpu: int | None) -> None:
        pass


class Gpus:
    """A pool of GPUs, by number. A lost GPU gets no more work; the others take over."""

    def __init__(self, lanes: Mapping[int, int]) -> None:
        """The number of lanes of each GPU, by number."""
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
    """The health probe: a fresh process creates a context, allocates memory and runs a kernel."""
    return _lanes(gpu) > 0


def _lanes(gpu: int) -> int:
    """The number of submissions its memory suffices for; 0 if it does not respond."""
    child = executors.open_cuda(gpu)
    try:
        memory = child.describe().memory_bytes
    except (ChildDied, ChildTimeout, ChildMemory):
        return 0
    finally:
        child.close()
    return max(1, min(PER_GPU, memory // BYTES_PER_LANE))


def usable(wanted: Sequence[int], *, required: bool) -> dict[int, int]:
    """The responding GPUs of these numbers (none: all), and the number of lanes of each. Empty if none does and none
    is required.

    Raises GraderError if one is required but missing.
    """
    count = machine.gpus()
    missing = [number for number in wanted if number >= count]
    if missing:
        raise GraderError(f"there is no GPU {missing[0]}: this machine has {count}, numbered from 0")
    numbers = list(dict.fromkeys(wanted)) or list(range(count))
    if not numbers:
        if required:
            raise GraderError(
                "no NVIDIA GPU found on this machine; grade doctor shows what is missing.\n"
                "With --device cpu, everything except speed is judged."
            )
        return {}
    with ThreadPoolExecutor(len(numbers)) as threads:
        found = list(threads.map(_lanes, numbers))
    healthy = {number: lanes for number, lanes in zip(numbers, found, strict=True) if lanes}
    if required and not healthy:
        raise GraderError("no GPU responds; grade doctor shows more")
    return healthy

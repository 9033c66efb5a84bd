"""What a ladder is made of: one problem, solved by kernels from naive to fast. ladder.py checks and times them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Shape = tuple[int, ...]
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Launch:
    """One kernel. Arguments are names of arrays, and numbers: int32 for C's int, int64 for long long."""

    kernel: str
    grid: int
    block: int
    arguments: tuple[str | np.generic, ...]
    shared_bytes: int = 0


@dataclass(frozen=True)
class Step:
    title: str
    launches: Callable[[Shape], tuple[Launch, ...]]
    microseconds: float | None  # predicted, before it was measured, for an H200 and the ladder's shape
    because: str


@dataclass(frozen=True)
class Ladder:
    title: str
    shape: Shape  # at which it is timed
    small: tuple[Shape, ...]  # at which each step is checked against the definition
    inputs: Callable[[Shape, np.random.Generator], dict[str, np.ndarray]]
    outputs: Callable[[Shape], dict[str, np.ndarray]]  # poison, and what lies between two launches
    wrong: Callable[[Arrays], int]  # elements of the outputs, by the definition
    bytes_moved: Callable[[Shape], int]  # each input read once, or as often as it must be; each output written once
    steps: tuple[Step, ...]
    beside: tuple[Step, ...] = ()  # timed for comparison; they solve another problem on the same arrays
    zeroed: tuple[str, ...] = ()  # outputs that have to be 0 before the first launch
    same_bits: bool = True  # of every step's outputs

    def arrays(self, shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return self.inputs(shape, rng) | self.outputs(shape)

"""A mistake, and the sections of problem.md that explain them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from reference_kernels.arrays import Array

T = TypeVar("T")

WRITTEN = "elements-never-written"
ORDER = "four-at-a-time"
ROUNDING = "rounding"
CARRY = "carry"
SUBNORMALS = "subnormals"
SATURATION = "saturation"
NANS = "nan"
SIGNS = "signs"
BIAS = "bias"
CHANCE = "rounding-by-chance"


class Mistake(NamedTuple, Generic[T]):
    """`outputs` gives what a kernel gives that has just this mistake; what it does not touch stays right."""

    sentence: str  # for the student, without a full stop
    hint: str  # anchor in problem.md
    outputs: Callable[[T], Array]

"""A common mistake, what it does to an output, and the cause that reports name once it is found."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from grader.reference_kernels.arrays import Array

# Special values that a mistake gives: the element is never written; it depends on memory outside the arrays.
UNWRITTEN = math.inf
ANYTHING = math.nan
ANY_CODE = -1  # for ANYTHING, among FP8 codes

T = TypeVar("T")


class Cause(NamedTuple):
    """Why elements are wrong: a sentence for the student, without a full stop."""

    name: str
    sentence: str
    hint: str = ""  # anchor of the section in problem.md that explains it


class Mistake(NamedTuple, Generic[T]):
    """One common mistake, declared in one place. The code that yields it decides where it applies.

    `gives` takes some of the inputs, in the form that the exercise's mistakes take, and returns what a kernel with
    this mistake and no other computes from them. It is called for a few first, for more only if these agree.
    """

    name: str  # unique within the exercise: "b-of-group-0"
    sentence: str  # "every group is multiplied by B of group 0"
    hint: str
    gives: Callable[[T], Array]
    output: str = ""  # if an exercise has several outputs: the one that it affects

    @property
    def cause(self) -> Cause:
        return Cause(self.name, self.sentence, self.hint)

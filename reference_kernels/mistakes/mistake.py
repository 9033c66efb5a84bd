"""A common mistake with what it makes of an output, and the cause that is named once one is found."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from reference_kernels.arrays import Array

# Among the numbers that a mistake gives: the element stays as it arrived; or it depends on memory outside the arrays.
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
    """One common mistake, declared in one place. What it applies to is decided where it is yielded.

    `gives` takes some of the inputs, as the exercise's mistakes see them, and gives what a kernel with this mistake
    and no other makes of them. It is called for a few first, and for more only where these agree.
    """

    name: str  # unique within the exercise: "b-of-group-0"
    sentence: str  # "every group is multiplied by B of group 0"
    hint: str
    gives: Callable[[T], Array]
    output: str = ""  # where an exercise has several outputs: the one that it spoils

    @property
    def cause(self) -> Cause:
        return Cause(self.name, self.sentence, self.hint)

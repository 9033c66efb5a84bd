"""A common mistake of an exercise, and the numbers that it gives."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np

# In `values`: the mistake leaves the element as it arrived; or it reads from where no one can say what is.
UNWRITTEN = math.inf
ANYTHING = math.nan


class Mistake(msgspec.Struct, frozen=True):
    """What one output holds if the mistake was made.

    `values` takes row numbers of the output, seen as (rows, last dimension), and gives (rows, last dimension).
    It is called for a few rows first, and for all of them only where these agree.
    """

    name: str
    sentence: str  # for the student, without a full stop: "every group is multiplied by B of group 0"
    hint: str  # anchor in problem.md
    output: str
    values: Callable[[np.ndarray], np.ndarray]

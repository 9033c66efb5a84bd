"""One output of a case, judged: which elements are wrong, and what to say of them."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np


class Judged(msgspec.Struct, frozen=True):
    """`sentence` tells the first wrong element, input and all; both texts stay without a full stop.

    `example` is a wrong FP8 byte for the report to draw: format, input, input_bits, expected, got.
    """

    output: str  # its key in Case.arguments
    wrong: np.ndarray  # bool, of the output's shape
    sentence: str = ""
    cause: str = ""  # the common mistake that gives exactly these elements; "" if unknown
    mistake: str = ""  # its name, the same whatever numbers its sentence holds
    hint: str = ""  # anchor in problem.md
    first: str = ""  # the first wrong element: "x[3] = 0.1 (0x3dcccccd)"
    expected: str = ""  # of it, as the sentence writes them
    got: str = ""  # "" if nothing was written
    detail: str = ""  # a details.Detail: what is known of the wrong element
    example: dict[str, Any] = {}
    largest: float | None = None  # largest absolute error, where that means something
    tolerance: float | None = None  # what it was held to
    values: np.ndarray | None = None  # as numbers, if the array holds bits of a type that NumPy does not have: BF16

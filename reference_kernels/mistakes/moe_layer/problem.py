"""What the stages of a Mixture-of-Experts layer have in common as their mistakes see them, and the sections of
problem.md that explain them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.mistakes.grouped_gemm.precision import round_mantissa
from grader.reference_kernels.mistakes.mistake import Mistake
from grader.reference_kernels.mistakes.search import Agreement, Part

(TIES, CHOOSING, SOFTMAX, COUNTING, RUNNING_SUM, ROWS, SWIGLU, WEIGHTED, CAPACITY, OFFSETS, LAYOUT, PRECISION,
 WRITTEN) = (
    "ties",
    "choosing-the-experts",
    "softmax",
    "counting",
    "the-running-sum",
    "rows-of-an-expert",
    "swiglu",
    "the-weighted-sum",
    "capacity",
    "group-offsets",
    "rows-and-columns",
    "reduced-precision",
    "elements-never-written",
)  # fmt: skip

NOT_WRITTEN = -1  # an int32 whose bits are all set
RELATIVE = 1e-5  # a mistake's own arithmetic may round another way than ours

Values = Mapping[str, np.ndarray]  # outputs by name
Elements = Mistake[Array]  # takes flat indices


def elements(name: str, sentence: str, hint: str, make: Callable[[], Array]) -> Elements:
    """`make` gives the whole output."""
    made = cache(make)
    return Mistake(name, sentence, hint, lambda at: np.asarray(made()).ravel()[at])


class Near(Agreement[Array]):
    """FP32 numbers up to rounding; infinities and NaN as themselves."""

    def same(self, part: Part[Array], given: Array) -> Array:
        return _near(part.got, given)

    def wrong(self, part: Part[Array], given: Array) -> Array:
        return ~_near(part.right, given)


def _near(a: Array, b: Array) -> Array:
    close = np.abs(a - b) <= RELATIVE * np.abs(b) + 1e-37
    return close | (a == b) | (np.isnan(a) & np.isnan(b))


def half(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32).astype(np.float16).astype(np.float32)


# By name: the format in words, and FP32 rounded to it.
FORMATS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "fp16": ("FP16 (10 mantissa bits)", half),
    "bf16": ("BF16 (7 mantissa bits)", partial(round_mantissa, bits=7)),
    "tf32": ("TF32 (10 mantissa bits)", partial(round_mantissa, bits=10)),
}

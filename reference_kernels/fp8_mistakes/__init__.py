"""What common mistakes make of FP8 conversions, and which of them explain a wrong output.

A mistake knows the outputs of a kernel that has just this one (nearest, chance, special, decoding); `search` holds
what a kernel gave against them. In the order of likelihood: where two give the same outputs, the first is named.
"""

from __future__ import annotations

import numpy as np

from reference_kernels.arrays import Array
from reference_kernels.fp8 import Format, is_nan
from reference_kernels.fp8_mistakes.chance import CHANCES
from reference_kernels.fp8_mistakes.decoding import DECODINGS, Decoding
from reference_kernels.fp8_mistakes.encoding import Encoding
from reference_kernels.fp8_mistakes.nearest import NEAREST
from reference_kernels.fp8_mistakes.search import Cause, find
from reference_kernels.fp8_mistakes.special import SPECIAL

__all__ = ["Cause", "same_codes", "same_values", "why_decoded", "why_encoded"]

UNWRITTEN_CODE = 0xFF  # an output arrives with every bit set
UNWRITTEN_VALUE = 0xFFFFFFFF


def same_codes(fmt: Format, a: Array, b: Array) -> Array:
    """Where two codes are the same, or both a NaN."""
    return (a == b) | (is_nan(a, fmt) & is_nan(b, fmt))


def same_values(a: Array, b: Array) -> Array:
    """Where two FP32 values have the same bits, or both are NaN."""
    return (a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))


def why_encoded(
    got: Array,
    right: Array,
    wrong: Array,
    x: Array,
    fmt: Format,
    random: Array | None = None,
) -> Cause | None:
    """Why these codes of x are wrong; None where no mistake that is known explains all of them."""

    def pick(at: Array) -> Encoding:
        return Encoding(x[at], right[at], fmt, None if random is None else random[at])

    def same(a: Array, b: Array) -> Array:
        return same_codes(fmt, a, b)

    return find(
        got, right, wrong, got == UNWRITTEN_CODE, same, pick, (*(NEAREST if random is None else CHANCES), *SPECIAL)
    )


def why_decoded(got: Array, right: Array, wrong: Array, codes: Array, fmt: Format) -> Cause | None:
    """Why these values of codes are wrong."""

    def pick(at: Array) -> Decoding:
        return Decoding(codes[at], right[at], fmt)

    return find(got, right, wrong, got.view(np.uint32) == UNWRITTEN_VALUE, same_values, pick, DECODINGS)

"""Rounding to nearest even, done wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from reference_kernels.arrays import Array
from reference_kernels.fp8 import encode
from reference_kernels.fp8_mistakes.encoding import Encoding
from reference_kernels.fp8_mistakes.mistake import ROUNDING, SUBNORMALS, Mistake

Rule = Callable[[Array], Array]  # steps to whole steps


def half_up(steps: Array) -> Array:
    return np.floor(steps + 0.5)


def half_down(steps: Array) -> Array:
    return np.ceil(steps - 0.5)


def half_to_odd(steps: Array) -> Array:
    tie = steps - np.floor(steps) == 0.5
    return np.where(tie, np.floor(steps / 2) * 2 + 1, np.rint(steps))


def first_bit_only(steps: Array) -> Array:
    """Of what is cut off it looks at the first bit, and calls it a tie."""
    low = np.floor(steps)
    return low + ((steps - low >= 0.5) & (low % 2 == 1))


def _all(rule: Rule, e: Encoding) -> Array:
    return e.rounded(rule)


def subnormals(rule: Rule, e: Encoding) -> Array:
    return np.where(e.subnormal, e.rounded(rule), e.right)


def _by_fp16(e: Encoding) -> Array:
    return _again(e, e.x.astype(np.float16).astype(np.float32))


def _by_bf16(e: Encoding) -> Array:
    bits = np.ascontiguousarray(e.x).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return _again(e, rounded.view(np.float32))


def _by_subnormals(e: Encoding) -> Array:
    """Scaled so that FP8's smallest normal number becomes FP32's: what is below loses bits before it rounds."""
    down = 1 - e.fmt.bias + 126
    return _again(e, np.ldexp(np.ldexp(e.x, -down), down))


def _again(e: Encoding, rounded: Array) -> Array:
    codes: Array = encode(np.where(e.nan, np.float32(0), rounded), e.fmt)
    return np.where(e.nan, e.right, codes)


_RULES: tuple[tuple[str, Rule], ...] = (
    ("ties round away from zero, not to even", half_up),
    ("the bits behind the mantissa are cut off, not rounded", np.floor),
    ("ties round towards zero, not to even", half_down),
    ("whatever is not exact rounds up", np.ceil),
    ("ties round to the odd code", half_to_odd),
    ("of the bits that are cut off only the first counts: more than half a step is taken for a tie", first_bit_only),
)

_OF_SUBNORMALS: tuple[tuple[str, Rule], ...] = (
    ("subnormals are cut off, not rounded", np.floor),
    ("ties between subnormals round away from zero, not to even", half_up),
    ("ties between subnormals round towards zero, not to even", half_down),
    ("subnormals round up where they are not exact", np.ceil),
    ("in subnormals more than half a step is taken for a tie", first_bit_only),
)

NEAREST: tuple[Mistake[Encoding], ...] = (
    *(Mistake(sentence, ROUNDING, partial(_all, rule)) for sentence, rule in _RULES),
    *(Mistake(sentence, SUBNORMALS, partial(subnormals, rule)) for sentence, rule in _OF_SUBNORMALS),
    Mistake("it rounds twice, to FP16 and then to FP8", ROUNDING, _by_fp16),
    Mistake("it rounds twice, to BF16 and then to FP8", ROUNDING, _by_bf16),
    Mistake(
        "it rounds twice: scaled down to FP32's subnormals, x loses bits before it becomes FP8",
        SUBNORMALS,
        _by_subnormals,
    ),
)

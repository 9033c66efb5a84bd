"""Mistakes in rounding to nearest even."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.mistakes.fp8.encoding import Encoding
from grader.reference_kernels.mistakes.fp8.sections import CARRY, ROUNDING, SUBNORMALS
from grader.reference_kernels.mistakes.mistake import Mistake

Rule = Callable[[Array], Array]  # steps to whole steps


def half_up(steps: Array) -> Array:
    return np.floor(steps + 0.5)


def half_down(steps: Array) -> Array:
    return np.ceil(steps - 0.5)


def half_to_odd(steps: Array) -> Array:
    tie = steps - np.floor(steps) == 0.5
    return np.where(tie, np.floor(steps / 2) * 2 + 1, np.rint(steps))


def first_bit_only(steps: Array) -> Array:
    """Looks only at the first of the truncated bits, and takes it for a tie."""
    low = np.floor(steps)
    return low + ((steps - low >= 0.5) & (low % 2 == 1))


def _all(name: str, sentence: str, rule: Rule) -> Mistake[Encoding]:
    return Mistake(name, sentence, ROUNDING, lambda e: e.rounded(rule))


def subnormals(name: str, sentence: str, rule: Rule) -> Mistake[Encoding]:
    return Mistake(name, sentence, SUBNORMALS, lambda e: np.where(e.subnormal, e.rounded(rule), e.right))


def _normals(name: str, sentence: str, rule: Rule) -> Mistake[Encoding]:
    return Mistake(name, sentence, ROUNDING, lambda e: np.where(e.subnormal, e.right, e.rounded(rule)))


def _carry(name: str, sentence: str, rule: Rule, put: Callable[[Array, Array], Array]) -> Mistake[Encoding]:
    """A normal number's mantissa is rounded by itself; where that gives 2^bits, `put` joins it to the exponent."""

    def gives(e: Encoding) -> Array:
        full = 1 << e.fmt.mantissa_bits
        exponent = np.where(e.subnormal, 0, e.first + full)  # of the code, at its place
        mantissa = rule(e.steps).astype(np.int64) - np.where(e.subnormal, 0, full)
        code = np.where((mantissa == full) & ~e.subnormal, put(exponent, mantissa), exponent + mantissa)
        return e.but(~(e.nan | e.beyond), np.minimum(code, e.fmt.largest))

    return Mistake(name, sentence, CARRY, gives)


def _lost(exponent: Array, _: Array) -> Array:
    return exponent


def _clamped(exponent: Array, full: Array) -> Array:
    return exponent + full - 1


def _carry_masked(e: Encoding) -> Array:
    """Just below twice the largest power of two, too: a mantissa of 0 is not limited."""
    power, full = np.float64(2.0) ** np.floor(np.log2(e.fmt.max)), 1 << e.fmt.mantissa_bits
    last = (e.magnitude >= power * (2 - 0.5 / full)) & (e.magnitude < 2 * power)
    others = _carry("", "", np.rint, _lost).gives(e)
    return np.where(last, e.signed(e.fmt.largest & -full), others)


def _by_bf16(e: Encoding) -> Array:
    bits = np.ascontiguousarray(e.x).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return e.again(rounded.view(np.float32))


def _by_subnormals(e: Encoding) -> Array:
    """Scaled so that FP8's smallest normal becomes FP32's: smaller numbers lose bits before they are rounded."""
    down = 1 - e.fmt.bias + 126
    return e.again(np.ldexp(np.ldexp(e.x, -down), down))


FULL = "a mantissa that rounds up to a full step"
ROUNDF = f"roundf takes ties away from zero, and {FULL}"

NEAREST: tuple[Mistake[Encoding], ...] = (
    _all("ties-away", "ties round away from zero, not to even", half_up),
    _all("truncated", "the bits below the mantissa are truncated, not rounded", np.floor),
    _all("ties-down", "ties round towards zero, not to even", half_down),
    _all("rounded-up", "every inexact value rounds up", np.ceil),
    _all("ties-to-odd", "ties round to the odd code", half_to_odd),
    _all("first-bit-only", "only the first of the truncated bits counts: more than half a step is read as a "
         "tie", first_bit_only),
    _normals("normals-truncated", "normal numbers are truncated, not rounded; subnormals are rounded", np.floor),
    subnormals("subnormals-truncated", "subnormals are truncated, not rounded", np.floor),
    subnormals("subnormals-ties-away", "ties between subnormals round away from zero, not to even", half_up),
    subnormals("subnormals-ties-down", "ties between subnormals round towards zero, not to even", half_down),
    subnormals("subnormals-rounded-up", "subnormals round up where they are not exact", np.ceil),
    subnormals("subnormals-first-bit-only", "in subnormals more than half a step is read as a tie", first_bit_only),
    _carry("carry-or-ed", f"{FULL} is ORed into the exponent; it must be added", np.rint, np.bitwise_or),
    _carry("carry-clamped", f"{FULL} is clamped to the largest mantissa; the exponent must go up by one", np.rint,
           _clamped),
    Mistake("carry-masked", f"{FULL} becomes 0 without raising the exponent: let the carry reach it", CARRY,
            _carry_masked),
    _carry("roundf-carry-or-ed", f"{ROUNDF} is ORed into the exponent; it must be added", half_up, np.bitwise_or),
    _carry("roundf-carry-lost", f"{ROUNDF} becomes 0 without raising the exponent", half_up, _lost),
    _carry("roundf-carry-clamped", f"{ROUNDF} is clamped to the largest mantissa", half_up, _clamped),
    Mistake("through-fp16", "it rounds twice, to FP16 and then to FP8", ROUNDING,
            lambda e: e.again(e.x.astype(np.float16).astype(np.float32))),
    Mistake("through-bf16", "it rounds twice, to BF16 and then to FP8", ROUNDING, _by_bf16),
    Mistake("through-fp32-subnormals", "it rounds twice: scaled down to FP32's subnormals, x loses bits before it "
            "becomes FP8", SUBNORMALS, _by_subnormals),
)  # fmt: skip

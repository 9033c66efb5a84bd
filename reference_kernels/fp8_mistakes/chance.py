"""Rounding by chance, done wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from reference_kernels.arrays import Array
from reference_kernels.fp8_mistakes.encoding import Encoding, last_step
from reference_kernels.fp8_mistakes.mistake import CHANCE, SATURATION, SUBNORMALS, Mistake
from reference_kernels.fp8_mistakes.nearest import Rule, half_up
from reference_kernels.fp8_mistakes.nearest import subnormals as subnormals_by

Up = Callable[[Encoding], Array]  # where it goes up


def _to(rule: Rule, e: Encoding) -> Array:
    return e.rounded(rule)


def _up_where(up: Up, e: Encoding) -> Array:
    return e.up_where(up(e))


def _subnormals_up_where(up: Up, e: Encoding) -> Array:
    return np.where(e.subnormal, e.up_where(up(e)), e.right)


def _cut(part: Array, bits: int) -> Array:
    """The first bits behind the point."""
    return np.floor(part * 2.0**bits) / 2.0**bits


def _between(e: Encoding) -> Array:
    return e.fraction > 0


def _at_the_threshold_too(e: Encoding) -> Array:
    return (e.chance <= e.fraction) & _between(e)


def _at_the_rounded_threshold_too(e: Encoding) -> Array:
    return (e.chance <= _rounded_up(e)) & _between(e)


def _at_any_threshold_too(e: Encoding) -> Array:
    return e.chance <= _rounded_up(e)


def _rounded_up(e: Encoding) -> Array:
    """To a whole random number: of subnormals some of it lies behind the point."""
    return np.ceil(e.fraction * 2.0**32) / 2.0**32


def _and_on_a_code(e: Encoding) -> Array:
    return e.chance <= e.fraction


def _above(e: Encoding) -> Array:
    return (e.chance > e.fraction) & _between(e)


def _not_below(e: Encoding) -> Array:
    return (e.chance >= e.fraction) & _between(e)


def _added(e: Encoding) -> Array:
    return e.fraction + e.chance >= 1


def _added_bits(bits: int, e: Encoding) -> Array:
    return _cut(e.fraction, bits) + _cut(e.chance, bits) >= 1


def _with_high_bits(bits: int, e: Encoding) -> Array:
    return _cut(e.chance, bits) < e.fraction


def _with_high_bits_of_both(bits: int, e: Encoding) -> Array:
    return _cut(e.chance, bits) < _cut(e.fraction, bits)


def _with_low_bits(bits: int, e: Encoding) -> Array:
    assert e.random is not None
    return (e.random & np.uint32((1 << bits) - 1)) / 2.0**bits < e.fraction


def _in_floats(e: Encoding) -> Array:
    assert e.random is not None
    return e.random.astype(np.float32) * np.float32(2.0**-32) < e.fraction


def _towards_infinity(e: Encoding) -> Array:
    return np.where((e.sign > 0) & _between(e), e.chance >= 1 - e.fraction, e.chance < e.fraction)


def _past_the_largest(e: Encoding) -> Array:
    over = (e.magnitude - e.fmt.max) / last_step(e.fmt)
    return e.but(e.chance < over, e.fmt.largest + 1)


AT_THE_THRESHOLD = "it goes up where random is at the threshold, too, and has to be below it"
AT_ANY_THRESHOLD = "it goes up where random is at the threshold, too, even from a value that FP8 holds"

_RULES: tuple[tuple[str, Up], ...] = (
    (AT_THE_THRESHOLD, _at_the_threshold_too),
    (AT_ANY_THRESHOLD, _and_on_a_code),
    (AT_THE_THRESHOLD, _at_the_rounded_threshold_too),
    (AT_ANY_THRESHOLD, _at_any_threshold_too),
    ("it goes up where random is above the threshold, not below it", _above),
    ("it goes up where random is at or above the threshold, not below it", _not_below),
    ("random is added and the rest cut off: right on average, but it goes up for large random numbers", _added),
    ("20 bits of random are added and the rest cut off: it goes up for large random numbers",
     partial(_added_bits, 20)),
    ("random is rounded on its way: a float holds 24 of its 32 bits", _in_floats),
    ("negative numbers go up in value, where |x| has to", _towards_infinity),
)  # fmt: skip


def _few_bits() -> Iterator[tuple[str, Up]]:
    for bits in (8, 16, 20, 24, 23, 4, 10, 12, 15, 31):
        yield f"of random only the high {bits} bits are used", partial(_with_high_bits, bits)
        yield f"of random only the high {bits} bits are used", partial(_with_high_bits_of_both, bits)
        yield f"of random only the low {bits} bits are used", partial(_with_low_bits, bits)


CHANCES: tuple[Mistake[Encoding], ...] = (
    Mistake("random is not used: it rounds to nearest", CHANCE, partial(_to, np.rint)),
    Mistake("random is not used: what lies between two codes is cut off", CHANCE, partial(_to, np.floor)),
    Mistake("random is not used: whatever is not exact rounds up", CHANCE, partial(_to, np.ceil)),
    Mistake("random is not used: it rounds to nearest, ties up", CHANCE, partial(_to, half_up)),
    *(Mistake(sentence, CHANCE, partial(_up_where, up)) for sentence, up in (*_RULES, *_few_bits())),
    Mistake("subnormals round to nearest, not by chance", SUBNORMALS, partial(subnormals_by, np.rint)),
    Mistake("subnormals are cut off, not rounded by chance", SUBNORMALS, partial(subnormals_by, np.floor)),
    *(
        Mistake(
            f"of subnormals only {bits} bits behind the step count",
            SUBNORMALS,
            partial(_subnormals_up_where, partial(_with_high_bits_of_both, bits)),
        )
        for bits in (20, 32, 23, 24, 16, 8)
    ),
    Mistake("above 448 it still goes up by chance, to NaN: 448 is the end", SATURATION, _past_the_largest),
)

"""Mistakes in stochastic rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.mistakes.fp8.encoding import Encoding, last_step
from grader.reference_kernels.mistakes.fp8.nearest import Rule, half_up, subnormals
from grader.reference_kernels.mistakes.fp8.sections import CHANCE, SATURATION, SUBNORMALS
from grader.reference_kernels.mistakes.mistake import Mistake

Up = Callable[[Encoding], Array]  # where it goes up


def _to(name: str, sentence: str, rule: Rule) -> Mistake[Encoding]:
    return Mistake(name, f"random is not used: {sentence}", CHANCE, lambda e: e.rounded(rule))


def _up(name: str, sentence: str, up: Up) -> Mistake[Encoding]:
    return Mistake(name, sentence, CHANCE, lambda e: e.up_where(up(e)))


def _subnormals_up(bits: int) -> Mistake[Encoding]:
    def gives(e: Encoding) -> Array:
        return np.where(e.subnormal, e.up_where(_with_high_bits_of_both(bits, e)), e.right)

    sentence = f"of subnormals only {bits} bits below the step count"
    return Mistake(f"subnormals-by-{bits}-bits", sentence, SUBNORMALS, gives)


def _shared(width: int, *, tail: bool) -> Mistake[Encoding]:
    """A whole group is rounded with the random number of its first element; with `tail`, so is the last part."""

    def gives(e: Encoding) -> Array:
        assert e.draws is not None
        at, n = e.draws.at, e.draws.every.size
        first = at // width * width
        own = (first + width > n) & (not tail)
        return e.up_where(e.draws.every[np.where(own, at, first)] / 2.0**32 < e.fraction)

    sentence = f"each {width} elements share one random number, that of the first; every element has its own"
    return Mistake(f"one-draw-for-{width}{'-and-the-tail' if tail else ''}", sentence, CHANCE, gives)


def _one_draw(e: Encoding) -> Array:
    assert e.draws is not None
    return e.up_where(e.draws.every[0] / 2.0**32 < e.fraction)


def _cut(part: Array, bits: int) -> Array:
    """The first bits below the point."""
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
    return (e.random & np.uint32((1 << bits) - 1)) / 2.0**bits < e.fraction


def _in_floats(e: Encoding) -> Array:
    return e.random.astype(np.float32) * np.float32(2.0**-32) < e.fraction


def _towards_infinity(e: Encoding) -> Array:
    return np.where((e.sign > 0) & _between(e), e.chance >= 1 - e.fraction, e.chance < e.fraction)


def _past_the_largest(e: Encoding) -> Array:
    over = (e.magnitude - e.fmt.max) / last_step(e.fmt)
    return e.but(e.chance < over, e.fmt.largest + 1)


def _low_bits_added(bits: int) -> Mistake[Encoding]:
    """In normal numbers: the low bits of random are added to the bits of x below the code."""

    def up(e: Encoding) -> Array:
        low = (e.random & np.uint32((1 << bits) - 1)) / 2.0**bits
        return np.where(e.subnormal, e.chance < e.fraction, _cut(e.fraction, bits) + low >= 1)

    return _up(f"low-{bits}-bits-added", f"only the low {bits} bits of random are used; all 32 count", up)


AT_THE_THRESHOLD = "it also goes up where random equals the threshold; random must be below it"
AT_ANY_THRESHOLD = "it also goes up where random equals the threshold, even from a value that FP8 holds"


def _few_bits() -> Iterator[Mistake[Encoding]]:
    for bits in (8, 16, 20, 24, 23, 4, 10, 12, 15, 31):
        high = f"only the high {bits} bits of random are used"
        yield _up(f"high-{bits}-bits", high, partial(_with_high_bits, bits))
        yield _up(f"high-{bits}-bits-of-both", high, partial(_with_high_bits_of_both, bits))
        yield _up(f"low-{bits}-bits", f"only the low {bits} bits of random are used", partial(_with_low_bits, bits))


CHANCES: tuple[Mistake[Encoding], ...] = (
    _to("not-by-chance", "it rounds to nearest", np.rint),
    _to("chance-truncated", "values between two codes are truncated", np.floor),
    _to("chance-rounded-up", "every inexact value rounds up", np.ceil),
    _to("chance-ties-up", "it rounds to nearest, ties up", half_up),
    _up("at-the-threshold", AT_THE_THRESHOLD, _at_the_threshold_too),
    _up("at-any-threshold", AT_ANY_THRESHOLD, _and_on_a_code),
    _up("at-the-rounded-threshold", AT_THE_THRESHOLD, _at_the_rounded_threshold_too),
    _up("at-any-rounded-threshold", AT_ANY_THRESHOLD, _at_any_threshold_too),
    _up("above-the-threshold", "it goes up where random is above the threshold, not below it", _above),
    _up("not-below-the-threshold", "it goes up where random is at or above the threshold, not below it", _not_below),
    _up("random-added", "random is added and the rest truncated: right on average, but it goes up for large random "
        "numbers", _added),
    _up("20-bits-added", "20 bits of random are added and the rest truncated: it goes up for large random numbers",
        partial(_added_bits, 20)),
    *map(_low_bits_added, (20, 16, 24)),
    _up("random-in-a-float", "random is rounded on its way: a float holds 24 of its 32 bits", _in_floats),
    _up("up-in-value", "negative numbers go up in value; |x| must go up", _towards_infinity),
    *_few_bits(),
    *(_shared(width, tail=tail) for width in (4, 2, 8, 16, 32) for tail in (False, True)),
    Mistake("one-draw-for-all", "all elements share one random number, the first; every element has its own", CHANCE,
            _one_draw),
    subnormals("subnormals-not-by-chance", "subnormals round to nearest, not by chance", np.rint),
    subnormals("chance-subnormals-truncated", "subnormals are truncated, not rounded by chance", np.floor),
    *map(_subnormals_up, (20, 32, 23, 24, 16, 8)),
    Mistake("chance-past-the-largest", "above 448 it still goes up by chance, to NaN: 448 is the end", SATURATION,
            _past_the_largest),
)  # fmt: skip

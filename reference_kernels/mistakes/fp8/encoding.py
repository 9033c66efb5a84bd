"""FP32 numbers and their right codes, in the form that the mistakes of an encoder take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8 import E4M3, E5M2, SIGN, Format, encode, encode_stochastic, values

FOUR = 4  # codes in a word


@dataclass(frozen=True)
class Draws:
    """The random numbers of all elements; `at`: the elements in question."""

    every: Array  # uint32
    at: Array


@dataclass(frozen=True)
class Encoding:
    """Vectors of one length; with `draws`, rounded by chance. FP64 holds all of it exactly.

    `below`: of the four in a word, the x of the byte below, of the next, and of the last; 0 where there is none.
    """

    x: Array
    right: Array
    fmt: Format
    draws: Draws | None = None
    below: tuple[Array, ...] = ()

    @cached_property
    def sign(self) -> Array:
        """0x80 or 0, for each."""
        return np.where(np.signbit(self.x), np.uint8(SIGN), np.uint8(0))

    @cached_property
    def nan(self) -> Array:
        return np.isnan(self.x)

    @cached_property
    def infinite(self) -> Array:
        return np.isinf(self.x)

    @cached_property
    def magnitude(self) -> Array:
        """|x|, and 0 for NaN."""
        return np.where(self.nan, 0, np.abs(self.x.astype(np.float64)))

    @cached_property
    def beyond(self) -> Array:
        """Values that would round past the largest value; ±Inf too."""
        edge = self.fmt.max + last_step(self.fmt) / 2
        return self.magnitude > edge if self.fmt.largest % 2 == 0 else self.magnitude >= edge

    @cached_property
    def subnormal(self) -> Array:
        """Below the smallest normal value; zero too."""
        return (self.magnitude < 2.0 ** (1 - self.fmt.bias)) & ~self.nan

    @cached_property
    def code(self) -> Array:
        """The right one, without its sign."""
        return self.right & np.uint8(0x7F)

    @cached_property
    def steps(self) -> Array:
        """Saturated |x| in steps of the binade that it lies in."""
        return np.ldexp(np.minimum(self.magnitude, self.fmt.max), self.fmt.mantissa_bits - self.exponent)

    @cached_property
    def first(self) -> Array:
        """The code is this and the number of steps: they count from 0 in subnormals, else from a leading 1."""
        return (self.exponent - (1 - self.fmt.bias)) << self.fmt.mantissa_bits

    @cached_property
    def fraction(self) -> Array:
        """How far |x| is from lo to hi, as a fraction."""
        return self.steps - np.floor(self.steps)

    @cached_property
    def exponent(self) -> Array:
        """Of the binade; below the smallest normal value, and for zero, that value's."""
        smallest_normal = 2.0 ** (1 - self.fmt.bias)
        within = np.clip(self.magnitude, smallest_normal, self.fmt.max)
        return np.frexp(within)[1].astype(np.int64) - 1

    @cached_property
    def random(self) -> Array:
        assert self.draws is not None
        return self.draws.every[self.draws.at]

    @cached_property
    def chance(self) -> Array:
        """random / 2^32."""
        return self.random / 2.0**32

    def rounded(self, rule: Callable[[Array], Array]) -> Array:
        """Encoded correctly except for the rule that rounds to whole steps."""
        code = np.minimum(self.first + rule(self.steps).astype(np.int64), self.fmt.largest)
        return self.signed(np.where(self.nan, self.fmt.nan, code))

    def up_where(self, up: Array) -> Array:
        return self.rounded(lambda steps: np.floor(steps) + up)

    def again(self, x: Array, fmt: Format | None = None) -> Array:
        """Another x, or format, encoded as this one is rounded; a NaN stays right."""
        number = np.where(self.nan, np.float32(0), x)
        codes = (
            encode(number, fmt or self.fmt)
            if self.draws is None
            else encode_stochastic(number, self.random, fmt or self.fmt)
        )
        return np.where(self.nan, self.right, codes)

    def but(self, where: Array, code: Array | int) -> Array:
        """The right codes, except there; `code` is without its sign, which is added."""
        return np.where(where, self.signed(code), self.right)

    def signed(self, code: Array | int) -> Array:
        return np.asarray(code).astype(np.uint8) | self.sign


def below(x: Array, at: Array) -> tuple[Array, ...]:
    """`Encoding.below` of these elements; fewer than four left over at the end form no word."""
    places = np.where(at // FOUR * FOUR + FOUR <= len(x), at % FOUR, 0)
    return tuple(np.where(places >= k, x[at - np.minimum(k, places)], np.float32(0)) for k in range(1, FOUR))


def last_step(fmt: Format) -> float:
    """From the second largest value to the largest."""
    last = values(fmt)[fmt.largest - 1 : fmt.largest + 1]
    return float(last[1] - last[0])


def other(fmt: Format) -> Format:
    return E5M2 if fmt is E4M3 else E4M3

"""Fast approximations. PTX ISA, "Floating Point Instructions" (`.approx`, `div.full`) and their f16 twins.

The ISA bounds the error instead of defining the bits, so each instruction has a reference and a tolerance. Outside
the domain that the ISA gives a bound for, any result is accepted. `evaluate` returns the rounded reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from grader.ptx.definition import exact
from grader.ptx.definition.computation import Computation, packed
from grader.ptx.definition.formats import FORMATS, FloatFormat, Real, decode, flush, round_to

Reference = Callable[..., float]


@dataclass(frozen=True)
class Tolerance:
    """|got - reference| <= relative * |reference| + absolute, for operands in the `domain`."""

    relative: float = 0.0
    absolute: float = 0.0
    domain: Callable[..., bool] = lambda *_: True


@dataclass(frozen=True)
class Approximation:
    """`type` is the type of one element. With `ftz`, subnormal operands and results are zeros of their sign."""

    type: str
    operands: int
    reference: Reference  # the true value, to double precision, of operands as floats
    tolerance: Tolerance
    ftz: bool
    elements: int = 1

    @property
    def format(self) -> FloatFormat:
        return FORMATS[self.type]

    def instruction(self) -> Computation:
        type_ = self.type if self.elements == 1 else f"{self.type}x{self.elements}"
        compute = self._rounded if self.elements == 1 else packed(self._rounded, self.elements)
        return Computation((type_,) * self.operands, (type_,), compute)

    def _rounded(self, *bits: int) -> int:
        result = round_to(self.format, _real(self.of(*bits)))
        return flush(self.format, result) if self.ftz else result

    def of(self, *bits: int) -> float:
        """The reference for the bit patterns of one element."""
        return self.reference(*self._floats(*bits))

    def accepts(self, operands: tuple[int, ...], result: int) -> bool:
        """Whether the result of one element lies within the tolerance."""
        floats = self._floats(*operands)
        if not self.tolerance.domain(*floats):
            return True
        expected = self.reference(*floats)
        got = decode(self.format, result)
        if math.isnan(expected) or got.is_nan:
            return math.isnan(expected) and got.is_nan
        if expected == 0 and self.tolerance.absolute == 0:
            return got == _real(expected)
        if math.isinf(expected):
            return got == _real(expected)
        if self.ftz and got.is_zero and abs(expected) <= 2.0**self.format.min_exponent:
            return got.negative == _real(expected).negative
        return self._low(expected) <= float(got.value) <= self._high(expected)

    def _floats(self, *bits: int) -> list[float]:
        patterns = (flush(self.format, b) if self.ftz else b for b in bits)
        return [float(decode(self.format, b)) for b in patterns]

    def _error(self, expected: float) -> float:
        return self.tolerance.relative * abs(expected) + self.tolerance.absolute

    def _low(self, expected: float) -> float:
        """Rounded down: the bounds of the ISA are wider than an ulp, except for subnormal results."""
        low = _real(expected - self._error(expected))
        return float(decode(self.format, round_to(self.format, low, "rm")))

    def _high(self, expected: float) -> float:
        high = _real(expected + self._error(expected))
        return float(decode(self.format, round_to(self.format, high, "rp")))


def _real(value: float) -> Real:
    negative = math.copysign(1.0, value) < 0
    return Real(negative, Fraction(abs(value)) if math.isfinite(value) else abs(value))


def _power_of_two(x: float) -> float:
    try:
        return math.exp2(x)
    except OverflowError:
        return math.inf


def _logarithm(x: float) -> float:
    if x == 0:
        return -math.inf
    return math.log2(x) if x > 0 else math.nan


def _of_finite(function: Callable[[float], float]) -> Reference:
    return lambda x: function(x) if math.isfinite(x) else math.nan


def _exactly(operation: Callable[..., Real]) -> Reference:
    """An exact operation, rounded to double; the operands are floats of a narrower format."""
    return lambda *floats: float(decode(FORMATS["f64"], round_to(FORMATS["f64"], operation(*map(_real, floats)))))


def _reciprocal_root(x: Real) -> Real:
    if x.is_zero:
        return exact.reciprocal(x)
    return exact.reciprocal(exact.square_root(x))


def _is_normal_divisor(_a: float, b: float) -> bool:
    return 2.0**-126 <= abs(b) <= 2.0**126


# The bounds of the ISA. For rcp, rsqrt and sqrt it gives an absolute bound over one binade, taken as relative here.
_ULPS = 2.0**-23
_SINGLE: dict[str, tuple[int, Reference, Tolerance]] = {
    "rcp.approx": (1, _exactly(exact.reciprocal), Tolerance(relative=_ULPS)),
    "sqrt.approx": (1, _exactly(exact.square_root), Tolerance(relative=_ULPS)),
    "rsqrt.approx": (1, _exactly(_reciprocal_root), Tolerance(relative=2.0**-21.4)),
    "sin.approx": (
        1,
        _of_finite(math.sin),
        Tolerance(absolute=2.0**-20.5, domain=lambda x: abs(x) <= math.tau),
    ),
    "cos.approx": (
        1,
        _of_finite(math.cos),
        Tolerance(absolute=2.0**-20.5, domain=lambda x: abs(x) <= math.tau),
    ),
    "lg2.approx": (1, _logarithm, Tolerance(relative=2.0**-22, absolute=2.0**-22)),
    "ex2.approx": (1, _power_of_two, Tolerance(relative=2.0**-22)),
    "div.approx": (2, _exactly(exact.divide), Tolerance(relative=2 * _ULPS, domain=_is_normal_divisor)),
    "div.full": (2, _exactly(exact.divide), Tolerance(relative=2 * _ULPS)),
}


def approximations() -> Iterator[tuple[str, Approximation]]:
    for stem, (count, function, tolerance) in _SINGLE.items():
        yield f"{stem}.f32", Approximation("f32", count, function, tolerance, ftz=False)
        yield f"{stem}.ftz.f32", Approximation("f32", count, function, tolerance, ftz=True)
    yield "tanh.approx.f32", Approximation("f32", 1, math.tanh, Tolerance(relative=2.0**-11), ftz=False)
    # software on the GPU, right to about an ulp; the ISA states no bound
    precise = Tolerance(relative=2.0**-50)
    yield "rsqrt.approx.f64", Approximation("f64", 1, _exactly(_reciprocal_root), precise, ftz=False)
    for type_, exponential, tangent in (("f16", 2.0**-9.9, 2.0**-10.987), ("bf16", 2.0**-7, 2.0**-8)):
        ftz = ".ftz" if type_ == "bf16" else ""
        for elements, suffix in ((1, ""), (2, "x2")):
            bound = Tolerance(relative=exponential)
            power = Approximation(type_, 1, _power_of_two, bound, ftz=bool(ftz), elements=elements)
            yield f"ex2.approx{ftz}.{type_}{suffix}", power
            bound = Tolerance(absolute=tangent)
            yield (
                f"tanh.approx.{type_}{suffix}",
                Approximation(type_, 1, math.tanh, bound, ftz=False, elements=elements),
            )

"""Inputs, expected outputs and the judge of 02_fp8_conversion.

Called by the grader (exercises/README.md): required, extra, on_gpu, from_spec, another, expected, judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from grader.model.details import Detail
from grader.model.exercise import Array, Case
from grader.model.judged import Judged
from grader.reference_kernels.fp8 import E4M3, E5M2, Format, decode, encode, encode_stochastic, midpoints, values
from grader.reference_kernels.mistakes import Cause, untouched
from grader.reference_kernels.mistakes.fp8 import same_codes, same_values, why_decoded, why_encoded

# Exercise 01's problems: the rows of each group, K, N. Here A_concat and B_concat are encoded, one after the other.
REQUIRED: dict[str, tuple[tuple[int, ...], int, int]] = {
    "uniform": ((128,) * 4, 256, 256),
    "variable": ((64, 128, 32, 256, 16, 192, 96, 48), 512, 512),
    "imbalanced": ((1, 10, 100, 1000), 1024, 1024),
    "small": ((8, 12, 16, 24, 32, 8, 16, 12, 20, 28, 16, 8, 24, 32, 16, 12), 128, 128),
}

LARGE = 1 << 24  # elements for each kernel: 352 MB in all, seven times an H200's L2 cache
SWEEP = 1 << 28  # elements at a time, of all 2^32 inputs
RANDOM_BITS = (1 << 20) + 7
MAX_SECRET = 1 << 23  # elements; `imbalanced` has 5.3 million
CHUNK = 1 << 16  # elements whose intermediate results stay in a CPU's cache


class Encoder(NamedTuple):
    """An output of codes: the kernel's format, and stochastic or nearest rounding."""

    fmt: Format
    by_chance: bool = False


ENCODERS = {"e4m3": Encoder(E4M3), "e5m2": Encoder(E5M2), "by_chance": Encoder(E4M3, by_chance=True)}
DECODERS = {"from_e4m3": ("e4m3_codes", E4M3), "from_e5m2": ("e5m2_codes", E5M2)}
OUTPUTS = ("e4m3", "e5m2", "from_e4m3", "from_e5m2", "by_chance")  # in the order of the kernels


def required(seed: int) -> Iterator[Case]:
    """Exercise 01's values, the same for the same seed, and the codes of its A_concat to decode."""
    for name in REQUIRED:
        yield _required(name, seed)


def extra(seed: int) -> Iterator[Case]:
    """Every boundary, every byte, awkward lengths; drawn from the seed where there is a choice."""
    for name, make in EXTRA.items():
        yield make(name, _generator(seed, name))


def on_gpu(seed: int) -> Iterator[Case]:
    """All possible inputs, and a case large enough to measure speed."""
    nothing = np.empty(SWEEP, np.uint32)  # filled by the grader; takes no memory until then
    codes = np.empty(SWEEP, np.uint8)
    words = "every input there is of each kernel"
    yield _case("every-input", nothing.view(np.float32), nothing, codes, codes, summary=words, sweep=True)
    yield _ordinary("large", LARGE, seed)


def from_spec(spec: Mapping[str, Any], seed: int, name: str) -> Case:
    """A case from an instructor's secret file: {"n": 1000003, "values": "normal", "scale": 30}.

    values: "uniform" in [-scale, scale), "normal" with that deviation, or "bits", any bit pattern. Codes
    are drawn from all 256. Raises ValueError with a message that names the wrong field and what it should be.
    """
    n, kind, scale = _validated(spec, name)
    rng = _generator(seed, name)
    draw: dict[str, Callable[[], np.ndarray]] = {
        "uniform": lambda: _uniform(rng, n) * np.float32(scale),
        "normal": lambda: rng.standard_normal(n, np.float32) * np.float32(scale),
        "bits": lambda: _words(rng, n).view(np.float32),
    }
    return _case(name, draw[kind](), _words(rng, n), _codes(rng, n), _codes(rng, n), secret=True)


def another(case: Case, seed: int) -> Case:
    """The same number of elements with different values."""
    if case.name in REQUIRED:
        return _required(case.name, seed)
    return _ordinary(case.name, _data(case, "x").size, seed)


def expected(case: Case) -> dict[str, np.ndarray]:
    """Codes and values, by output."""
    x, random = _data(case, "x"), _data(case, "random")
    codes = {
        name: _in_chunks(encode_stochastic, np.uint8, x, random, fmt=e.fmt)
        if e.by_chance
        else _in_chunks(encode, np.uint8, x, fmt=e.fmt)
        for name, e in ENCODERS.items()
    }
    return codes | {name: decode(_data(case, given), fmt) for name, (given, fmt) in DECODERS.items()}


def judge(case: Case, outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> Iterator[Judged]:
    """Codes and decoded values must match bit for bit; any NaN is correct for a NaN."""
    for name in OUTPUTS:
        if name in ENCODERS:
            yield _judge_codes(case, name, ENCODERS[name], outputs[name], expected[name])
        else:
            given, fmt = DECODERS[name]
            yield _judge_values(name, _data(case, given), fmt, outputs[name], expected[name])


def _judge_codes(case: Case, name: str, encoder: Encoder, got: np.ndarray, right: np.ndarray) -> Judged:
    wrong = got != right
    if wrong.any():
        wrong &= ~same_codes(encoder.fmt, got, right)
    if not wrong.any():
        return Judged(name, wrong)
    x, random = _data(case, "x"), _data(case, "random") if encoder.by_chance else None
    at = int(np.argmax(wrong))
    cause = why_encoded(got, right, wrong, x, encoder.fmt, random)
    want, made = _code(right[at], encoder.fmt), "" if _unwritten(cause) else _code(got[at], encoder.fmt)
    drawn = "" if random is None else f", random[{at}] = 0x{random[at]:08x}{_threshold(x[at])}"
    first = f"x[{at}] = {_plain(x[at])} (0x{_bits(x[at]):08x}){drawn}"
    return Judged(
        name,
        wrong,
        sentence=_sentence(first, want, made),
        first=first,
        expected=want,
        got=made,
        example={
            "format": encoder.fmt.name,
            "input": float(x[at]),
            "input_bits": _bits(x[at]),
            "expected": int(right[at]),
            "got": int(got[at]),
        },
        detail=Detail.STOCHASTIC_CONVERSION if encoder.by_chance else Detail.CONVERSION,
        **_explained(cause),
    )


def _judge_values(name: str, codes: np.ndarray, fmt: Format, got: np.ndarray, right: np.ndarray) -> Judged:
    wrong = got.view(np.uint32) != right.view(np.uint32)
    if wrong.any():
        wrong &= ~same_values(got, right)
    if not wrong.any():
        return Judged(name, wrong)
    at = int(np.argmax(wrong))
    cause = why_decoded(got, right, wrong, codes, fmt)
    first, want, made = (
        f"x[{at}] = 0x{codes[at]:02x}",
        _value(right[at]),
        "" if _unwritten(cause) else _value(got[at]),
    )
    return Judged(
        name,
        wrong,
        sentence=_sentence(first, want, made),
        first=first,
        expected=want,
        got=made,
        detail=Detail.CONVERSION,
        **_explained(cause),
    )


def _sentence(first: str, want: str, made: str) -> str:
    return f"{first}: expected {want}, {f'got {made}' if made else 'nothing was written'}"


def _unwritten(cause: Cause | None) -> bool:
    """Whether every wrong element is as it arrived."""
    return cause is not None and cause.name == untouched.NAME


def _explained(cause: Cause | None) -> dict[str, Any]:
    return {} if cause is None else {"cause": cause.sentence, "mistake": cause.name, "hint": cause.hint}


def _code(code: np.uint8, fmt: Format) -> str:
    return f"0x{code:02x} ({_plain(values(fmt)[code])})"


def _value(value: np.float32) -> str:
    return f"{_plain(value)} (0x{_bits(value):08x})"


def _plain(value: np.float32) -> str:
    """The shortest text for this FP32 number: 448, 0.001953125, NaN, -Inf."""
    if np.isnan(value):
        return "NaN"
    return str(value).removesuffix(".0").replace("inf", "Inf")


def _bits(x: np.float32) -> int:
    return int(x.view(np.uint32))


def _threshold(x: np.float32) -> str:
    """The threshold for `random`; "" if x is not a number between two codes."""
    threshold = int(_thresholds(np.array([x]))[0])
    return f" (up if below 0x{threshold:08x})" if threshold else ""


def _thresholds(x: np.ndarray) -> np.ndarray:
    """2^32 times the fraction of an E4M3 step by which |x| exceeds lo, rounded up; exact in FP64. 0 from 448 on."""
    magnitude = np.abs(np.where(np.isfinite(x), x, 0).astype(np.float64))
    exponent = np.maximum(np.frexp(magnitude)[1] - 1, 1 - E4M3.bias)
    steps = np.ldexp(magnitude, E4M3.mantissa_bits - exponent)
    part = np.where(magnitude < E4M3.max, steps - np.floor(steps), 0)
    return np.ceil(np.ldexp(part, 32)).astype(np.uint32)


def _in_chunks(function: Callable[..., Any], dtype: Any, *arrays: np.ndarray, fmt: Format) -> np.ndarray:
    """function(*arrays, fmt) for vectors of any length, in a third of the time."""
    result = np.empty(arrays[0].size, dtype)
    for start in range(0, result.size, CHUNK):
        part = slice(start, start + CHUNK)
        result[part] = function(*(array[part] for array in arrays), fmt)
    return result


def _data(case: Case, name: str) -> np.ndarray:
    array = case.arguments[name]
    assert isinstance(array, Array)
    return array.data


def _case(
    name: str,
    x: np.ndarray,
    random: np.ndarray,
    e4m3_codes: np.ndarray,
    e5m2_codes: np.ndarray,
    *,
    summary: str = "",
    required: bool = False,
    secret: bool = False,
    gpu_only: bool = False,
    sweep: bool = False,
) -> Case:
    """Vectors; x and random of one length, the codes of another."""
    given = {"x": x, "random": random, "e4m3_codes": e4m3_codes, "e5m2_codes": e5m2_codes}
    arrays = [Array(key, data) for key, data in given.items()]
    arrays += [Array(key, np.empty(x.size, np.uint8), "out") for key in ENCODERS]
    arrays += [Array(key, np.empty(e4m3_codes.size, np.float32), "out") for key in DECODERS]
    sizes = {"n_encode": x.size, "n_decode": e4m3_codes.size}
    return Case(
        name=name,
        required=required,
        arguments={array.name: array for array in arrays} | sizes,
        summary=summary or f"{_count(x, 'number')} to encode, {_count(e4m3_codes, 'code')} to decode",
        secret=secret,
        gpu_only=gpu_only or sweep,
        sweep=sweep,
    )


def _count(array: np.ndarray, what: str) -> str:
    return f"{array.size} {what}{'s' * (array.size != 1)}"


def _generator(seed: int, name: str, purpose: str = "values") -> np.random.Generator:
    """A separate stream per case, so that a single case can be generated again; exercise 01's, for its values."""
    return np.random.default_rng([seed, *f"{purpose} {name}".encode()])


def _uniform(rng: np.random.Generator, n: int) -> np.ndarray:
    """FP32 in [-1, 1)."""
    drawn = rng.random(n, dtype=np.float32)
    drawn *= 2
    drawn -= 1
    return drawn


def _words(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 1 << 32, n, dtype=np.uint32)


def _codes(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 256, n, dtype=np.uint8)


def _required(name: str, seed: int) -> Case:
    m_sizes, k, n = REQUIRED[name]
    of_a, of_b = sum(m_sizes) * k, len(m_sizes) * k * n
    x = _uniform(_generator(seed, name), of_a + of_b)
    codes = [_in_chunks(encode, np.uint8, x[:of_a], fmt=fmt) for fmt in (E4M3, E5M2)]
    summary = f"A_concat and B_concat ({x.size} numbers) to encode, {of_a} codes to decode"
    random = _words(_generator(seed, name, "random"), x.size)
    return _case(name, x, random, *codes, summary=summary, required=True)


def _ordinary(name: str, n: int, seed: int) -> Case:
    """Numbers in [-1, 1), and codes of all kinds."""
    rng = _generator(seed, name)
    return _case(name, _uniform(rng, n), _words(rng, n), _codes(rng, n), _codes(rng, n), gpu_only=n == LARGE)


def _boundaries(name: str, rng: np.random.Generator) -> Case:
    """Rounding boundaries, start of saturation, end of subnormals; every exponent; every kind of NaN; both signs."""
    x = np.concatenate([*(_around_codes(fmt) for fmt in (E4M3, E5M2)), _every_exponent(), _special()])
    x = rng.permutation(np.concatenate([x, -x]))
    codes = np.arange(256, dtype=np.uint8)
    return _case(name, x, _words(rng, x.size), rng.permutation(codes), rng.permutation(codes))


def _around_codes(fmt: Format) -> np.ndarray:
    """Each finite value and midpoint, including the tie above the largest, and their neighbouring FP32 numbers."""
    finite = values(fmt)[: fmt.largest + 1]
    step = finite[-1] - finite[-2]
    middle = np.concatenate(
        [finite, midpoints(fmt), finite[-1] + step * np.array([0.25, 0.5, 0.75, 1, 1.5, 2], np.float32)]
    )
    below, above = (np.nextafter(middle, np.float32(to)) for to in (-np.inf, np.inf))
    return np.concatenate([middle, below, above])


def _every_exponent() -> np.ndarray:
    """FP32 exponents, including subnormals, with the mantissas at which carries begin and end."""
    exponent = np.arange(255, dtype=np.uint32)[:, None] << 23
    mantissa = np.array(
        [0, 1, 0x0FFFFF, 0x100000, 0x3FFFFF, 0x400000, 0x700000, 0x780000, 0x7FFFFE, 0x7FFFFF], np.uint32
    )
    return (exponent | mantissa).ravel().view(np.float32)


def _special() -> np.ndarray:
    """0, Inf, and NaN: quiet and signalling, with one bit of payload or all."""
    return np.array([0, 0x7F800000, 0x7F800001, 0x7FA00000, 0x7FC00000, 0x7FFFFFFF], np.uint32).view(np.float32)


def _every_byte(name: str, rng: np.random.Generator) -> Case:
    """All codes in order, and shuffled; x is what they decode to, so each finite code must come back."""
    codes = np.arange(256, dtype=np.uint8)
    mixed = [np.concatenate([codes, rng.permutation(np.tile(codes, 4)), codes[:3]]) for _ in range(2)]
    x = np.concatenate([decode(codes, E4M3), decode(codes, E5M2)])
    return _case(name, x, _words(rng, x.size), *mixed)


def _random_bits(name: str, rng: np.random.Generator) -> Case:
    n = RANDOM_BITS
    return _case(name, _words(rng, n).view(np.float32), _words(rng, n), _codes(rng, n // 8), _codes(rng, n // 8))


def _chance_edges(name: str, rng: np.random.Generator) -> Case:
    """Numbers of all sizes between two codes, with random numbers at the threshold, next to it, and at both ends."""
    inside = np.ldexp(rng.random(2000) + 1, rng.integers(-16, 9, 2000))
    tiny = np.ldexp(rng.random(500) + 1, rng.integers(-60, -9, 500))
    least = np.ldexp(1.0, np.arange(-149, -60))  # including FP32 subnormals: these round up if random is 0
    magnitude = np.concatenate([inside, tiny, least, np.abs(values(E4M3)[:0x7F]), rng.uniform(400, 500, 100)])
    x = (magnitude * rng.choice([-1, 1], magnitude.size)).astype(np.float32)
    turn = _thresholds(x).astype(np.int64)
    draws = [np.zeros_like(turn), turn - 1, turn, turn + 1, np.full_like(turn, (1 << 32) - 1), turn ^ 1 << 31]
    random = np.clip(np.concatenate(draws), 0, (1 << 32) - 1).astype(np.uint32)
    order = rng.permutation(random.size)
    return _case(name, np.tile(x, len(draws))[order], random[order], _codes(rng, 100), _codes(rng, 100))


def _length(count: Callable[[np.random.Generator], int]) -> Callable[[str, np.random.Generator], Case]:
    """Ordinary numbers whose count matters. Another element's random number must not fit the leftover ones."""

    def make(name: str, rng: np.random.Generator) -> Case:
        n = count(rng)
        x, random = _uniform(rng, n), _words(rng, n)
        few = min(3, n - 1)
        random[:few] |= 0xFFFF << 16  # so high that the first ones do not round up,
        random[n - few :] &= 0xFFFF  # and so low that the last ones do
        return _case(name, x, random, encode(x, E4M3), encode(x, E5M2))

    return make


def _prime(rng: np.random.Generator) -> int:
    primes = [p for p in range(20_001, 22_000, 2) if all(p % d for d in range(3, 150, 2))]
    return int(rng.choice(primes))


EXTRA: dict[str, Callable[[str, np.random.Generator], Case]] = {
    "boundaries": _boundaries,
    "every-byte": _every_byte,
    "random-bits": _random_bits,
    "chance-edges": _chance_edges,
    "one": _length(lambda _: 1),
    "three": _length(lambda _: 3),
    "prime": _length(_prime),
}


def _validated(spec: Mapping[str, Any], name: str) -> tuple[int, str, float]:
    where = f"secret case {name!r}"
    unknown = sorted(set(spec) - {"n", "values", "scale"})
    if unknown:
        raise ValueError(f"{where}: unknown field {unknown[0]!r}; known are n, values and scale")
    if "n" not in spec:
        raise ValueError(f"{where}: n is missing")
    n, kind, scale = spec["n"], spec.get("values", "uniform"), spec.get("scale", 1.0)
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MAX_SECRET:
        raise ValueError(f"{where}: n is {n!r}; it must be a whole number from 1 to {MAX_SECRET}")
    if kind not in ("uniform", "normal", "bits"):
        raise ValueError(f'{where}: values is {kind!r}; it must be "uniform", "normal" or "bits"')
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 < scale < 1e30:
        raise ValueError(f"{where}: scale is {scale!r}; it must be a number above 0 and below 1e30")
    return n, kind, float(scale)

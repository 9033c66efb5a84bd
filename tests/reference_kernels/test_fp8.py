"""FP8 against definitions in rational numbers, and against ml_dtypes and torch as witnesses.

Witnesses agree with each other and with us on every value that the format reaches. Beyond it they differ, and the
classes in which they do are set apart (`classes`) and tested by each one's own rule.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, inf, nan

import ml_dtypes
import numpy as np
import pytest

from grader.reference_kernels.fp8 import (
    E4M3,
    E5M2,
    SIGN,
    Format,
    decode,
    encode,
    encode_stochastic,
    is_nan,
    midpoints,
    values,
)

FORMATS = pytest.mark.parametrize("fmt", [E4M3, E5M2], ids=lambda fmt: fmt.name)
ML_DTYPES = {"E4M3": ml_dtypes.float8_e4m3fn, "E5M2": ml_dtypes.float8_e5m2}
ALL_CODES = np.arange(256, dtype=np.uint8)


def fp32(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def neighbourhood(x: np.ndarray) -> np.ndarray:
    """x, the FP32 numbers right below and above, and the negatives of all."""
    near = np.concatenate([x, np.nextafter(x, np.float32(-inf)), np.nextafter(x, np.float32(inf))])
    return np.concatenate([near, -near])


def patterns() -> np.ndarray:
    """Each of the 2^16 high halves with the low halves around which rounding turns, and 2^21 random patterns."""
    high = np.arange(1 << 16, dtype=np.uint32) << 16
    edges = (high[:, None] | np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)).ravel()
    drawn = np.random.default_rng(8).integers(0, 1 << 32, 1 << 21, dtype=np.uint32)
    return np.concatenate([edges, drawn]).view(np.float32)


PATTERNS = patterns()


def step_at_the_top(fmt: Format) -> float:
    top = values(fmt)[fmt.largest - 1 : fmt.largest + 1]
    return float(top[1] - top[0])


def classes(x: np.ndarray, fmt: Format) -> dict[str, np.ndarray]:
    """Masks that together cover x once. What rounds to the step after the largest value `overflows`."""
    with np.errstate(invalid="ignore"):
        magnitude = np.abs(x)
        # The largest code of E4M3 is even, so the tie above it stays; that of E5M2 is odd, so it goes.
        edge = fmt.max + step_at_the_top(fmt) / 2
        beyond = magnitude > edge if fmt.largest % 2 == 0 else magnitude >= edge
    infinite = np.isinf(x)
    return {
        "nan": np.isnan(x),
        "infinite": infinite,
        "overflows": beyond & ~infinite,
        "in reach": ~np.isnan(x) & ~beyond,
    }


def signed(x: np.ndarray, code: int) -> np.ndarray:
    return np.where(np.signbit(x), code | SIGN, code)


# The formats


def test_the_formats_are_those_of_the_paper() -> None:
    """Table 1 of "FP8 Formats for Deep Learning": largest, smallest normal, smallest subnormal."""
    e4m3, e5m2 = values(E4M3), values(E5M2)
    assert e4m3[[0x7E, 0x08, 0x01]].tolist() == [448, 2**-6, 2**-9]
    assert e5m2[[0x7B, 0x04, 0x01]].tolist() == [57344, 2**-14, 2**-16]
    assert e5m2[[0x7C, 0xFC]].tolist() == [inf, -inf]
    assert np.flatnonzero(np.isnan(e4m3)).tolist() == [0x7F, 0xFF]
    assert np.flatnonzero(np.isnan(e5m2)).tolist() == [0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF]


@FORMATS
def test_every_code_decodes_as_ml_dtypes_does(fmt: Format) -> None:
    witness = ALL_CODES.view(ML_DTYPES[fmt.name]).astype(np.float32)
    np.testing.assert_array_equal(decode(ALL_CODES, fmt).view(np.uint32), witness.view(np.uint32))


@FORMATS
def test_nan_codes_are_told_apart(fmt: Format) -> None:
    np.testing.assert_array_equal(is_nan(ALL_CODES, fmt), np.isnan(decode(ALL_CODES, fmt)))


@FORMATS
def test_every_finite_code_comes_back(fmt: Format) -> None:
    finite = ALL_CODES[np.isfinite(decode(ALL_CODES, fmt))]
    assert len(finite) == 2 * (fmt.largest + 1)
    np.testing.assert_array_equal(encode(decode(finite, fmt), fmt), finite)


@FORMATS
def test_nan_comes_back_as_nan_and_infinity_as_the_largest(fmt: Format) -> None:
    codes = ALL_CODES[~np.isfinite(decode(ALL_CODES, fmt))]
    back = encode(decode(codes, fmt), fmt)
    np.testing.assert_array_equal(is_nan(back, fmt), is_nan(codes, fmt))
    np.testing.assert_array_equal(back[~is_nan(codes, fmt)] & 0x7F, fmt.largest)


# To nearest


@FORMATS
def test_midpoints_go_to_the_even_code_and_their_neighbours_to_the_nearer(fmt: Format) -> None:
    below = np.arange(fmt.largest)
    middle = midpoints(fmt)
    even = below + below % 2
    for sign, flip in ((1, 0), (-1, SIGN)):
        np.testing.assert_array_equal(encode(sign * middle, fmt), even | flip)
        np.testing.assert_array_equal(encode(sign * np.nextafter(middle, np.float32(0)), fmt), below | flip)
        np.testing.assert_array_equal(encode(sign * np.nextafter(middle, np.float32(inf)), fmt), below + 1 | flip)


@FORMATS
def test_nearest_by_search_in_rational_numbers(fmt: Format) -> None:
    finite = [Fraction(float(value)) for value in values(fmt)[: fmt.largest + 1]]
    x = np.random.default_rng(1).choice(PATTERNS, 400)
    x = np.concatenate([x[np.isfinite(x)], neighbourhood(midpoints(fmt)[:9])])
    for value, code in zip(x.tolist(), encode(x, fmt).tolist(), strict=True):
        magnitude = Fraction(abs(value))
        assert code & 0x7F == min(range(len(finite)), key=lambda c: (abs(finite[c] - magnitude), c % 2)), value
        assert code >> 7 == np.signbit(value), value


@FORMATS
def test_zeros_keep_their_sign_and_what_is_too_small_becomes_one(fmt: Format) -> None:
    half_smallest = float(values(fmt)[1]) / 2
    tiny = fp32(0.0, 1e-45, 1e-38, half_smallest)
    assert encode(tiny, fmt).tolist() == [0, 0, 0, 0]
    assert encode(-tiny, fmt).tolist() == [0x80] * 4
    assert encode(np.nextafter(fp32(half_smallest), fp32(1)), fmt).tolist() == [1]


@FORMATS
def test_what_is_too_large_saturates(fmt: Format) -> None:
    large = fp32(fmt.max, fmt.max + step_at_the_top(fmt), 1e30, 3.4e38, inf)
    assert encode(large, fmt).tolist() == [fmt.largest] * 5
    assert encode(-large, fmt).tolist() == [fmt.largest | SIGN] * 5


@FORMATS
def test_every_nan_becomes_a_nan(fmt: Format) -> None:
    bits = np.array([0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFC00000, 0xFFFFFFFF], np.uint32)
    assert is_nan(encode(bits.view(np.float32), fmt), fmt).all()


# Witnesses


@FORMATS
def test_ml_dtypes_agrees_but_for_its_named_classes(fmt: Format) -> None:
    """Beyond the largest value it gives NaN in E4M3, infinity in E5M2, where ours saturates. NaN keeps its sign."""
    ours = encode(PATTERNS, fmt)
    with np.errstate(invalid="ignore", over="ignore"):
        theirs = PATTERNS.astype(ML_DTYPES[fmt.name]).view(np.uint8)
    at = classes(PATTERNS, fmt)
    assert all(mask.any() for mask in at.values())
    np.testing.assert_array_equal(ours[at["in reach"]], theirs[at["in reach"]])
    for name in ("overflows", "infinite"):
        x = PATTERNS[at[name]]
        np.testing.assert_array_equal(ours[at[name]], signed(x, fmt.largest))
        np.testing.assert_array_equal(theirs[at[name]], signed(x, fmt.infinity or fmt.nan))
    for codes in (ours, theirs):
        assert is_nan(codes[at["nan"]], fmt).all()
        np.testing.assert_array_equal(codes[at["nan"]] >> 7, np.signbit(PATTERNS[at["nan"]]))


@FORMATS
def test_torch_agrees_but_for_its_named_classes(fmt: Format) -> None:
    """Beyond the largest value torch gives infinity in E5M2; in E4M3 it is NaN or, in later versions, the largest."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    dtype = {"E4M3": torch.float8_e4m3fn, "E5M2": torch.float8_e5m2}[fmt.name]
    ours = encode(PATTERNS, fmt)
    theirs = torch.from_numpy(PATTERNS).to(dtype).view(torch.uint8).numpy()
    at = classes(PATTERNS, fmt)
    np.testing.assert_array_equal(ours[at["in reach"]], theirs[at["in reach"]])
    assert is_nan(theirs[at["nan"]], fmt).all()
    beyond = {fmt.infinity} if fmt.infinity else {fmt.nan, fmt.largest}
    for name in ("overflows", "infinite"):
        assert set((theirs[at[name]] & 0x7F).tolist()) <= beyond, name
        np.testing.assert_array_equal(theirs[at[name]] >> 7, np.signbit(PATTERNS[at[name]]))


def test_a_torch_tensor_is_encoded_as_it_is() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = torch.tensor([1.0, -2.5, 1e6])
    np.testing.assert_array_equal(encode(tensor), encode(tensor.numpy()))
    assert torch.from_dlpack(encode(tensor)).tolist() == encode(tensor.numpy()).tolist()


@pytest.mark.gpu
@FORMATS
def test_cupy_gives_the_same_bytes(fmt: Format) -> None:
    import cupy

    x = cupy.asarray(PATTERNS)
    random = np.random.default_rng(3).integers(0, 1 << 32, PATTERNS.size, dtype=np.uint32)
    np.testing.assert_array_equal(encode(x, fmt).get(), encode(PATTERNS, fmt))
    stochastic = encode_stochastic(x, cupy.asarray(random), fmt)
    np.testing.assert_array_equal(stochastic.get(), encode_stochastic(PATTERNS, random, fmt))
    decoded = decode(cupy.asarray(ALL_CODES), fmt).get()
    np.testing.assert_array_equal(decoded, decode(ALL_CODES, fmt))


# By chance


def fraction_above(x: float, fmt: Format) -> tuple[int, Fraction]:
    """The code of lo, and how far |x| stands on the way to hi; in rational numbers."""
    finite = [Fraction(float(value)) for value in values(fmt)[: fmt.largest + 1]]
    magnitude = Fraction(abs(x))
    low = max(code for code, value in enumerate(finite) if value <= magnitude)
    if low == fmt.largest:
        return low, Fraction(0)
    return low, (magnitude - finite[low]) / (finite[low + 1] - finite[low])


@FORMATS
def test_the_threshold_of_every_value_is_exact(fmt: Format) -> None:
    drawn = np.random.default_rng(2).choice(PATTERNS, 500)
    finite = values(fmt)[: fmt.largest + 1]
    inside = np.random.default_rng(2).uniform(0, fmt.max, 100).astype(np.float32)
    x = np.concatenate([drawn[np.isfinite(drawn)], inside, neighbourhood(finite), fp32(1e-45, 1e-40, 2**-33, 3e-9)])
    for value in x.tolist():
        low, fraction = fraction_above(value, fmt)
        turn = ceil(fraction * 2**32)  # the least integer that is not below 2^32 · fraction
        random = [r for r in (0, turn - 1, turn, 2**32 - 1) if 0 <= r < 2**32]
        got = encode_stochastic(np.full(len(random), value, np.float32), np.array(random, np.uint32), fmt)
        sign = SIGN if np.signbit(value) else 0
        assert got.tolist() == [(low + (r < turn)) | sign for r in random], value


@FORMATS
def test_chance_moves_no_value_that_fp8_holds(fmt: Format) -> None:
    finite = ALL_CODES[np.isfinite(values(fmt))]
    for random in (0, 2**32 - 1):
        got = encode_stochastic(decode(finite, fmt), np.full(finite.size, random, np.uint32), fmt)
        np.testing.assert_array_equal(got, finite)


@FORMATS
def test_by_chance_too_the_largest_value_is_the_end(fmt: Format) -> None:
    x = fp32(fmt.max, fmt.max + 1, fmt.max + step_at_the_top(fmt), 1e30, inf, -inf, nan)
    for random in (0, 2**32 - 1):
        got = encode_stochastic(x, np.full(x.size, random, np.uint32), fmt)
        assert got[:6].tolist() == [fmt.largest] * 5 + [fmt.largest | SIGN]
        assert is_nan(got[6:], fmt).all()


Encoder = Callable[[np.ndarray, np.ndarray], np.ndarray]


def sigmas(encoder: Encoder, draws: int) -> float:
    """The bias of |decoded| over so many draws, in standard deviations of an unbiased encoder's.

    Each draw counts in steps: up is 1 - f, down is -f, f being the place between the neighbours; its variance is
    f (1 - f). The places are found by search, not by encoding.
    """
    rng = np.random.default_rng(11)
    x = (rng.choice([-1, 1], 1 << 20) * 2.0 ** rng.uniform(-12, 8, 1 << 20)).astype(np.float32)
    finite = values(E4M3)[: E4M3.largest + 1].astype(np.float64)
    low = np.searchsorted(finite, np.abs(x), side="right") - 1
    place = (np.abs(x) - finite[low]) / (finite[low + 1] - finite[low])
    rounds = draws // x.size
    total = 0.0
    for _ in range(rounds):
        codes = encoder(x, rng.integers(0, 1 << 32, x.size, dtype=np.uint32))
        total += float(((codes & 0x7F) - low - place).sum())
    return total / float(np.sqrt(rounds * (place * (1 - place)).sum()))


def test_the_mean_over_2_to_the_24_draws_is_the_value() -> None:
    assert abs(sigmas(encode_stochastic, 1 << 24)) < 3


@pytest.mark.parametrize(
    "encoder",
    [
        lambda x, random: encode(x),  # to nearest
        lambda x, random: encode_stochastic(x, random | 0xFFFF0000),  # always down, nearly
        lambda x, random: encode_stochastic(x, random & 0xFF000000),  # of 32 random bits only 8
    ],
    ids=["nearest", "down", "few-bits"],
)
def test_a_biased_encoder_is_found(encoder: Encoder) -> None:
    assert abs(sigmas(encoder, 1 << 22)) > 3


# What is refused


def test_other_types_are_refused() -> None:
    x = fp32(1, 2)
    with pytest.raises(TypeError, match="x must be float32, got float64"):
        encode(x.astype(np.float64))
    with pytest.raises(TypeError, match="random must be uint32, got int64"):
        encode_stochastic(x, np.zeros(2, np.int64))
    with pytest.raises(ValueError, match=r"one value per x: \(2,\), got \(1,\)"):
        encode_stochastic(x, np.zeros(1, np.uint32))
    with pytest.raises(TypeError, match="codes must be uint8, got int64"):
        decode(np.zeros(2, np.int64))


def test_shapes_are_kept() -> None:
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(2, 3, 4)[:, ::2]
    assert encode(x).shape == decode(encode(x)).shape == (2, 2, 4)
    np.testing.assert_array_equal(encode(x), encode(x.copy()))
    assert encode(np.float32(448)) == 0x7E

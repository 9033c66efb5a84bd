"""The rules that a submission's scales and bytes are judged by, against the same in rational numbers."""

from __future__ import annotations

from fractions import Fraction
from math import floor, log2

import numpy as np
import pytest

from grader.reference_kernels.fp8 import E4M3, SIGN, decode, encode, midpoints
from grader.reference_kernels.quantization import (
    BLOCK_WISE,
    FINE_GRAINED,
    PER_CHANNEL,
    PER_TENSOR,
    Granularity,
    compute_amax,
    compute_scales,
    quantize,
    spread,
)
from grader.reference_kernels.quantization_rules import admissible, right_scales

EACH = pytest.mark.parametrize(
    ("granularity", "shape"),
    [(PER_TENSOR, (7, 304)), (FINE_GRAINED, (7, 304)), (PER_CHANNEL, (2, 304, 48)), (BLOCK_WISE, (2, 304, 144))],
    ids=["per-tensor", "fine-grained", "per-channel", "block-wise"],
)
ALL_CODES = np.arange(256, dtype=np.uint8)


def at_ties(scale: np.float32, count: int) -> np.ndarray:
    """FP32 numbers whose quotient by the scale lies on a midpoint of codes or a few ulp beside it."""
    rng = np.random.default_rng(1)
    x = rng.choice(midpoints(E4M3), count) * scale
    bits = x.view(np.int32) + rng.integers(-4, 5, count).astype(np.int32)
    return (bits.view(np.float32) * rng.choice([-1, 1], count)).astype(np.float32)


def codes_by_definition(x: float, scale: float) -> set[int]:
    """Every code that encodes some real number within 2 ulp of x / scale."""
    quotient = Fraction(x) / Fraction(scale)
    binade = floor(log2(abs(quotient))) if quotient else -126
    slack = 2 * Fraction(2) ** (max(binade, -126) - 23)
    ends = [nearest(quotient - slack), nearest(quotient + slack)]
    return {code for code in range(256) if code & 0x7F != 0x7F and ends[0] <= order(code) <= ends[1]}


def nearest(value: Fraction) -> int:
    """The order of its code: to the nearest, a tie to the even, beyond the largest to the largest."""
    finite = [Fraction(float(v)) for v in decode(ALL_CODES[: E4M3.largest + 1])]
    code = min(range(len(finite)), key=lambda c: (abs(finite[c] - abs(value)), c % 2))
    return order(code | SIGN if value < 0 else code)


def order(code: int) -> int:
    """Codes in the order of their values, -0 before +0."""
    return -1 - (code & 0x7F) if code & SIGN else code


def judge(x: np.ndarray, scale: float) -> np.ndarray:
    """(values, 256): which codes are admissible for each x under this one scale."""
    spread_x = np.repeat(x[:, None], 256, axis=1)
    codes = np.repeat(ALL_CODES[None], len(x), axis=0)
    return admissible(codes, spread_x, np.array([scale], np.float32), PER_TENSOR)


@pytest.mark.parametrize("scale", [1.0, 1 / 448, 0.37, 2.2e-9, 1e30, 3e-39])
def test_bytes_are_judged_as_rational_numbers_say(scale: float) -> None:
    one = np.float32(scale)
    plain = np.random.default_rng(2).uniform(-500, 500, 20).astype(np.float32) * one
    edges = np.array([0.0, -0.0, 1e-45, -1e-45, 448 * one, -449 * one], np.float32)
    x = np.concatenate([at_ties(one, 80), plain, edges])
    for value, right in zip(x.tolist(), judge(x, scale), strict=True):
        assert set(np.flatnonzero(right)) == codes_by_definition(value, float(one)), (value, scale)


@EACH
def test_division_and_reciprocal_are_both_right(granularity: Granularity, shape: tuple[int, ...]) -> None:
    x = at_ties(np.float32(0.37), int(np.prod(shape))).reshape(shape)
    scales = compute_scales(x, granularity)
    own = spread(scales, granularity, shape)
    divided, multiplied = encode(x / own), encode(x * (1 / own))
    assert admissible(divided, x, scales, granularity).all()
    assert admissible(multiplied, x, scales, granularity).all()


def test_where_division_and_reciprocal_differ_both_bytes_are_right() -> None:
    scale = np.array([0.37], np.float32)
    x = at_ties(scale[0], 20000)[None]
    divided, multiplied = encode(x / scale), encode(x * (1 / scale))
    assert (divided != multiplied).any()
    assert admissible(divided, x, scale, PER_TENSOR).all()
    assert admissible(multiplied, x, scale, PER_TENSOR).all()


def test_nothing_looser_is_right() -> None:
    """Three ulp across a midpoint, truncation, a lost sign, a wrong sign, NaN."""
    scale = np.ones(1, np.float32)
    middle = midpoints(E4M3)[20:30]
    below = np.arange(20, 30, dtype=np.uint8)
    three = (middle.view(np.int32) + 3).view(np.float32)
    two = (middle.view(np.int32) + 2).view(np.float32)
    assert not admissible(below[None], three[None], scale, PER_TENSOR).any()
    # At two ulp the bound is the midpoint itself, which is the even code's.
    np.testing.assert_array_equal(admissible(below[None], two[None], scale, PER_TENSOR)[0], below % 2 == 0)
    x = np.array([[1.11, -1.0, -0.01, 1.0, 500]], np.float32)
    wrong = np.array([[0x38, 0x38, 0x00, 0x7F, 0x7F]], np.uint8)
    assert not admissible(wrong, x, scale, PER_TENSOR).any()


@EACH
def test_bytes_are_judged_against_the_submission_s_own_scales(
    granularity: Granularity, shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(3).uniform(-1, 1, shape).astype(np.float32)
    codes, scales = quantize(x, granularity)
    doubled = scales * np.float32(2)
    assert not admissible(codes, x, doubled, granularity).all()
    assert admissible(encode(x / spread(doubled, granularity, shape)), x, doubled, granularity).all()
    assert not right_scales(doubled, x, granularity).any()


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_under_an_impossible_scale_no_byte_is_right(scale: float) -> None:
    assert not judge(np.array([0.0, 1.0, -3.0], np.float32), scale).any()


@EACH
def test_a_scale_may_be_one_ulp_away_and_no_more(granularity: Granularity, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(4).uniform(-1, 1, shape).astype(np.float32)
    scales = compute_scales(x, granularity)
    for ulps in (-2, -1, 0, 1, 2):
        moved = (scales.view(np.int32) + ulps).view(np.float32)
        assert (right_scales(moved, x, granularity) == (abs(ulps) <= 1)).all()


def test_amax_times_the_reciprocal_of_448_is_a_right_scale() -> None:
    x = np.random.default_rng(5).uniform(0, 1e3, (20000, 16)).astype(np.float32)
    multiplied = np.maximum(compute_amax(x, FINE_GRAINED), np.float32(1e-6)) * (1 / np.float32(448))
    assert (multiplied != compute_scales(x, FINE_GRAINED)).any()
    assert right_scales(multiplied, x, FINE_GRAINED).all()


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf, 448.0])
def test_impossible_scales_are_wrong(wrong: float) -> None:
    x = np.ones((1, 16), np.float32)
    assert not right_scales(np.array([wrong], np.float32), x, PER_TENSOR).any()


def test_what_does_not_belong_together_is_refused() -> None:
    x = np.ones((2, 144), np.float32)
    codes, scales = quantize(x, FINE_GRAINED)
    with pytest.raises(ValueError, match=r"codes must be \(2, 144\)"):
        admissible(codes[:, :16], x, scales, FINE_GRAINED)
    with pytest.raises(ValueError, match=r"scales must be \(2, 2\)"):
        right_scales(scales[:1], x, FINE_GRAINED)
    with pytest.raises(TypeError, match="codes must be uint8"):
        admissible(codes.astype(np.int32), x, scales, FINE_GRAINED)


@pytest.mark.gpu
@EACH
def test_cupy_judges_the_same(granularity: Granularity, shape: tuple[int, ...]) -> None:
    import cupy

    x = at_ties(np.float32(0.37), int(np.prod(shape))).reshape(shape)
    scales = (compute_scales(x, granularity).view(np.int32) + 1).view(np.float32)
    codes = encode(x * np.float32(1 / 0.37))
    on_gpu = cupy.asarray(codes), cupy.asarray(x), cupy.asarray(scales)
    expected = admissible(codes, x, scales, granularity)
    np.testing.assert_array_equal(admissible(*on_gpu, granularity).get(), expected)
    np.testing.assert_array_equal(
        right_scales(on_gpu[2], on_gpu[1], granularity).get(), right_scales(scales, x, granularity)
    )

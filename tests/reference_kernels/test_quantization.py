from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from grader.reference_kernels.fp8 import E4M3, E5M2, Format, decode, encode
from grader.reference_kernels.quantization import (
    BLOCK_WISE,
    FINE_GRAINED,
    FINE_GRAINED_64,
    PER_CHANNEL,
    PER_TENSOR,
    Granularity,
    compute_amax,
    compute_scales,
    decode_ue8m0,
    dequantize,
    encode_ue8m0,
    quantize,
    spread,
)
from grader.reference_kernels.quantization_error import block_bound, element_bound, flush_bound

GRANULARITIES = (PER_TENSOR, PER_CHANNEL, FINE_GRAINED, FINE_GRAINED_64, BLOCK_WISE)
EACH = pytest.mark.parametrize("granularity", GRANULARITIES, ids=lambda g: g.name.replace(" ", "-"))
FORMATS = pytest.mark.parametrize("fmt", [E4M3, E5M2], ids=lambda fmt: fmt.name)
FLOOR = np.float32(1e-6)


def shape_for(granularity: Granularity) -> tuple[int, ...]:
    """With ragged last blocks along both axes."""
    return (5, 304) if len(granularity.block) == 2 else (2, 304, 144)


def uniform(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(4).uniform(-1, 1, shape).astype(np.float32)


def outliers(shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(5)
    return (rng.standard_normal(shape) * np.where(rng.random(shape) < 0.01, 1e5, 1)).astype(np.float32)


def every_magnitude(shape: tuple[int, ...]) -> np.ndarray:
    """From FP32's subnormals to 2^126, both signs."""
    rng = np.random.default_rng(6)
    with np.errstate(under="ignore"):
        return (rng.choice([-1, 1], shape) * np.exp2(rng.uniform(-148, 126, shape))).astype(np.float32)


def worst_places(shape: tuple[int, ...]) -> np.ndarray:
    """Where rounding errs most: on the midpoints of codes and beside them, in units of the scale 1; amax is 448."""
    rng = np.random.default_rng(7)
    code = rng.integers(0, E4M3.largest, shape).astype(np.uint8)
    middle = (decode(code) + decode(code + np.uint8(1))) / 2
    x = np.nextafter(middle, rng.choice([0, 1e9], shape).astype(np.float32)) * rng.choice([-1, 1], shape)
    x = np.where(rng.random(shape) < 0.05, 448, x).astype(np.float32)
    x[..., 0, :], x[..., ::64] = 448, 448  # in each block of each granularity
    return x


def nothing(shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, np.float32)


def tiny(shape: tuple[int, ...]) -> np.ndarray:
    """Below the floor of amax."""
    return uniform(shape) * np.float32(1e-8)


INPUTS = pytest.mark.parametrize(
    "make", [uniform, outliers, every_magnitude, worst_places, nothing, tiny], ids=lambda make: make.__name__
)
Make = Callable[[tuple[int, ...]], np.ndarray]


# Shapes and scales


@pytest.mark.parametrize(
    ("granularity", "shape", "scales"),
    [
        (PER_TENSOR, (1, 16), (1,)),
        (PER_CHANNEL, (4, 256, 48), (4, 48)),
        (FINE_GRAINED, (512, 256), (512, 2)),
        (FINE_GRAINED, (3, 144), (3, 2)),
        (FINE_GRAINED_64, (3, 144), (3, 3)),
        (BLOCK_WISE, (4, 256, 512), (4, 2, 4)),
        (BLOCK_WISE, (4, 272, 16), (4, 3, 1)),
    ],
)
def test_scales_have_the_exercise_s_shapes(
    granularity: Granularity, shape: tuple[int, ...], scales: tuple[int, ...]
) -> None:
    codes, got = quantize(uniform(shape), granularity)
    assert (codes.shape, codes.dtype) == (shape, np.uint8)
    assert (got.shape, got.dtype) == (scales, np.float32)


def test_amax_is_taken_over_the_right_elements() -> None:
    A, B = uniform((3, 304)), uniform((2, 304, 144))  # noqa: N806 - matrices are capital letters
    assert compute_amax(A, PER_TENSOR)[0] == np.abs(A).max()
    assert compute_amax(A, FINE_GRAINED)[2, 1] == np.abs(A[2, 128:256]).max()
    assert compute_amax(A, FINE_GRAINED)[0, 2] == np.abs(A[0, 256:]).max()  # ragged: 48
    assert compute_amax(A, FINE_GRAINED_64)[1, 3] == np.abs(A[1, 192:256]).max()
    assert compute_amax(B, PER_CHANNEL)[1, 77] == np.abs(B[1, :, 77]).max()
    assert compute_amax(B, BLOCK_WISE)[1, 1, 0] == np.abs(B[1, 128:256, :128]).max()
    assert compute_amax(B, BLOCK_WISE)[0, 2, 1] == np.abs(B[0, 256:, 128:]).max()


@EACH
@INPUTS
def test_a_value_is_divided_by_its_own_block_s_scale(granularity: Granularity, make: Make) -> None:
    """Against a loop over single elements."""
    x = make(shape_for(granularity))
    codes, scales = quantize(x, granularity)
    rng = np.random.default_rng(9)
    for _ in range(200):
        at = tuple(int(rng.integers(n)) for n in x.shape)
        block = tuple(
            slice(None) if not b else slice(i // b * b, i // b * b + b)
            for i, b in zip(at, granularity.block, strict=True)
        )
        place = tuple(i // b for i, b in zip(at, granularity.block, strict=True) if b) or (0,)
        scale = max(np.abs(x[block]).max(), FLOOR) / np.float32(448)
        assert scales[place] == scale
        assert codes[at] == encode(x[at] / scale)


def test_the_largest_magnitude_becomes_the_largest_code() -> None:
    x = uniform((4, 256))
    codes, _ = quantize(x, FINE_GRAINED)
    blocks = np.abs(x).reshape(4, 2, 128)
    assert (codes.reshape(4, 2, 128)[blocks == blocks.max(axis=2, keepdims=True)] & 0x7F == E4M3.largest).all()


@EACH
def test_an_all_zero_block_has_the_floor_s_scale_and_zero_codes(granularity: Granularity) -> None:
    x = nothing(shape_for(granularity))
    codes, scales = quantize(x, granularity)
    assert (scales == FLOOR / np.float32(448)).all()
    assert not codes.any()
    assert not dequantize(codes, scales, granularity).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    x = uniform((3, 144))
    x[2, 140] = bad
    with pytest.raises(ValueError, match="NaN or Inf"):
        quantize(x, FINE_GRAINED)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"block-wise 128×128 takes 3 axes of at least 1, got shape \(3, 144\)"):
        quantize(uniform((3, 144)), BLOCK_WISE)
    with pytest.raises(ValueError, match="at least 1"):
        quantize(uniform((0, 144)), PER_TENSOR)
    with pytest.raises(TypeError, match="x must be float32, got float64"):
        quantize(uniform((3, 144)).astype(np.float64), PER_TENSOR)
    with pytest.raises(ValueError, match=r"scales must be \(3, 2\)"):
        spread(np.ones((3, 1), np.float32), FINE_GRAINED, (3, 144))


# Powers of two


@EACH
@INPUTS
def test_a_power_of_two_scale_is_the_next_one_up(granularity: Granularity, make: Make) -> None:
    x = make(shape_for(granularity))
    scales = compute_scales(x, granularity)
    powers = compute_scales(x, granularity, power_of_two=True)
    assert (np.frexp(powers)[0] == 0.5).all()
    assert ((powers >= scales) & (powers / 2 < scales)).all()


def test_ue8m0_is_the_exponent_as_ml_dtypes_has_it() -> None:
    scales = np.ldexp(np.float32(1), np.arange(-126, 128, dtype=np.int32))
    codes = encode_ue8m0(scales)
    np.testing.assert_array_equal(codes, scales.astype(ml_dtypes.float8_e8m0fnu).view(np.uint8))
    every = np.arange(256, dtype=np.uint8)
    witness = every.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    np.testing.assert_array_equal(decode_ue8m0(every), witness)
    np.testing.assert_array_equal(decode_ue8m0(codes), scales)


@pytest.mark.parametrize("scale", [1.5, 0.0, -2.0, np.inf, np.nan, 1e-40])
def test_other_scales_have_no_ue8m0_code(scale: float) -> None:
    with pytest.raises(ValueError, match="powers of two"):
        encode_ue8m0(np.array([1, scale], np.float32))


# The way back, and its error


@EACH
@FORMATS
@INPUTS
@pytest.mark.parametrize("power_of_two", [False, True], ids=["fp32-scale", "ue8m0"])
def test_the_error_is_within_its_bounds(
    granularity: Granularity, fmt: Format, make: Make, power_of_two: bool
) -> None:
    x = make(shape_for(granularity))
    codes, scales = quantize(x, granularity, fmt, power_of_two)
    error = np.abs(dequantize(codes, scales, granularity, fmt).astype(np.float64) - x)
    own = spread(scales, granularity, x.shape)
    assert (error <= element_bound(x, own, fmt)).all()
    assert (error <= block_bound(own, fmt)).all()
    lost = np.abs(x) < flush_bound(own, fmt) * (1 - 2**-23)
    assert not (codes[lost] & 0x7F).any()
    kept = np.abs(x) > flush_bound(own, fmt) * (1 + 2**-23)
    assert (codes[kept] & 0x7F).all()


@FORMATS
def test_the_bounds_are_attained(fmt: Format) -> None:
    """Half a step in three places: the smallest step, the first of a binade, the last of all."""
    smallest = float(decode(np.array([1], np.uint8), fmt)[0])
    first_step = 1 + 2.0 ** -(fmt.mantissa_bits + 1)
    below_largest = float(decode(np.array([fmt.largest - 1], np.uint8), fmt)[0])
    x = np.array([[smallest / 2, first_step, (fmt.max + below_largest) / 2, fmt.max]], np.float32)
    codes, scales = quantize(x, PER_TENSOR, fmt)
    error = np.abs(dequantize(codes, scales, PER_TENSOR, fmt).astype(np.float64) - x)[0]
    assert scales[0] == 1
    np.testing.assert_allclose(error[:2], element_bound(x, scales, fmt)[0, :2], rtol=1e-4)
    np.testing.assert_allclose(error[2], block_bound(scales, fmt)[0], rtol=1e-4)
    assert flush_bound(scales, fmt)[0] == error[0]


def test_the_bounds_of_e4m3_in_numbers() -> None:
    one = np.ones(1, np.float32)
    np.testing.assert_allclose(element_bound(np.float32(1) * one, one), 1 / 17, rtol=1e-5)
    np.testing.assert_allclose(element_bound(np.float32(0) * one, one), 1 / 1024)
    np.testing.assert_allclose(block_bound(one), 448 / 28, rtol=1e-5)


def test_finer_scales_lose_less_to_an_outlier() -> None:
    x = uniform((16, 1024))
    x[3, 700] = 1e6
    mean = [
        float(np.abs(dequantize(*quantize(x, g), g).astype(np.float64) - x).mean())
        for g in (PER_TENSOR, FINE_GRAINED, FINE_GRAINED_64)
    ]
    assert mean[0] > 10 * mean[1] > 10 * mean[2]


# Other arrays


def test_torch_tensors_are_quantized_as_they_are() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = uniform((5, 304))
    codes, scales = quantize(torch.from_numpy(x), FINE_GRAINED)
    np.testing.assert_array_equal(codes, quantize(x, FINE_GRAINED)[0])
    back = dequantize(torch.from_numpy(codes), torch.from_numpy(scales), FINE_GRAINED)
    np.testing.assert_array_equal(back, dequantize(codes, scales, FINE_GRAINED))


@pytest.mark.gpu
@EACH
@INPUTS
def test_cupy_gives_the_same_codes_and_scales(granularity: Granularity, make: Make) -> None:
    import cupy

    x = make(shape_for(granularity))
    for power_of_two in (False, True):
        codes, scales = quantize(x, granularity, power_of_two=power_of_two)
        on_gpu = quantize(cupy.asarray(x), granularity, power_of_two=power_of_two)
        np.testing.assert_array_equal(on_gpu[0].get(), codes)
        np.testing.assert_array_equal(on_gpu[1].get(), scales)
        back = dequantize(*on_gpu, granularity)
        np.testing.assert_array_equal(back.get(), dequantize(codes, scales, granularity))
        own = spread(on_gpu[1], granularity, x.shape)
        np.testing.assert_array_equal(
            element_bound(cupy.asarray(x), own).get(), element_bound(x, spread(scales, granularity, x.shape))
        )

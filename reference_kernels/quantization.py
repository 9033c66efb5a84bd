"""Quantization to FP8: scales, codes, and dequantization.

A scale maps the largest magnitude of the elements that share it, their amax, to the format's largest value:

    scale = max(amax, 1e-6) / 448      the floor keeps an all-zero block from dividing by zero
    code  = encode(x / scale)          FP32 division
    x'    = decode(code) · scale       FP32 product

A = A_concat (sum M, K) are activations, B = B_concat (groups, K, N) weights:

    PER_TENSOR     A    one scale                  (1,)
    PER_CHANNEL    B    amax over K                (groups, N)
    FINE_GRAINED   A    1×128 along K              (rows, ceil(K / 128))
    BLOCK_WISE     B    128×128                    (groups, ceil(K / 128), ceil(N / 128))

Last blocks may be ragged. Arrays are NumPy or CuPy; torch tensors work through DLPack. NaN and Inf are rejected.
For judging other people's codes and scales, see quantization_rules.py; for error bounds, quantization_error.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grader.reference_kernels.arrays import Array, as_array, module_of, typed
from grader.reference_kernels.fp8 import E4M3, Format, decode, encode

WHOLE = 0  # a block's extent: the whole axis
AMAX_FLOOR = np.float32(1e-6)


@dataclass(frozen=True)
class Granularity:
    """Which elements share a scale: a block's extent along each axis. A WHOLE axis has no axis in the scales."""

    name: str
    block: tuple[int, ...]

    def grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Blocks along each axis; the last may be ragged. Raises ValueError for another number of axes, or none."""
        if len(shape) != len(self.block) or 0 in shape:
            raise ValueError(f"{self.name} takes {len(self.block)} axes of at least 1, got shape {tuple(shape)}")
        return tuple(-(-n // (b or n)) for n, b in zip(shape, self.block, strict=True))

    def scale_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The scales of an array of this shape."""
        blocks = zip(self.grid(shape), self.block, strict=True)
        return tuple(n for n, b in blocks if b != WHOLE) or (1,)


PER_TENSOR = Granularity("per tensor", (WHOLE, WHOLE))
PER_CHANNEL = Granularity("per channel", (1, WHOLE, 1))
FINE_GRAINED = Granularity("fine-grained 1×128", (1, 128))
FINE_GRAINED_64 = Granularity("fine-grained 1×64", (1, 64))
BLOCK_WISE = Granularity("block-wise 128×128", (1, 128, 128))


def quantize(
    x: Any,
    granularity: Granularity,
    fmt: Format = E4M3,
    power_of_two: bool = False,
) -> tuple[Array, Array]:
    """(codes, scales) of FP32 x: uint8 of x's shape, FP32 of `granularity.scale_shape`."""
    x = as_array(x)
    scales = compute_scales(x, granularity, fmt, power_of_two)
    return encode(x / spread(scales, granularity, x.shape), fmt), scales


def dequantize(codes: Any, scales: Any, granularity: Granularity, fmt: Format = E4M3) -> Array:
    """decode(codes) · scale in FP32."""
    codes = as_array(codes)
    return decode(codes, fmt) * spread(scales, granularity, codes.shape)


def compute_scales(
    x: Any,
    granularity: Granularity,
    fmt: Format = E4M3,
    power_of_two: bool = False,
) -> Array:
    """max(amax, 1e-6) / 448 in FP32; as powers of two rounded up, so that amax still fits.

    Raises ValueError for NaN and Inf, TypeError for anything but FP32.
    """
    amax = compute_amax(x, granularity)
    xp = module_of(amax)
    if not bool(xp.isfinite(amax).all()):
        raise ValueError("x contains NaN or Inf, for which there is no scale")
    scales = xp.maximum(amax, AMAX_FLOOR) / np.float32(fmt.max)
    return round_up_to_power_of_two(scales) if power_of_two else scales


def compute_amax(x: Any, granularity: Granularity) -> Array:
    """The largest |x| of each block, FP32 of `granularity.scale_shape`; NaN if a block contains one."""
    x = typed(x, np.float32, "x")
    grid = granularity.grid(x.shape)
    extents = [b or n for n, b in zip(x.shape, granularity.block, strict=True)]
    missing = [(0, g * e - n) for g, e, n in zip(grid, extents, x.shape, strict=True)]
    xp = module_of(x)
    blocks = xp.pad(xp.abs(x), missing).reshape([n for pair in zip(grid, extents, strict=True) for n in pair])
    return blocks.max(axis=tuple(range(1, blocks.ndim, 2))).reshape(granularity.scale_shape(x.shape))


def spread(scales: Any, granularity: Granularity, shape: Sequence[int]) -> Array:
    """Each element's own scale: broadcasts against an array of this shape. Raises ValueError for a wrong shape."""
    scales = typed(scales, np.float32, "scales")
    if scales.shape != granularity.scale_shape(shape):
        raise ValueError(f"scales must be {granularity.scale_shape(shape)} for {tuple(shape)}, got {scales.shape}")
    scales = scales.reshape(granularity.grid(shape))
    for axis, block in enumerate(granularity.block):
        if block > 1:
            scales = scales.repeat(block, axis=axis)
    return scales[tuple(slice(n) for n in shape)]


def round_up_to_power_of_two(scales: Array) -> Array:
    """The smallest power of two that is not less: the exponent is increased by one if the mantissa is not 0.

    For positive normal FP32, which every scale is: 1e-6 / 57344 is above 2⁻¹²⁶, the largest FP32 / 448 below 2¹²⁷.
    """
    return ((scales.view(np.uint32) + 0x7FFFFF) & 0x7F800000).view(np.float32)


def encode_ue8m0(scales: Any) -> Array:
    """Powers of two as bytes: eeeeeeee, 2^(e - 127), which is FP32's exponent field. Raises ValueError for others."""
    bits = typed(scales, np.float32, "scales").view(np.uint32)
    exponent = bits >> 23  # with the sign above it
    if bool(((bits & 0x7FFFFF) != 0).any()) or bool(((exponent == 0) | (exponent > 254)).any()):
        raise ValueError("UE8M0 takes powers of two from 2^-126 to 2^127: quantize with power_of_two=True")
    return exponent.astype(np.uint8)


def decode_ue8m0(codes: Any) -> Array:
    """2^(e - 127) as FP32; 255 is NaN, and 0 is FP32's subnormal 2^-127."""
    exponent = typed(codes, np.uint8, "codes").astype(np.uint32)
    xp = module_of(exponent)
    bits = xp.where(exponent == 0, np.uint32(0x00400000), exponent << 23)
    return xp.where(exponent == 255, np.uint32(0x7FC00000), bits).view(np.float32)

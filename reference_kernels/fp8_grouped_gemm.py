"""Grouped GEMM of E4M3 matrices with block scales, in FP64; and BF16, in which its results are stored.

    A_concat (sum M, K)   codes; A_scales (sum M, ceil(K/128)): 1x128
    B_concat (G, N, K)    codes; B_scales (G, ceil(N/128), ceil(K/128)): 128x128
    C_concat (sum M, N)   C[g] = A[g] @ B[g]^T, both dequantized; as BF16

Last blocks may be ragged.
"""

# ruff: noqa: N802, N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grader.reference_kernels.fp8 import decode
from grader.reference_kernels.grouped_gemm import group_offsets, grouped_gemm
from grader.reference_kernels.quantization import BLOCK_WISE, FINE_GRAINED, quantize, spread

BLOCK = 128  # elements along K, and columns of B, that share a scale


@dataclass(frozen=True)
class Operands:
    """The inputs of one grouped GEMM, as above."""

    A: NDArray[np.uint8]
    A_scales: NDArray[np.float32]
    B: NDArray[np.uint8]
    B_scales: NDArray[np.float32]
    M_sizes: NDArray[np.int32]

    @property
    def K(self) -> int:
        return int(self.A.shape[1])

    @property
    def N(self) -> int:
        return int(self.B.shape[1])

    @cached_property
    def A_values(self) -> NDArray[np.float32]:
        """Decoded, without scales."""
        return np.asarray(decode(self.A))

    @cached_property
    def B_values(self) -> NDArray[np.float32]:
        return np.asarray(decode(self.B))

    def groups(self) -> Iterator[tuple[int, slice]]:
        """(number, rows) of each group that has rows."""
        for group, (first, end) in enumerate(pairwise(group_offsets(self.M_sizes).tolist())):
            if end > first:
                yield group, slice(first, end)


def quantized(A: NDArray[np.float32], B: NDArray[np.float32], M_sizes: ArrayLike) -> Operands:
    """Quantizes FP32 A (sum M, K) and B (G, N, K)."""
    return Operands(*quantize(A, FINE_GRAINED), *quantize(B, BLOCK_WISE), np.asarray(M_sizes, np.int32))


def fp8_grouped_gemm(operands: Operands) -> NDArray[np.float64]:
    """C_concat (sum M, N) in FP64, not rounded to BF16. A value times its scale has 28 bits: it is exact."""
    A = operands.A_values.astype(np.float64) * spread(operands.A_scales, FINE_GRAINED, operands.A.shape)
    B = operands.B_values.astype(np.float64) * spread(operands.B_scales, BLOCK_WISE, operands.B.shape)
    return grouped_gemm(A, B.swapaxes(1, 2), operands.M_sizes)


def to_bf16(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    """BF16's bits, rounded to nearest even, from FP64 without an FP32 in between; overflow gives infinity.

    FP64 rounds to BF16's 8 bits: adding and taking away 1.5 * 2^(e + 45) leaves multiples of 2^(e - 7).
    """
    exact = np.asarray(values, np.float64)
    _, exponent = np.frexp(exact)  # 2^(exponent - 1) <= |exact|
    magic = np.ldexp(1.5, np.maximum(exponent, -125) + 44)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = ((exact + magic) - magic).astype(np.float32)
    bits: NDArray[np.uint32] = rounded.view(np.uint32)
    return np.where(np.isnan(exact), np.uint16(0x7FFF), (bits >> 16).astype(np.uint16))


def from_bf16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The values of BF16's bits, in FP32, which holds them all."""
    return (np.ascontiguousarray(bits).astype(np.uint32) << 16).view(np.float32)

"""One FP8 grouped GEMM, as its mistakes see it, and the sections of problem.md that explain them."""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.fp8_grouped_gemm import BLOCK, Operands
from grader.reference_kernels.grouped_gemm import group_offsets
from grader.reference_kernels.mistakes.grouped_gemm import Problem as Dequantized
from grader.reference_kernels.mistakes.grouped_gemm.problem import OFFSETS, SUM, Indices, take
from grader.reference_kernels.quantization import BLOCK_WISE, FINE_GRAINED, dequantize

__all__ = ["OFFSETS", "SUM", "Indices", "Problem", "take"]

# Sections of the exercise's problem.md.
SCALES, LAYOUT, FRAGMENTS, PRECISION, RAGGED, BF16, CODES = (
    "scales",
    "rows-and-columns",
    "fragments",
    "reduced-precision",
    "ragged-blocks",
    "bf16",
    "e4m3-codes",
)

Matrix = NDArray[np.float32]


class Problem:
    """The operands, the right result in FP64, and where each row of C belongs."""

    def __init__(self, operands: Operands, C: NDArray[np.float64]) -> None:
        self.operands, self.C = operands, C
        self.sizes = np.asarray(operands.M_sizes, np.intp)
        self.offsets = group_offsets(operands.M_sizes).astype(np.intp)
        self.group = np.repeat(np.arange(len(self.sizes)), self.sizes)  # of each row of C
        self.local = np.arange(len(operands.A)) - self.offsets[self.group]  # and its number within the group
        self.K, self.N = operands.K, operands.N
        self.k_blocks, self.n_blocks = -(-self.K // BLOCK), -(-self.N // BLOCK)

    @cached_property
    def dequantized(self) -> Dequantized:
        """As FP32 matrices, for the mistakes of any grouped GEMM."""
        o = self.operands
        B = dequantize(o.B, o.B_scales, BLOCK_WISE).swapaxes(1, 2)
        return Dequantized(dequantize(o.A, o.A_scales, FINE_GRAINED), B, o.M_sizes, self.C)

    @cached_property
    def column_scales(self) -> Matrix:
        """B's scales for each column: (G, N, blocks along K)."""
        return self.operands.B_scales.repeat(BLOCK, axis=1)[:, : self.N]

    def product(
        self,
        rows: Indices,
        *,
        A: Matrix | None = None,
        B: Matrix | None = None,
        a_scales: Matrix | None = None,
        b_scales: Matrix | None = None,
    ) -> np.ndarray:
        """These rows of C, FP32 (R, N), from other values or scales where given.

        A (sum M, K) and B (G, N, K) are decoded codes; a_scales (sum M, blocks), b_scales (G, N, blocks).
        """
        A = self.operands.A_values if A is None else A
        B = self.operands.B_values if B is None else B
        a_scales = self.operands.A_scales if a_scales is None else a_scales
        b_scales = self.column_scales if b_scales is None else b_scales
        result = np.zeros((len(rows), self.N), np.float32)
        for group in np.unique(self.group[rows]):
            mine = self.group[rows] == group
            for block in range(self.k_blocks):
                k = slice(block * BLOCK, (block + 1) * BLOCK)
                part = A[rows[mine], k] @ B[group, :, k].T
                result[mine] += part * a_scales[rows[mine], block, None] * b_scales[group, None, :, block]
        return result

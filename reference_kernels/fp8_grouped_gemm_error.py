"""How far an FP8 grouped GEMM on tensor cores may be from the exact product: a bound for each element, derived here.

A result is right if it is the BF16 rounding of some number within the bound of the exact one.

**What tensor cores lose.** One step of an FP8 tensor core sums 32 products and the accumulator. It aligns all 33 to
the largest exponent among them and truncates each toward zero to F fraction bits; the sum keeps F bits too. On Ada
(mma.sync) and Hopper (wgmma) F is 13 for FP8; for FP16, as mma.sync of E4M3 is executed on Hopper, it is 25. (arXiv
2511.10909 and 2512.07004; wgmma measured on an H200.) So with

    T = the largest of |accumulator before|, |accumulator after|, |product|      u = 2^floor(log2 T) * 2^-13

each truncation loses less than u. Which of them lose anything? A product of two E4M3 numbers has 8 bits, so it
keeps them all unless it is below 2^-6 T. Of products of uniform numbers, 1 in 7 is that small while T is below 2
(in units of the largest product), and 1 in 4 while T is below 4: 8 of 32. With the accumulator and the sum that
makes n = 10.

All of them could lose in the same direction, but a bound that allows for this would be useless: BF16 sums would
pass it. A loss has the sign of what it is taken from, and these signs are random, because inputs are uniform in
[-1, 1]. A loss that is uniform in [0, u) with a random sign has variance u^2 / 3, and variances add up:

    variance = sum over all steps of (scale of A * scale of B)^2 * n * u^2 / 3

The bound is DEVIATIONS = 8 standard deviations. A simulation with F = 13 stays below 0.4 of it, FP32 sums below
0.01.

**Where the steps are.** The bound takes the worst that a right kernel does: steps of 32 in the order of k, and an
accumulator that starts at 0 with every block of 128, because from there on the scales are others. Promoting more
often, or in another order, changes the partial sums a little.

**Largest product.** T takes the fourth root of the sum of the 32 products' fourth powers in place of their maximum:
never less than it, for uniform values a fifth more, and a matrix product gives it.

**FP32 roundings** of the scales' product (1), of a block's sum times it (1) and of the total (one for each block),
each 2^-24 of something that is at most the sum of the blocks' magnitudes: (blocks + 2) * 2^-24 * sum |scaled
block|.
"""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.fp8_grouped_gemm import BLOCK, Operands, to_bf16
from grader.reference_kernels.grouped_gemm import group_offsets

FRACTION_BITS = 13  # F of Ada's and Hopper's FP8 tensor cores
STEP = 32  # products of one step
TRUNCATIONS = 10  # in a step that lose anything: 8 products, the accumulator, the sum
DEVIATIONS = 8.0
FEW = 50_000  # elements up to which the bound is computed for each by itself

Bound = NDArray[np.float64]
_Matrix = NDArray[np.float32]
_Matrices = tuple[_Matrix, _Matrix, _Matrix, _Matrix]
_Sums = Callable[[slice], tuple[_Matrix, _Matrix]]  # for the k of a step: of products, and of their fourth powers
_Scales = Callable[[int], Bound]  # for a block along K: scale of A * scale of B


def right_elements(bits: NDArray[np.uint16], exact: NDArray[np.float64], operands: Operands) -> NDArray[np.bool_]:
    """Which BF16 results are right; bool (sum M, N).

    Nearly all of a right kernel are the exact value's own rounding, for which no bound is needed.
    """
    right: NDArray[np.bool_] = _order(bits) == _order(to_bf16(exact))
    rows, columns = np.nonzero(~right)
    if len(rows) == 0:
        return right
    if len(rows) <= FEW:
        right[rows, columns] = within(bits[rows, columns], exact[rows, columns], bound_of(operands, rows, columns))
        return right
    return within(bits, exact, bound(operands))


def within(bits: NDArray[np.uint16], exact: NDArray[np.float64], allowed: Bound) -> NDArray[np.bool_]:
    """Whether the BF16 rounding of some number within `allowed` of `exact` has these bits.

    Rounding is monotonic: all BF16 numbers between the roundings of both ends are roundings of something between.
    """
    lowest, highest = _order(to_bf16(exact - allowed)), _order(to_bf16(exact + allowed))
    got = _order(bits)
    finite = (bits & 0x7F80) != 0x7F80
    inside: NDArray[np.bool_] = (lowest <= got) & (got <= highest) & finite
    return inside


def _order(bits: NDArray[np.uint16]) -> NDArray[np.int32]:
    """Integers in the order of the BF16 numbers; both zeros are 0."""
    magnitude = (bits & 0x7FFF).astype(np.int32)
    return np.where(bits & 0x8000, -magnitude, magnitude)


def bound(operands: Operands) -> Bound:
    """For every element of C_concat; FP64 (sum M, N)."""
    allowed = np.empty((len(operands.A), operands.N))
    for group, rows in operands.groups():
        A, B = operands.A_values[rows], operands.B_values[group]
        of_columns = operands.B_scales[group].repeat(BLOCK, axis=0)[: operands.N].astype(np.float64)

        def sums(k: slice, matrices: _Matrices = (A, B, A**4, B**4)) -> tuple[_Matrix, _Matrix]:
            A, B, A4, B4 = matrices
            return A[:, k] @ B[:, k].T, A4[:, k] @ B4[:, k].T

        def scales(block: int, of_rows: _Matrix = operands.A_scales[rows], of_columns: Bound = of_columns) -> Bound:
            both: Bound = np.outer(of_rows[:, block], of_columns[:, block])
            return both

        allowed[rows] = _bound(operands.K, sums, scales)
    return allowed


def bound_of(operands: Operands, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Bound:
    """For these elements; FP64 (n)."""
    ends = group_offsets(operands.M_sizes)[1:]
    group = np.searchsorted(ends, rows, side="right")
    A, B = operands.A_values, operands.B_values

    def sums(k: slice) -> tuple[_Matrix, _Matrix]:
        products = A[rows, k] * B[group, columns, k]
        return products.sum(axis=-1), (products**4).sum(axis=-1)

    def scales(block: int) -> Bound:
        of_rows: Bound = operands.A_scales[rows, block].astype(np.float64)
        both: Bound = of_rows * operands.B_scales[group, columns // BLOCK, block]
        return both

    return _bound(operands.K, sums, scales)


def _bound(K: int, sums: _Sums, scales: _Scales) -> Bound:
    """The derivation above, step by step."""
    blocks = -(-K // BLOCK)
    variance: Bound = np.zeros(())
    magnitude: Bound = np.zeros(())
    for block in range(blocks):
        total = np.zeros((), np.float32)
        lost: Bound = np.zeros(())  # u^2 of each step
        for k in range(block * BLOCK, min(K, (block + 1) * BLOCK), STEP):
            step, fourth_powers = sums(slice(k, min(K, k + STEP)))
            before, total = np.abs(total), total + step
            largest = np.maximum(np.maximum(before, np.abs(total)), np.sqrt(np.sqrt(fourth_powers)))
            _, exponent = np.frexp(largest)  # 2^(exponent - 1) <= largest
            lost = lost + np.where(largest > 0, np.ldexp(1.0, 2 * (exponent - 1 - FRACTION_BITS)), 0.0)
        scale = scales(block)
        variance = variance + scale**2 * lost
        magnitude = magnitude + scale * np.abs(total)
    return DEVIATIONS * np.sqrt(TRUNCATIONS / 3 * variance) + (blocks + 2) * 2.0**-24 * magnitude

"""Grouped GEMM in FP64: the oracle used to judge the exercises.

A Mixture-of-Experts layer sends each token to an expert. The tokens of one expert are one *group*: a matrix
A[g] of M[g] rows that is multiplied by that expert's own weights B[g]. The number of rows differs from group
to group; K and N are the same for all. Row-major throughout:

    A_concat (sum M, K)   the groups' rows, stacked
    B_concat (G, K, N)    one matrix per group
    C_concat (sum M, N)   C[g] = A[g] @ B[g], laid out as A_concat is
"""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray


def group_offsets(M_sizes: ArrayLike) -> NDArray[np.int32]:
    """The first row of each group, and the end of the last: (G,) counts to (G + 1,), [0, M0, M0 + M1, ...]."""
    sizes = np.asarray(M_sizes, dtype=np.int64)
    if sizes.ndim != 1 or (sizes < 0).any():
        raise ValueError(f"M_sizes must be one row of counts of at least 0, got {sizes.tolist()}")
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"M_sizes add up to {offsets[-1]} rows, more than an int32 offset can hold")
    return offsets.astype(np.int32)


def grouped_gemm(
    A_concat: NDArray[np.floating], B_concat: NDArray[np.floating], M_sizes: ArrayLike
) -> NDArray[np.float64]:
    """C_concat (sum M, N) in FP64. Inputs of any float type are converted first, which is exact.

    Raises ValueError if the shapes do not match.
    """
    offsets = group_offsets(M_sizes)
    _check_shapes(A_concat.shape, B_concat.shape, offsets)
    A = np.asarray(A_concat, dtype=np.float64)
    C = np.empty((A.shape[0], B_concat.shape[2]), dtype=np.float64)
    for group, (first, end) in enumerate(pairwise(offsets)):
        np.matmul(A[first:end], B_concat[group].astype(np.float64), out=C[first:end])
    return C


def _check_shapes(A: tuple[int, ...], B: tuple[int, ...], offsets: NDArray[np.int32]) -> None:
    groups, rows = len(offsets) - 1, int(offsets[-1])
    if len(A) != 2 or A[0] != rows:
        raise ValueError(f"A_concat must be ({rows}, K) for these M_sizes, got {A}")
    if len(B) != 3 or B[0] != groups or B[1] != A[1]:
        raise ValueError(f"B_concat must be ({groups}, {A[1]}, N), got {B}")

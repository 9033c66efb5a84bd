"""Rows and columns confused: A, B or C read or stored transposed, whole or tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from grader.reference_kernels.mistakes.grouped_gemm.problem import LAYOUT, Indices, Problem, take
from grader.reference_kernels.mistakes.mistake import ANYTHING, Mistake


def strided_a(p: Problem, first: Indices, rows: Indices) -> np.ndarray:
    """Row i of A as the K elements from first[i] on."""
    at = first[rows][:, None] + np.arange(p.K)
    return p.product(take(p.A.reshape(-1), at.reshape(-1)).reshape(at.shape), p.group[rows])


def _strided_b(p: Problem, rows: Indices) -> np.ndarray:
    """B with rows of K elements."""
    elements = p.B.reshape(-1)

    def of(group: int) -> np.ndarray:
        at = group * p.K * p.N + p.K * np.arange(p.K)[:, None] + np.arange(p.N)
        return take(elements, at.reshape(-1)).reshape(at.shape)

    return p.product(p.A[rows], p.group[rows], of)


def confused(p: Problem) -> Iterator[Mistake[Indices]]:
    elements, start = p.A.reshape(-1), p.offsets[p.group] * p.K

    def transposed_a(rows: Indices) -> np.ndarray:
        at = start[rows][:, None] + np.arange(p.K) * p.sizes[p.group[rows]][:, None] + p.local[rows][:, None]
        return p.product(elements[at], p.group[rows])

    def transposed_b(rows: Indices) -> np.ndarray:
        return p.product(p.A[rows], p.group[rows], lambda g: p.B[g].reshape(p.N, p.K).T)

    yield Mistake("a-transposed", "A is read as if it were stored (K, M)", LAYOUT, transposed_a)
    yield Mistake("b-transposed", "B is read as if it were stored (N, K)", LAYOUT, transposed_b)
    yield Mistake("c-transposed", "C is stored as if it were (N, M)", LAYOUT, partial(_transposed_c, p))
    if p.K != p.N:
        yield Mistake("a-stride", "the rows of A are read as if they had N elements; they have K", LAYOUT,
                      partial(strided_a, p, start + p.local * p.N))  # fmt: skip
        yield Mistake("b-stride", "the rows of B are read as if they had K elements; they have N", LAYOUT,
                      partial(_strided_b, p))  # fmt: skip
    for tile in (8, 16, 32):
        for which, rows in (("A", _tiles_of_a), ("B", _tiles_of_b), ("C", _tiles_of_c)):
            sentence = f"each {tile}x{tile} tile of {which} is stored transposed: its two indices are swapped once"
            yield Mistake(f"{which.lower()}-tile-transposed-{tile}", sentence, LAYOUT, partial(rows, p, tile))


def _transposed_c(p: Problem, rows: Indices) -> np.ndarray:
    """C[g] laid out as (N, M) over the same elements."""
    at = p.local[rows][:, None] * p.N + np.arange(p.N)
    sizes = p.sizes[p.group[rows]][:, None]
    return np.asarray(p.C[p.offsets[p.group[rows]][:, None] + at % sizes, at // sizes])


def _tiles_of_a(p: Problem, tile: int, rows: Indices) -> np.ndarray:
    """Element (i, k) of a tile comes from (k, i); rows below the group's last are 0."""
    k, i = np.arange(p.K), p.local[rows][:, None]
    from_row = i // tile * tile + k % tile
    from_k = k // tile * tile + i % tile
    inside = (from_row < p.sizes[p.group[rows]][:, None]) & (from_k < p.K)
    values = p.A[np.where(inside, p.offsets[p.group[rows]][:, None] + from_row, 0), np.where(inside, from_k, 0)]
    return p.product(np.where(inside, values, np.float32(0)), p.group[rows])


def _tiles_of_b(p: Problem, tile: int, rows: Indices) -> np.ndarray:
    k, n = np.arange(p.K)[:, None], np.arange(p.N)
    from_k, from_n = k // tile * tile + n % tile, n // tile * tile + k % tile
    inside = (from_k < p.K) & (from_n < p.N)
    at = (np.where(inside, from_k, 0), np.where(inside, from_n, 0))
    return p.product(p.A[rows], p.group[rows], lambda g: np.where(inside, p.B[g][at], np.float32(0)))


def _tiles_of_c(p: Problem, tile: int, rows: Indices) -> np.ndarray:
    """Where a tile is not full, what is stored depends on where the bounds are checked: ANYTHING."""
    n, i = np.arange(p.N), p.local[rows][:, None]
    from_row, from_n = i // tile * tile + n % tile, n // tile * tile + i % tile
    full = ((i // tile + 1) * tile <= p.sizes[p.group[rows]][:, None]) & ((n // tile + 1) * tile <= p.N)
    values = p.C[np.where(full, p.offsets[p.group[rows]][:, None] + from_row, 0), np.where(full, from_n, 0)]
    return np.where(full, values, ANYTHING)

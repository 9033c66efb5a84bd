"""Codes decoded wrongly, or read in the wrong order."""

# ruff: noqa: N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.fp8 import E4M3, E5M2, values
from grader.reference_kernels.mistakes.fp8_grouped_gemm.problem import (
    CODES,
    FRAGMENTS,
    LAYOUT,
    OFFSETS,
    Indices,
    Matrix,
    Problem,
    take,
)
from grader.reference_kernels.mistakes.mistake import Mistake

Table = NDArray[np.float32]


def wrong_codes(p: Problem) -> Iterator[Mistake[Indices]]:
    for name, (sentence, table) in _tables().items():
        yield _decoded(p, name, f"the codes are {sentence}", table, "ab")
        yield _decoded(p, f"{name}-a", f"the codes of A are {sentence}", table, "a")
        yield _decoded(p, f"{name}-b", f"the codes of B are {sentence}", table, "b")


def _tables() -> dict[str, tuple[str, Table]]:
    right = np.asarray(values(E4M3), np.float32)
    codes = np.arange(256)
    normal = codes >> 3 & 15
    sign = np.where(codes & 0x80, -1.0, 1.0)
    return {
        "e5m2": ("decoded as E5M2", np.nan_to_num(np.asarray(values(E5M2), np.float32), posinf=0, neginf=0)),
        "int8": ("read as signed integers", codes.astype(np.uint8).view(np.int8).astype(np.float32)),
        "uint8": ("read as integers from 0 to 255", codes.astype(np.float32)),
        "unsigned": ("decoded without their sign", np.abs(right)),
        "bias-8": ("decoded with a bias of 8; E4M3 has 7", right / 2),
        "bias-6": ("decoded with a bias of 6; E4M3 has 7", right * 2),
        "no-mantissa": (
            "decoded without their mantissa",
            (sign * np.where(normal, 2.0 ** (normal - 7), 0)).astype("f4"),
        ),
    }


def _decoded(p: Problem, name: str, sentence: str, table: Table, which: str) -> Mistake[Indices]:
    def rows(chosen: Indices) -> np.ndarray:
        A = table[p.operands.A] if "a" in which else None
        B = table[p.operands.B] if "b" in which else None
        return p.product(chosen, A=A, B=B)

    return Mistake(name, sentence, CODES, rows)


def wrong_places(p: Problem) -> Iterator[Mistake[Indices]]:
    """Rows and columns confused, or a fragment's registers."""
    yield Mistake(
        "b-transposed",
        "B is read as if it were stored (K, N)",
        LAYOUT,
        lambda rows: p.product(rows, B=p.operands.B_values.reshape(len(p.sizes), p.K, p.N).swapaxes(1, 2)),
    )
    yield Mistake(
        "a-transposed", "A is read as if it were stored (K, M)", LAYOUT, lambda rows: p.product(rows, A=_a(p))
    )
    swapped_k, full = np.arange(p.K) ^ 16, p.K % 32 == 0
    if full:
        yield Mistake(
            "b-halves-swapped",
            "the two registers of B's fragment are swapped",
            FRAGMENTS,
            lambda rows: p.product(rows, B=p.operands.B_values[..., swapped_k]),
        )
        yield Mistake(
            "a-registers-swapped",
            "registers 1 and 2 of A's fragment are swapped: 1 is eight rows down, 2 is 16 further along K",
            FRAGMENTS,
            lambda rows: p.product(rows, A=_a_fragments(p)),
        )
    yield Mistake(
        "c-registers-swapped",
        "accumulators 1 and 2 are swapped: 1 is the next column, 2 is eight rows down",
        FRAGMENTS,
        lambda rows: _c_fragments(p, rows),
    )
    yield Mistake(
        "a-codes-without-offset",
        "every group reads its codes of A from row 0: group_offsets is not added",
        OFFSETS,
        lambda rows: p.product(rows, A=take(p.operands.A_values, p.local)),
    )
    yield Mistake("c-transposed", "C is stored as if it were (N, M)", LAYOUT, lambda rows: _c_transposed(p, rows))


def _a(p: Problem) -> Matrix:
    """Each group's A read column by column."""
    A = p.operands.A_values.copy()
    for _, rows in p.operands.groups():
        A[rows] = A[rows].reshape(p.K, -1).T
    return A


def _a_fragments(p: Problem) -> Matrix:
    """Rows 0 to 7 with k 16 to 31 of each 32 change places with rows 8 to 15 with k 0 to 15."""
    A, k = p.operands.A_values, np.arange(p.K)
    high_k, high_row = k // 16 % 2, (p.local // 8 % 2)[:, None]
    inside = (high_k != high_row) & (p.local[:, None] + 8 * (high_k - high_row) < p.sizes[p.group][:, None])
    moved = take(
        A.reshape(-1),
        ((np.arange(len(A))[:, None] + 8 * (high_k - high_row)) * p.K + k + 16 * (high_row - high_k)).reshape(-1),
    ).reshape(A.shape)
    return np.where(inside, moved, np.where(high_k != high_row, 0, A)).astype(np.float32)


def _c_fragments(p: Problem, rows: Indices) -> np.ndarray:
    """In each 16x8 piece, the odd columns of the upper half and the even ones of the lower change places."""
    down, right = (p.local[rows] // 8 % 2)[:, None], np.arange(p.N) % 2
    row = p.local[rows][:, None] + 8 * (right - down)
    inside = row < p.sizes[p.group[rows]][:, None]  # rows that a group does not have are 0
    first = p.offsets[p.group[rows]][:, None]
    return np.where(inside, p.C[np.where(inside, first + row, 0), np.arange(p.N) + down - right], 0.0)


def _c_transposed(p: Problem, rows: Indices) -> np.ndarray:
    at = p.local[rows][:, None] * p.N + np.arange(p.N)
    sizes = p.sizes[p.group[rows]][:, None]
    return np.asarray(p.C[p.offsets[p.group[rows]][:, None] + at % sizes, at // sizes])

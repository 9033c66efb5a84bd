"""One grouped GEMM, as its mistakes see it, and the sections of problem.md that explain them."""

# ruff: noqa: N803 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.grouped_gemm import group_offsets
from grader.reference_kernels.mistakes.mistake import ANYTHING

Matrix = NDArray[np.float32]
Indices = NDArray[np.intp]
Rows = Callable[[Indices], np.ndarray]  # numbers of rows of C -> these rows

TILES = (8, 16, 32, 64, 128)  # as kernels are written with them
STEPS = (8, 16, 32, 64)  # along K

# Sections of an exercise's problem.md.
LAYOUT, OFFSETS, SUM, ZERO_FILL = "rows-and-columns", "group-offsets", "the-sum-over-k", "zero-fill"
WRITTEN, PRECISION, SIZES = "elements-never-written", "reduced-precision", "sizes-written-into-the-kernel"


class Problem:
    """One grouped GEMM with its right result, and where each row of C belongs."""

    def __init__(self, A: Matrix, B: Matrix, M_sizes: NDArray[np.integer], C: np.ndarray) -> None:
        self.A, self.B, self.C = A, B, C
        self.sizes = np.asarray(M_sizes, np.intp)
        self.offsets = group_offsets(M_sizes).astype(np.intp)
        self.groups, self.K, self.N = B.shape
        self.group = np.repeat(np.arange(self.groups), self.sizes)  # of each row of C
        self.local = np.arange(len(A)) - self.offsets[self.group]  # and its number within the group

    def product(
        self, A_rows: np.ndarray, groups: Indices, B: Callable[[int], np.ndarray] | None = None
    ) -> np.ndarray:
        """(R, N): row i of A_rows times the B of groups[i]. A group that does not exist gives ANYTHING."""
        result = np.full((len(A_rows), self.N), ANYTHING, np.float32)
        for group in np.unique(groups):
            if 0 <= group < self.groups:
                mine = groups == group
                right = self.B[group] if B is None else B(int(group))
                result[mine] = A_rows[mine] @ right
        return result

    def rows_of_a(self, numbers: Indices) -> np.ndarray:
        """Those rows; ANYTHING where there is none."""
        return take(self.A, numbers)


def take(array: np.ndarray, indices: Indices) -> np.ndarray:
    """array[indices] along the first axis, ANYTHING where an index lies outside."""
    inside = (indices >= 0) & (indices < len(array))
    result = array[np.where(inside, indices, 0)]
    result[~inside] = ANYTHING
    return result


def alike(tiles: Iterable[int], effect: Callable[[int], object]) -> list[tuple[int, str]]:
    """The smallest tile of each effect, and all tiles that have it in words: (32, "32 or 64")."""
    by_effect: dict[object, list[int]] = {}
    for tile in tiles:
        by_effect.setdefault(effect(tile), []).append(tile)
    return [(same[0], " or ".join(map(str, same))) for same in by_effect.values()]

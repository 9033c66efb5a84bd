"""Tiles that are computed from another tile's inputs, or that hold another tile's sums too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np

from grader.reference_kernels.mistakes.grouped_gemm.problem import SUM, TILES, Indices, Problem
from grader.reference_kernels.mistakes.mistake import Mistake


def same_tile(p: Problem) -> Iterator[Mistake[Indices]]:
    """Every tile is computed from the inputs of the first."""
    columns = np.arange(p.N)
    for tile in TILES:
        if tile < p.sizes.max():
            first = p.offsets[p.group] + p.local % tile
            sentence = f"every {tile} rows of C are computed from the group's first {tile} rows of A again"
            yield Mistake(f"row-tile-ignored-{tile}", sentence, SUM, partial(_moved, p, first, columns))
        if tile < p.N:
            sentence = f"every {tile} columns of C are computed from the first {tile} columns of B again"
            own = np.arange(len(p.A))
            yield Mistake(f"column-tile-ignored-{tile}", sentence, SUM, partial(_moved, p, own, columns % tile))


def _moved(p: Problem, row: Indices, column: Indices, rows: Indices) -> np.ndarray:
    """Element (i, j) is the right one of (row[i], column[j])."""
    return np.asarray(p.C[row[rows]][:, column])


def not_reset(p: Problem) -> Iterator[Mistake[Indices]]:
    """What a block leaves in its accumulator goes into its next tile."""

    def over_groups(rows: Indices) -> np.ndarray:
        total = p.C[rows].copy()
        for group, (first, end) in enumerate(pairwise(p.offsets.tolist())):
            also = (p.group[rows] > group) & (p.local[rows] < end - first)
            total[also] += p.C[first + p.local[rows][also]]
        return total

    sentence = "each group's result is added to that of the groups before: the sum is not reset to 0 between groups"
    yield Mistake("not-reset-between-groups", sentence, SUM, over_groups)
    for tile in TILES:
        if tile < p.sizes.max():
            yield Mistake(f"not-reset-between-rows-{tile}", f"each tile of {tile} rows contains the sums of the "
                          "tiles above it: the sum is not reset to 0 between tiles", SUM,
                          partial(_over_row_tiles, p, tile))  # fmt: skip
        if tile < p.N:
            yield Mistake(f"not-reset-between-columns-{tile}", f"each tile of {tile} columns contains the sums of "
                          "the tiles to its left: the sum is not reset to 0 between tiles", SUM,
                          partial(_over_column_tiles, p, tile))  # fmt: skip


def _over_row_tiles(p: Problem, tile: int, rows: Indices) -> np.ndarray:
    total = np.zeros((len(rows), p.N))
    for i, row in enumerate(rows):
        first = int(row) - int(p.local[row]) + int(p.local[row]) % tile
        total[i] = p.C[first : int(row) + 1 : tile].sum(axis=0)
    return total


def _over_column_tiles(p: Problem, tile: int, rows: Indices) -> np.ndarray:
    total = p.C[rows].copy()
    for column in range(tile, p.N):
        total[:, column] += total[:, column - tile]
    return total

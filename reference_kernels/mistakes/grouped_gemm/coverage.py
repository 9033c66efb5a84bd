"""Elements that no thread computes: partial tiles, groups, rows that the grid does not cover."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.mistakes.grouped_gemm.problem import SIZES, TILES, WRITTEN, Indices, Problem, alike
from grader.reference_kernels.mistakes.mistake import UNWRITTEN, Mistake

Mask = NDArray[np.bool_]

GROUP_COUNTS = (1, 2, 3, 4, 8, 16, 32)  # a num_groups that somebody wrote into a kernel


def never_written(p: Problem) -> Iterator[Mistake[Indices]]:
    """Each as never stored, and as 0. A sentence says which with {}."""
    yield from _partial_tiles(p)
    yield from _groups(p)
    yield from _low_grid(p)
    yield from _first_tiles(p)


def _partial_tiles(p: Problem) -> Iterator[Mistake[Indices]]:
    size = p.sizes[p.group]
    for tile, sizes in alike(TILES, lambda tile: (p.sizes // tile * tile).tobytes()):
        sentence = f"the last partial tile of each group is {{}}: M / {sizes} rows of a tile is rounded down"
        yield from _left_out(p, f"rows-tail-{tile}", sentence, WRITTEN, rows=p.local >= size // tile * tile)
    columns = np.arange(p.N)
    for tile, sizes in alike(TILES, lambda tile: p.N // tile):
        if p.N % tile:
            sentence = f"the last {p.N % tile} columns are {{}}: N / {sizes} columns of a tile is rounded down"
            missing = columns >= p.N // tile * tile
            yield from _left_out(p, f"columns-tail-{tile}", sentence, WRITTEN, columns=missing)
    yield from _left_out(p, "last-row", "the last row of each group is {}", WRITTEN, rows=p.local == size - 1)


def _groups(p: Problem) -> Iterator[Mistake[Indices]]:
    for count in GROUP_COUNTS:
        if count < p.groups:
            which = "after group 0" if count == 1 else f"from group {count} on"
            sentence = (
                f"the groups {which} are {{}}: only {count} of {p.groups} are computed, by a search for the group "
                "that ends too soon or a number in the code"
            )
            yield from _left_out(p, f"{count}-groups", sentence, SIZES, rows=p.group >= count)
    yield from _left_out(p, "last-group", "the last group is {}", WRITTEN, rows=p.group == p.groups - 1)
    yield from _left_out(p, "first-group", "group 0 is {}", WRITTEN, rows=p.group == 0)


def _low_grid(p: Problem) -> Iterator[Mistake[Indices]]:
    heights = {
        "first": int(p.sizes[0]),
        "mean": -(-len(p.A) // p.groups),
        "last": int(p.sizes[-1]),
        "smallest": int(p.sizes.min()),
    }
    for tile in (1, *TILES):
        for which, height in heights.items():
            end = -(-height // tile) * tile
            if end < p.sizes.max():
                sentence = f"rows from {end} on are {{}}: the grid is only as tall as the {which} group"
                yield from _left_out(p, f"as-tall-as-{which}-{tile}", sentence, WRITTEN, rows=p.local >= end)


def _first_tiles(p: Problem) -> Iterator[Mistake[Indices]]:
    for tile in TILES:
        sentence = f"rows from {tile} on are {{}}: only the first tile of rows of each group is computed"
        yield from _left_out(p, f"one-row-tile-{tile}", sentence, WRITTEN, rows=p.local >= tile)
        sentence = f"columns from {tile} on are {{}}: only the first tile of columns is computed"
        yield from _left_out(p, f"one-column-tile-{tile}", sentence, WRITTEN, columns=np.arange(p.N) >= tile)


def _left_out(
    p: Problem, name: str, sentence: str, topic: str, *, rows: Mask | None = None, columns: Mask | None = None
) -> Iterator[Mistake[Indices]]:
    for value, ending, what in ((UNWRITTEN, "", "never written"), (0.0, "-0", "0")):
        yield Mistake(name + ending, sentence.format(what), topic, partial(_replaced, p, rows, columns, value))


def _replaced(p: Problem, missing: Mask | None, columns: Mask | None, value: float, rows: Indices) -> np.ndarray:
    replaced = columns if missing is None else missing[rows, None]
    return np.where(replaced, value, p.C[rows])  # type: ignore[arg-type]  # one of the two is given

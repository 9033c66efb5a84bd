"""Tiles that no block takes from the list of all tiles: mistakes where blocks take tiles from a counter."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.mistakes.grouped_gemm.problem import WRITTEN, Indices, Problem
from grader.reference_kernels.mistakes.mistake import UNWRITTEN, Mistake

SHAPES = ((16, 16), (32, 32), (64, 64), (128, 128), (16, 64), (32, 64), (64, 32), (64, 128), (128, 64), (8, 32))
CHUNKS = {2: "second", 3: "third", 4: "fourth", 5: "fifth", 8: "eighth"}  # tiles that a block takes at once


def not_taken(p: Problem) -> Iterator[Mistake[Indices]]:
    """Never written: the first tile, the last, all but the first of each chunk."""
    for height, width in SHAPES:
        count = -(-p.N // width) * int((-(-p.sizes // height)).sum())
        tiles, name = f"{count} tiles of {height} x {width}", f"{height}x{width}"
        if count < 2:
            continue
        why = "the counter begins one too high"
        yield _left_out(
            p, height, width, f"first-tile-{name}", f"no block computes tile 0 of the {tiles}: {why}", (0,)
        )
        why = "the list ends one tile early"
        sentence = f"no block computes the last of the {tiles}: {why}"
        yield _left_out(p, height, width, f"last-tile-{name}", sentence, (count - 1,))
        for chunk, ordinal in CHUNKS.items():
            if chunk < count:
                why = f"the counter advances by {chunk}, but a block computes only one of them"
                sentence = f"of the {tiles}, only every {ordinal} is computed: {why}"
                skipped = tuple(number for number in range(count) if number % chunk)
                yield _left_out(p, height, width, f"one-of-{chunk}-{name}", sentence, skipped)


def _left_out(
    p: Problem, height: int, width: int, name: str, sentence: str, numbers: tuple[int, ...]
) -> Mistake[Indices]:
    missing = np.array(numbers)
    return Mistake(name, sentence, WRITTEN, partial(_without, p, height, width, missing))


def _without(p: Problem, height: int, width: int, missing: NDArray[np.intp], rows: Indices) -> np.ndarray:
    return np.where(np.isin(_numbers(p, height, width, rows), missing), UNWRITTEN, p.C[rows])


def _numbers(p: Problem, height: int, width: int, rows: Indices) -> NDArray[np.intp]:
    """(R, N): in which tile of the list each element of these rows of C lies."""
    row_tiles = -(-p.sizes // height)
    before = np.cumsum(row_tiles) - row_tiles
    row_tile = before[p.group[rows]] + p.local[rows] // height
    return np.asarray(row_tile[:, None] * -(-p.N // width) + np.arange(p.N) // width)

"""The sum over K: parts that are missing, and steps that read the wrong tile."""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from grader.reference_kernels.mistakes.grouped_gemm.problem import (
    SIZES,
    STEPS,
    SUM,
    ZERO_FILL,
    Indices,
    Problem,
    alike,
)
from grader.reference_kernels.mistakes.mistake import Mistake

LENGTHS = (16, 32, 64, 128, 256, 512)  # a K that somebody wrote into a kernel
SLICES = (2, 3, 4, 8)  # into which split-K cuts the sum


def left_half_done(p: Problem) -> Iterator[Mistake[Indices]]:
    """The tiles are loaded, and the loop within them is missing: thread (tx, ty) adds the one product it can see."""
    for tile in (8, 16, 32):
        sentence = (
            f"each step along K adds only one of {tile} products, A_tile[ty][tx] * B_tile[ty][tx]: the loop over the "
            "tile's k is missing"
        )
        yield Mistake(f"one-product-of-{tile}", sentence, SUM, partial(_one_of_each_tile, p, tile))


def _one_of_each_tile(p: Problem, tile: int, rows: Indices) -> np.ndarray:
    """(i, j): A at k = j mod tile of each step, times B at k = i mod tile."""
    padding = -p.K % tile
    A = np.pad(p.A[rows], ((0, 0), (0, padding))).reshape(len(rows), -1, tile)
    result = np.empty((len(rows), p.N), np.float32)
    columns = np.arange(p.N) % tile
    for group in np.unique(p.group[rows]):
        B = np.pad(p.B[group], ((0, padding), (0, 0))).reshape(-1, tile, p.N)
        for ty in np.unique(p.local[rows] % tile):
            mine = (p.group[rows] == group) & (p.local[rows] % tile == ty)
            for row in np.flatnonzero(mine):
                result[row] = (A[row][:, columns] * B[:, ty]).sum(axis=0)
    return result


def _over(p: Problem, weights: np.ndarray, rows: Indices) -> np.ndarray:
    """The sum in which the product of each k counts this many times."""
    used = np.flatnonzero(weights)
    k = slice(used[0], used[-1] + 1)
    return p.product(p.A[rows, k] * weights[k], p.group[rows], lambda g: p.B[g][k])


def part_of_the_sum(p: Problem) -> Iterator[Mistake[Indices]]:
    k = np.arange(p.K)
    named: set[bytes] = set()

    def only(name: str, sentence: str, topic: str, chosen: np.ndarray) -> Iterator[Mistake[Indices]]:
        """`chosen` (K): which products are in the sum. The first of those that choose the same is named."""
        if chosen.any() and not chosen.all() and chosen.tobytes() not in named:
            named.add(chosen.tobytes())
            yield Mistake(name, sentence, topic, partial(_over, p, chosen.astype(np.float32)))

    for tile, sizes in alike((*STEPS, 128), lambda tile: p.K // tile * tile):
        yield from only(f"k-tail-{tile}", f"the last {p.K % tile} of K = {p.K} are left out: K is no multiple of "
                        f"the tile ({sizes}), and its partial step is missing", ZERO_FILL,
                        k < p.K // tile * tile)  # fmt: skip
    for length in LENGTHS:
        yield from only(f"k-is-{length}", f"the sum ends at k = {length}, and K is {p.K}", SIZES, k < length)
    for tile in STEPS:
        yield from only(f"k-last-step-{tile}", f"the last step along K (k from {p.K - tile}) is missing", SUM,
                        k < p.K - tile)  # fmt: skip
        yield from only(f"k-first-step-{tile}", f"the first step along K (k below {tile}) is missing", SUM, k >= tile)
        yield from only(f"k-only-last-step-{tile}", f"only the last step along K (k from {p.K - tile}) is in the "
                        "sum: it starts again at every step", SUM, k >= p.K - tile)  # fmt: skip
        yield from only(f"k-only-first-step-{tile}", f"only the first step along K (k below {tile}) is in the sum",
                        SUM, k < tile)  # fmt: skip
        yield from only(f"k-every-other-step-{tile}", f"every second step along K ({tile} long) is missing", SUM,
                        k // tile % 2 == 0)  # fmt: skip
    yield from only("k-only-last", "only the last product is in the sum: = instead of +=", SUM, k == p.K - 1)
    yield from only("k-only-first", "only the first product is in the sum", SUM, k == 0)
    yield from only("k-last", "the last product (k = K - 1) is missing from each sum", SUM, k < p.K - 1)
    yield from only("k-first", "the first product (k = 0) is missing from each sum", SUM, k > 0)
    for tile in STEPS:
        for at, which in ((tile - 1, "last"), (0, "first")):
            yield from only(f"k-{which}-of-each-step-{tile}", f"the {which} product of each step along K ({tile} "
                            "long) is missing", SUM, k % tile != at)  # fmt: skip
    for parts in SLICES:
        for part, begin, end in _slices(p.K, parts):
            inside = (k >= begin) & (k < end)
            yield from only(f"k-part-{part}-of-{parts}-from-{begin}", f"only part {part + 1} of {parts} of K (k from "
                            f"{begin} to {end - 1}) is in the sum: the parts are not added up", SUM,
                            inside)  # fmt: skip
            yield from only(f"k-without-part-{part}-of-{parts}-from-{begin}", f"part {part + 1} of {parts} of K (k "
                            f"from {begin} to {end - 1}) is missing: not all of the parts are added up", SUM,
                            ~inside)  # fmt: skip
    for lanes in (32, 16, 8, 4, 2):
        yield from only(f"k-of-one-lane-{lanes}", f"only every {lanes}th product is in the sum, as of one lane of "
                        f"{lanes}: the lanes' sums are not added up", SUM, k % lanes == 0)  # fmt: skip


def _slices(K: int, parts: int) -> Iterator[tuple[int, int, int]]:
    """(part, begin, end): where each part of K may lie, counted in single products, or in steps of 16."""
    for step in (1, 16):
        steps = -(-K // step)
        each = -(-steps // parts)  # rounded up, so that the last part is the shortest
        for part in range(parts):
            yield part, steps * part // parts * step, min(steps * (part + 1) // parts * step, K)
            yield part, each * part * step, min(each * (part + 1) * step, K)


def wrong_steps(p: Problem) -> Iterator[Mistake[Indices]]:
    """Each step along K reads some tile again, or what an earlier step left."""
    k = np.arange(p.K)
    for tile in STEPS:
        if tile < p.K:
            first = k % tile
            stuck = {
                "a": ("A", first, k),
                "b": ("B", k, first),
                "ab": ("A and B", first, first),
            }
            for name, (what, k_of_A, k_of_B) in stuck.items():
                sentence = f"every step along K ({tile} long) reads the first tile of {what} again"
                yield Mistake(f"{name}-stuck-{tile}", sentence, SUM, partial(_paired, p, k_of_A, k_of_B))
        rest = p.K % tile
        if rest and tile < p.K:
            weights = np.ones(p.K, np.float32)
            weights[p.K - tile : p.K - rest] += 1
            sentence = (
                f"the last step along K is only {rest} of {tile} long, and what the step before left in the rest "
                "of the tiles is added again: no zero-fill"
            )
            yield Mistake(f"k-stale-{tile}", sentence, ZERO_FILL, partial(_over, p, weights))
        if rest:
            weights = np.ones(p.K, np.float32)
            weights[-1] += tile - rest
            sentence = (
                f"the last product counts {tile - rest + 1} times: k beyond K is clamped to K - 1, not zero-filled"
            )
            yield Mistake(f"k-clamped-{tile}", sentence, ZERO_FILL, partial(_over, p, weights))


def _paired(p: Problem, k_of_A: Indices, k_of_B: Indices, rows: Indices) -> np.ndarray:
    return p.product(p.A[rows][:, k_of_A], p.group[rows], lambda g: p.B[g][k_of_B])

"""The sum over K: parts that are missing, and steps that read the wrong tile."""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from reference_kernels.grouped_gemm_mistakes.problem import (
    SIZES,
    STEPS,
    SUM,
    ZERO_FILL,
    Indices,
    Known,
    Problem,
    alike,
)

LENGTHS = (16, 32, 64, 128, 256, 512)  # a K that somebody wrote into a kernel


def _over(p: Problem, chosen: Indices, rows: Indices) -> np.ndarray:
    """The sum over the chosen k alone; one that is named twice counts twice."""
    return p.product(p.A[rows][:, chosen], p.group[rows], lambda g: p.B[g][chosen])


def part_of_the_sum(p: Problem) -> Iterator[Known]:
    k = np.arange(p.K)
    told: set[bytes] = set()

    def known(name: str, sentence: str, topic: str, chosen: Indices) -> Iterator[Known]:
        if len(chosen) > 0 and chosen.tobytes() not in told and len(chosen) < p.K:
            told.add(chosen.tobytes())
            yield Known(name, sentence, topic, partial(_over, p, chosen))

    for tile, sizes in alike((*STEPS, 128), lambda tile: p.K // tile * tile):
        yield from known(f"k-tail-{tile}", f"the last {p.K % tile} of K = {p.K} are left out: K is no multiple of "
                         f"the tile ({sizes}), and its partial step is missing", ZERO_FILL,
                         k[: p.K // tile * tile])  # fmt: skip
    for length in LENGTHS:
        yield from known(f"k-is-{length}", f"the sum ends at k = {length}, and K is {p.K}", SIZES, k[:length])
    for tile in STEPS:
        yield from known(f"k-last-step-{tile}", f"the last step along K (k from {p.K - tile}) is missing", SUM,
                         k[:-tile])  # fmt: skip
        yield from known(f"k-first-step-{tile}", f"the first step along K (k below {tile}) is missing", SUM, k[tile:])
        yield from known(f"k-only-last-step-{tile}", f"only the last step along K (k from {p.K - tile}) is in the "
                         "sum: it starts again at every step", SUM, k[-tile:])  # fmt: skip
        yield from known(f"k-only-first-step-{tile}", f"only the first step along K (k below {tile}) is in the sum",
                         SUM, k[:tile])  # fmt: skip
        yield from known(f"k-every-other-step-{tile}", f"every second step along K ({tile} long) is missing", SUM,
                         k[k // tile % 2 == 0])  # fmt: skip
    yield from known("k-only-last", "only the last product is in the sum: = in place of +=", SUM, k[-1:])
    yield from known("k-only-first", "only the first product is in the sum", SUM, k[:1])
    yield from known("k-last", "the last product (k = K - 1) is missing from each sum", SUM, k[:-1])
    yield from known("k-first", "the first product (k = 0) is missing from each sum", SUM, k[1:])
    for tile in STEPS:
        for at, which in ((tile - 1, "last"), (0, "first")):
            yield from known(f"k-{which}-of-each-step-{tile}", f"the {which} product of each step along K ({tile} "
                             "long) is missing", SUM, k[k % tile != at])  # fmt: skip
    for parts in (2, 4, 8, 32):
        length = p.K // parts
        for part in range(parts) if parts < 32 else ():
            yield from known(f"k-part-{part}-of-{parts}", f"only part {part + 1} of {parts} of K is in the sum: the "
                             "parts are not added up", SUM, k[part * length : (part + 1) * length])  # fmt: skip
    for lanes in (32, 16, 8, 4, 2):
        yield from known(f"k-of-one-lane-{lanes}", f"only every {lanes}th product is in the sum, as of one lane of "
                         f"{lanes}: the lanes' sums are not added up", SUM, k[::lanes])  # fmt: skip


def wrong_steps(p: Problem) -> Iterator[Known]:
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
                yield Known(f"{name}-stuck-{tile}", sentence, SUM, partial(_paired, p, k_of_A, k_of_B))
        rest = p.K % tile
        if rest and tile < p.K:
            stale = np.append(k, k[p.K - rest - (tile - rest) : p.K - rest])
            sentence = (
                f"the last step along K is only {rest} of {tile} long, and what the step before left in the rest "
                "of the tiles is added again: no zero-fill"
            )
            yield Known(f"k-stale-{tile}", sentence, ZERO_FILL, partial(_over, p, stale))
        if rest:
            clamped = np.append(k, np.full(tile - rest, p.K - 1))
            sentence = (
                f"the last product counts {tile - rest + 1} times: k beyond K is held at K - 1, not zero-filled"
            )
            yield Known(f"k-clamped-{tile}", sentence, ZERO_FILL, partial(_over, p, clamped))


def _paired(p: Problem, k_of_A: Indices, k_of_B: Indices, rows: Indices) -> np.ndarray:
    return p.product(p.A[rows][:, k_of_A], p.group[rows], lambda g: p.B[g][k_of_B])

"""The wrong scale, or none."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from grader.reference_kernels.mistakes.fp8_grouped_gemm.problem import (
    LAYOUT,
    RAGGED,
    SCALES,
    Indices,
    Matrix,
    Problem,
    take,
)
from grader.reference_kernels.mistakes.mistake import Mistake

A_TILES = (8, 16, 32, 64, 128)


def wrong_scales(p: Problem) -> Iterator[Mistake[Indices]]:
    yield from _missing(p)
    yield from _other_block(p)
    yield from _other_row_of_a(p)
    yield from _other_matrix_of_b(p)
    yield from _transposed(p)


def _known(
    p: Problem, name: str, sentence: str, topic: str = SCALES, *, a: Matrix | None = None, b: Matrix | None = None
) -> Mistake[Indices]:
    return Mistake(name, sentence, topic, lambda rows: p.product(rows, a_scales=a, b_scales=b))


def _missing(p: Problem) -> Iterator[Mistake[Indices]]:
    a, b = p.operands.A_scales, p.column_scales
    one_a, one_b = np.ones_like(a), np.ones_like(b)
    over_a, over_b = np.float32(1) / a, np.float32(1) / b
    yield _known(p, "no-a-scale", "A's scales are missing: only B's are applied", a=one_a)
    yield _known(p, "no-b-scale", "B's scales are missing: only A's are applied", b=one_b)
    yield _known(p, "no-scales", "no scale is applied: this is the product of the decoded codes", a=one_a, b=one_b)
    yield _known(p, "a-scale-divided", "the sum is divided by A's scale, not multiplied by it", a=over_a)
    yield _known(p, "b-scale-divided", "the sum is divided by B's scale, not multiplied by it", b=over_b)
    yield _known(p, "scales-divided", "the sum is divided by the scales, not multiplied by them", a=over_a, b=over_b)
    yield _known(p, "a-scale-twice", "A's scale is applied twice", a=a * a)
    yield _known(p, "b-scale-twice", "B's scale is applied twice", b=b * b)
    yield Mistake(
        "scales-added",
        "the sum is multiplied by the sum of the two scales, not by their product",
        SCALES,
        lambda rows: p.product(rows, b_scales=one_b) + p.product(rows, a_scales=one_a),
    )


def _other_block(p: Problem) -> Iterator[Mistake[Indices]]:
    """Along K."""
    a, b, blocks = p.operands.A_scales, p.column_scales, np.arange(p.k_blocks)
    other = {
        "first": ("the scales of the first block along K", blocks * 0),
        "last": ("the scales of the last block along K", blocks * 0 + p.k_blocks - 1),
        "next": ("the scales of the next block along K", np.minimum(blocks + 1, p.k_blocks - 1)),
        "before": ("the scales of the block before along K", np.maximum(blocks - 1, 0)),
    }
    late = "all blocks along K get {}, as if the sum over all of K were scaled once"
    for name, (words, at) in other.items():
        both = late if name in ("first", "last") else "A and B have {}"
        yield _known(p, f"scales-of-the-{name}-block", both.format(words), a=a[:, at], b=b[..., at])
        yield _known(p, f"a-scale-of-the-{name}-block", f"A has {words}", a=a[:, at])
        yield _known(p, f"b-scale-of-the-{name}-block", f"B has {words}", b=b[..., at])


def _other_row_of_a(p: Problem) -> Iterator[Mistake[Indices]]:
    a, row = p.operands.A_scales, np.arange(len(p.operands.A))
    other = {
        "a-scale-of-the-row-below": (
            "each row has A's scale of the next row",
            np.minimum(row + 1, row - p.local + p.sizes[p.group] - 1),
        ),
        "a-scale-of-the-row-below-anywhere": ("each row has A's scale of the next row", row + 1),
        "a-scale-of-the-row-above": ("each row has A's scale of the row before", row - 1),
        "a-scale-8-rows-below": ("each row has A's scale of the row eight further down", row + 8),
        "a-scale-without-offset": ("group_offsets is not added to the row of A_scales", p.local),
        "a-scale-offset-twice": ("group_offsets is added to the row of A_scales twice", row + p.offsets[p.group]),
        "a-scale-of-the-group": ("all rows of a group have the scale of its first row", p.offsets[p.group]),
    }
    for name, (sentence, at) in other.items():
        yield _known(p, name, sentence, a=take(a, at))
    for tile in A_TILES:
        sentence = f"{tile} rows share a scale of A, that of the first: every row of A has scales of its own"
        yield _known(p, f"a-scale-of-{tile}-rows", sentence, a=take(a, row - p.local % tile))
    high = p.local % 16 // 8 * 8
    yield _known(
        p,
        "a-scale-halves-shared",
        "rows 8 to 15 of each 16 have A's scales of rows 0 to 7: accumulators 2 and "
        "3 of mma.sync are eight rows below 0 and 1",
        a=take(a, row - high),
    )
    yield Mistake(
        "a-scale-by-column",
        "even columns have A's scales of rows 0 to 7 of each 16, odd columns those of rows 8 to 15: accumulators 0 "
        "and 1 of mma.sync are in one row, 2 and 3 eight rows below",
        SCALES,
        partial(_row_by_column, p),
    )


def _row_by_column(p: Problem, rows: Indices) -> np.ndarray:
    """As if accumulators 0 and 2 were in one row, 1 and 3 in the other. Where the group has no such row: anything."""
    upper = p.local // 16 * 16 + p.local % 8
    halves = []
    for local in (upper, upper + 8):
        scales = take(p.operands.A_scales, p.offsets[p.group] + local).copy()
        scales[local >= p.sizes[p.group]] = np.nan
        halves.append(p.product(rows, a_scales=scales))
    return np.where(np.arange(p.N) % 2, halves[1], halves[0])


def _other_matrix_of_b(p: Problem) -> Iterator[Mistake[Indices]]:
    b, columns, group = p.column_scales, np.arange(p.N), np.arange(len(p.sizes))
    first = "all columns have B's scales of the first block of 128 columns"
    yield _known(p, "b-scale-of-the-first-columns", first, b=b[:, columns * 0])
    for width in (16, 32, 64):
        at = columns // width
        if at[-1] * 128 < p.N + 127 and p.n_blocks > 1:
            wide = b[:, np.minimum(at * 128, p.N - 1)]
            yield _known(
                p, f"b-scale-every-{width}", f"B's scales change every {width} columns, not every 128", b=wide
            )
    none = ": N / 128, rounded down, is 0 rows of scales" if p.N < 128 else ""
    yield _known(p, "b-scale-of-group-0", f"every group has B's scales of group 0{none}", b=b[group * 0])
    yield _known(p, "b-scale-of-the-next-group", "group g has B's scales of group g + 1", b=take(b, group + 1))
    yield _known(p, "b-scale-of-the-group-before", "group g has B's scales of group g - 1", b=take(b, group - 1))


def _transposed(p: Problem) -> Iterator[Mistake[Indices]]:
    """Read in another order, or with rows of another length."""
    a, b = p.operands.A_scales.reshape(-1), p.operands.B_scales.reshape(-1)
    row, block = np.arange(len(p.operands.A))[:, None], np.arange(p.k_blocks)
    column = np.arange(p.N)[:, None] // 128
    start = np.arange(len(p.sizes))[:, None, None] * p.n_blocks * p.k_blocks

    def from_a(name: str, sentence: str, at: np.ndarray, topic: str) -> Mistake[Indices]:
        return _known(p, name, sentence, topic, a=take(a, at.reshape(-1)).reshape(at.shape))

    def from_b(name: str, sentence: str, at: np.ndarray, topic: str) -> Mistake[Indices]:
        return _known(p, name, sentence, topic, b=take(b, at.reshape(-1)).reshape(at.shape))

    yield from_a(
        "a-scale-transposed", "A_scales is read as if it were stored (K blocks, rows)", block * len(row) + row, LAYOUT
    )
    rows_of_group, local, first = p.sizes[p.group][:, None], p.local[:, None], p.offsets[p.group][:, None]
    yield from_a(
        "a-scale-transposed-in-group",
        "each group's part of A_scales is read as if it were stored (K blocks, rows)",
        first * p.k_blocks + block * rows_of_group + local,
        LAYOUT,
    )
    yield from_b(
        "b-scale-transposed",
        "B_scales is read as if it were stored (K blocks, N blocks)",
        start + block * p.n_blocks + column,
        LAYOUT,
    )
    if p.K % 128:
        short = max(1, p.K // 128)
        sentence = "the rows of {} are read as if they had K / 128 scales, rounded down; the last block is ragged"
        yield from_a("a-scale-stride", sentence.format("A_scales"), row * short + block, RAGGED)
        in_group = first * p.k_blocks + local * short + block
        yield from_a("a-scale-stride-in-group", sentence.format("A_scales"), in_group, RAGGED)
        yield from_b("b-scale-stride", sentence.format("B_scales"), start + column * short + block, RAGGED)
        kept = np.minimum(block, short - 1)
        yield _known(
            p,
            "scales-of-the-ragged-block",
            "the last, ragged block along K has the scales of the block before",
            RAGGED,
            a=p.operands.A_scales[:, kept],
            b=p.column_scales[..., kept],
        )
    if p.N % 128:
        down = np.minimum(column, max(0, p.N // 128 - 1))
        yield from_b(
            "b-scale-of-the-ragged-columns",
            "the last, ragged block of columns has B's scales of the block before",
            start + down * p.k_blocks + block,
            RAGGED,
        )
        groups = np.arange(len(p.sizes))[:, None, None] * max(1, p.N // 128) * p.k_blocks
        yield from_b(
            "b-scale-group-stride",
            "a group is read as if it had N / 128 rows of scales, rounded down; the last block of columns is ragged",
            groups + column * p.k_blocks + block,
            RAGGED,
        )

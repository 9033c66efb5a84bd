"""Another group's matrix, or another group's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from grader.reference_kernels.mistakes.grouped_gemm.layout import strided_a
from grader.reference_kernels.mistakes.grouped_gemm.problem import OFFSETS, Indices, Problem, Rows
from grader.reference_kernels.mistakes.mistake import Mistake


def wrong_weights(p: Problem) -> Iterator[Mistake[Indices]]:
    def with_b(number: Callable[[Indices], Indices]) -> Rows:
        return lambda rows: p.product(p.A[rows], number(p.group[rows]))

    other = {
        "b-of-group-0": ("every group is multiplied by B of group 0", lambda g: g * 0),
        "b-of-the-next-group": ("group g is multiplied by B of group g + 1", lambda g: g + 1),
        "b-of-the-group-before": ("group g is multiplied by B of group g - 1", lambda g: g - 1),
        "b-of-the-last-group": ("every group is multiplied by B of the last group", lambda g: g * 0 + p.groups - 1),
        "b-from-the-end": ("group 0 is multiplied by B of the last group, and so on", lambda g: p.groups - 1 - g),
    }
    for name, (sentence, number) in other.items():
        yield Mistake(name, sentence, OFFSETS, with_b(number))
    present = np.cumsum(p.sizes > 0) - 1  # a group's number among those that have rows
    yield Mistake("b-counted-without-empty-groups", "empty groups are not counted when B is chosen, so B belongs to "
                  "another group", OFFSETS, with_b(lambda g: present[g]))  # fmt: skip
    first = p.local == 0
    yield Mistake("first-row-to-the-group-before", "the first row of each group is multiplied by B of the group "
                  "before", OFFSETS,
                  lambda rows: p.product(p.A[rows], p.group[rows] - (first[rows] & (rows > 0))))  # fmt: skip


def wrong_rows(p: Problem) -> Iterator[Mistake[Indices]]:
    def starting_at(first: Callable[[Indices], Indices]) -> Rows:
        return lambda rows: p.product(p.rows_of_a(p.local[rows] + first(p.group[rows])), p.group[rows])

    starts = np.append(p.offsets, p.offsets[-1])
    mean = len(p.A) // p.groups
    other: dict[str, tuple[str, Callable[[Indices], Indices]]] = {
        "a-offset-ignored": (
            "every group reads its rows of A from row 0: group_offsets is not added",
            lambda g: g * 0,
        ),
        "a-offset-twice": ("group_offsets is added to the row of A twice", lambda g: 2 * p.offsets[g]),
        "a-of-the-next-group": ("group g reads the rows of A of group g + 1", lambda g: starts[g + 1]),
        "a-of-the-group-before": ("group g reads the rows of A of group g - 1", lambda g: p.offsets[g - (g > 0)]),
        "a-equal-groups": (
            "the first row of group g is computed as g * M[g], which is right only for groups of one size",
            lambda g: g * p.sizes[g],
        ),
        "a-groups-like-the-first": (
            "the first row of group g is computed as g * M[0], which is right only for groups of one size",
            lambda g: g * p.sizes[0],
        ),
        "a-mean-groups": (
            "the first row of group g is computed as g times the mean size, as if all groups had the same size",
            lambda g: g * mean,
        ),
        "a-one-row-late": ("every row of C is computed from the next row of A", lambda g: p.offsets[g] + 1),
        "a-one-row-early": ("every row of C is computed from the row of A before", lambda g: p.offsets[g] - 1),
    }
    for name, (sentence, first) in other.items():
        yield Mistake(name, sentence, OFFSETS, starting_at(first))
    sentence = "group_offsets[g] is added as if it counted elements of A; it counts rows, of K elements each"
    values = partial(strided_a, p, p.offsets[p.group] + p.local * p.K)
    yield Mistake("a-offset-in-elements", sentence, OFFSETS, values)

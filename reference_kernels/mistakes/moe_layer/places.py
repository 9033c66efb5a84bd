"""Wrong rows and slots. An expert's assignments may be in any order, so a mistake predicts no exact numbers:
it is recognised by what the wrong places have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from grader.reference_kernels.mistakes.mistake import Cause
from grader.reference_kernels.mistakes.moe_layer.problem import CAPACITY, OFFSETS, ROWS
from grader.reference_kernels.moe import Layer


class _Shift(NamedTuple):
    """Every place of an expert is off by the same amount, `by`."""

    name: str
    sentence: str
    hint: str
    by: np.ndarray  # of each expert


def wrong_rows(layer: Layer, row: np.ndarray) -> Iterator[Cause]:
    expert, offsets, sizes = layer.given["expert"], layer.given["group_offsets"], layer.given["M_sizes"]
    starts = offsets[:-1]
    yield from _alike(row, "row")
    if np.array_equal(row.ravel(), np.arange(row.size)):
        sentence = "row[token][choice] is the assignment's own number: nothing is sorted by expert"
        yield Cause("not-sorted", sentence, ROWS)
        return
    shifts = (
        _Shift(
            "row-in-expert", "group_offsets is not added: rows are counted from 0 in each expert", OFFSETS, -starts
        ),
        _Shift("row-offset-twice", "group_offsets is added twice", OFFSETS, starts),
        _Shift("row-of-the-next", "assignments of expert e get the rows of expert e + 1", OFFSETS, sizes),
        _Shift("rows-from-1", "the first row of an expert is skipped: rows are counted from 1", ROWS, 0 * sizes + 1),
    )
    for shift in shifts:
        if _permuted(row - shift.by[expert], expert, starts, sizes):
            yield Cause(shift.name, shift.sentence, shift.hint)
    if _distinct_of_one_cursor(row, expert, starts):
        yield Cause("one-cursor", "all experts share one cursor; each needs its own", ROWS)


def wrong_slots(layer: Layer, slot: np.ndarray) -> Iterator[Cause]:
    expert, capacity = layer.given["expert"], layer.capacity
    starts = np.arange(layer.num_experts) * capacity
    sizes, kept = layer.given["M_sizes"], layer.kept
    inside, started = slot != layer.slots, np.minimum(sizes, capacity)
    if _permuted(slot, expert, starts + started, np.minimum(2 * started, capacity) - started, inside):
        sentence = (
            "the cursors do not start at 0: the workspace is zeroed only once, before the first kernel, and "
            "scatter_kernel has counted its rows there since"
        )
        yield Cause("cursors-used", sentence, CAPACITY)
    yield from _alike(slot, "slot")
    if _permuted(slot, expert, starts, sizes):
        sentence = "the capacity is ignored: assignments beyond it get slots of the next expert"
        yield Cause("capacity-ignored", sentence, CAPACITY)
    if _permuted(slot + starts[expert], expert, starts, kept, inside):
        sentence = "slots are counted from 0 in each expert: e * capacity is not added"
        yield Cause("slot-in-expert", sentence, CAPACITY)
    if _permuted(slot, expert, starts, np.minimum(kept, capacity - 1), inside):
        sentence = "the last slot of each expert stays empty: capacity assignments fit, not capacity - 1"
        yield Cause("one-slot-free", sentence, CAPACITY)
    yield from _marked(layer, slot, starts)


def _marked(layer: Layer, slot: np.ndarray, starts: np.ndarray) -> Iterator[Cause]:
    """Every dropped assignment has some slot other than the one past the last."""
    expert, kept = layer.given["expert"], layer.kept
    outside = (slot < starts[expert]) | (slot >= starts[expert] + kept[expert])
    values = np.unique(slot[outside])
    if values.size != 1 or values[0] == layer.slots:
        return
    others = np.arange(layer.num_experts) != values[0] // layer.capacity  # in its own rows, the slot may be right
    lost = np.bincount(expert[slot == values[0]], minlength=layer.num_experts)
    if np.array_equal(lost[others], (layer.given["M_sizes"] - kept)[others]):
        sentence = f"a dropped assignment has slot {values[0]}; it must have num_experts * capacity"
        yield Cause("dropped-marked", sentence, CAPACITY)


def _alike(place: np.ndarray, called: str) -> Iterator[Cause]:
    if (place == place.flat[0]).all() and place.size > 1:
        yield Cause("constant", f"every {called} is {place.flat[0]}", ROWS)


def _permuted(
    place: np.ndarray, expert: np.ndarray, starts: np.ndarray, sizes: np.ndarray, chosen: np.ndarray | None = None
) -> bool:
    """Whether the chosen assignments of each expert have its first places, each once."""
    mine = slice(None) if chosen is None else chosen
    got, of = place[mine].ravel(), expert[mine].ravel()
    if got.size != int(sizes.sum()):
        return False
    wanted = np.concatenate([start + np.arange(size) for start, size in zip(starts, sizes, strict=True)])
    order = np.lexsort((got, of))
    return np.array_equal(got[order], wanted)


def _distinct_of_one_cursor(row: np.ndarray, expert: np.ndarray, starts: np.ndarray) -> bool:
    return np.array_equal(np.sort((row - starts[expert]).ravel()), np.arange(row.size))

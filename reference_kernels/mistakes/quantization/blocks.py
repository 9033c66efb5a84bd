"""amax of elements other than those that share the scale."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from grader.reference_kernels.mistakes.quantization.problem import (
    GROUPS,
    RAGGED,
    SHARING,
    Quantized,
    ScaleMistake,
    at,
    scale_mistake,
    scale_of,
)
from grader.reference_kernels.quantization import WHOLE, Granularity, compute_amax

PARTS = (124, 96, 64, 32, 16, 4, 1)  # what halves, warps, float4s and a missing lane leave of 128


def ends(right: Quantized) -> Iterator[ScaleMistake]:
    """Blocks that begin or end one element off, or leave out the ragged last one."""
    for axis, extent, word in _long_axes(right):
        first, last = f"each block's first {word}", f"each block's last {word}"
        ways = (
            ("without-last", f"{last} is left out of amax", 0, extent - 1),
            ("without-first", f"{first} is left out of amax", 1, extent),
            ("one-more", f"each block's amax includes the first {word} of the next block", 0, extent + 1),
            ("one-early", f"each block's amax begins one {word} early", -1, extent),
            ("one-late", f"{first} is left out of amax, and the first of the next block included", 1, extent + 1),
        )
        for name, sentence, begin, end in ways:
            spans = partial(_scales_of_spans, right, axis, extent, begin, end)
            yield scale_mistake(f"{name}-{word}", sentence, SHARING, spans)
        if right.x.shape[axis] % extent:
            yield from _ragged(right, axis, word)


def parts(right: Quantized) -> Iterator[ScaleMistake]:
    """amax of only the beginning of each block."""
    for axis, extent, word in _long_axes(right):
        for n in PARTS:
            if n < extent:
                first = f"{n} " if n > 1 else ""
                sentence = f"amax covers only the first {first}of each block's {extent} {word}s"
                spans = partial(_scales_of_spans, right, axis, extent, 0, n)
                yield scale_mistake(f"first-{n}-{word}s", sentence, SHARING, spans)


def _long_axes(right: Quantized) -> Iterator[tuple[int, int, str]]:
    """(axis, a block's extent, what it counts) where a block has more than one of them."""
    for axis, (word, block) in enumerate(zip(right.axes, right.granularity.block, strict=True)):
        if block != 1:
            yield axis, block or right.x.shape[axis], word


def _scales_of_spans(right: Quantized, axis: int, extent: int, begin: int, end: int) -> np.ndarray:
    """Like the right ones, but block i covers elements i·extent + begin up to i·extent + end along this axis."""
    count = right.x.shape[axis]
    others = Granularity("one long", tuple(1 if i == axis else b for i, b in enumerate(right.granularity.block)))
    lines = compute_amax(right.x, others).reshape(others.grid(right.x.shape))
    parts = []
    for start in range(0, count, extent):
        span = at(axis, slice(max(0, start + begin), min(start + end, count)), lines.ndim)
        parts.append(lines[span].max(axis=axis, keepdims=True, initial=0))
    return scale_of(np.concatenate(parts, axis=axis).reshape(right.amax.shape))


def _ragged(right: Quantized, axis: int, word: str) -> Iterator[ScaleMistake]:
    def without_amax() -> np.ndarray:
        amax = right.amax.reshape(right.grid).copy()
        amax[at(axis, -1, amax.ndim)] = 0
        return scale_of(amax)

    def packed() -> np.ndarray:
        """The scales of the whole blocks alone, side by side: the ragged ones have no place between them."""
        whole = right.scales.reshape(right.grid)[at(axis, slice(0, -1), right.x.ndim)]
        scales = np.full(right.scales.size, np.nan, np.float32)
        scales[: whole.size] = whole.ravel()
        return scales

    sentence = f"the last block along the {word}s, which is ragged, has no amax"
    yield scale_mistake(f"ragged-without-amax-{word}", sentence, RAGGED, without_amax)
    sentence = f"the scales are stored as if the ragged last block along the {word}s did not count: round up"
    yield scale_mistake(f"ragged-not-counted-{word}", sentence, RAGGED, packed)


def sharing(right: Quantized) -> Iterator[ScaleMistake]:
    """Rows, columns or groups that share a scale where each should have its own."""
    amax, block = right.amax, right.granularity.block
    if block == (1, 128):
        for tall in (128, 32, 16):

            def joint(tall: int = tall) -> np.ndarray:
                of_rows = np.maximum.reduceat(amax, np.arange(0, len(amax), tall), axis=0)
                return scale_of(of_rows.repeat(tall, axis=0)[: len(amax)])

            sentence = f"{tall} rows share a scale; each row has its own"
            yield scale_mistake(f"{tall}-rows-share", sentence, SHARING, joint)
    if block == (1, WHOLE, 1):
        sentence = "amax runs along a row, the wrong axis: a channel is a column, so amax runs along K"
        yield scale_mistake("wrong-axis", sentence, SHARING, partial(_along_rows, right))
    if right.x.ndim == 3:
        sentence = "the groups share their scales; each has its own"
        yield scale_mistake("groups-share", sentence, GROUPS, partial(_shared_by_groups, right))


def _shared_by_groups(right: Quantized) -> np.ndarray:
    return scale_of(np.broadcast_to(right.amax.max(axis=0, keepdims=True), right.amax.shape))


def _along_rows(right: Quantized) -> np.ndarray:
    """Of row k, stored where column k's belongs."""
    along = np.abs(right.x).max(axis=2)[:, : right.x.shape[2]]
    amax = np.full_like(right.amax, np.nan)
    amax[:, : along.shape[1]] = along
    return scale_of(amax)

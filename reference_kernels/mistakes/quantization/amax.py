"""amax of the wrong values, or of only some of the block's elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from grader.reference_kernels.mistakes.quantization.problem import (
    ABSOLUTE,
    LARGEST,
    REDUCTION,
    ROUNDING,
    SHARING,
    Quantized,
    ScaleMistake,
    scale_mistake,
    scale_of,
    through_bfloat,
    through_half,
)
from grader.reference_kernels.quantization import AMAX_FLOOR, WHOLE, compute_amax

WARP = 32


def magnitudes(right: Quantized) -> Iterator[ScaleMistake]:
    """amax of the elements of one sign only."""
    x, granularity = right.x, right.granularity

    def positive() -> np.ndarray:
        return scale_of(compute_amax(np.maximum(x, 0), granularity))

    def negative() -> np.ndarray:
        return scale_of(compute_amax(np.maximum(-x, 0), granularity))

    yield scale_mistake("no-abs", "amax is the largest x, not the largest |x|: fabsf is missing", ABSOLUTE, positive)
    if not right.few:
        yield scale_mistake("negative-alone", "only negative elements count in amax", ABSOLUTE, negative)


def values(right: Quantized) -> Iterator[ScaleMistake]:
    """amax of values other than the block's |x|."""
    amax = right.amax

    def lost_where_negative() -> np.ndarray:
        negative = compute_amax(np.signbit(right.x).astype(np.float32), right.granularity) > 0
        return np.where(negative, AMAX_FLOOR / LARGEST, right.scales)

    sentence = (
        "the scale is that of amax 0: amax was lost, or its bits are compared with the sign still in them (fabsf)"
    )
    yield scale_mistake("amax-lost", sentence, ABSOLUTE, lost_where_negative)
    narrow = "amax is kept in {}; it is an FP32 number"
    yield scale_mistake("amax-in-fp16", narrow.format("FP16"), ROUNDING, lambda: scale_of(through_half(amax)))
    if not right.few:
        sentence = "one amax for the whole array, not one for each block"
        yield scale_mistake("one-amax", sentence, SHARING, lambda: scale_of(np.full_like(amax, amax.max())))
    yield scale_mistake("amax-in-bf16", narrow.format("BF16"), ROUNDING, lambda: scale_of(through_bfloat(amax)))


def half_a_warp(right: Quantized) -> Iterator[ScaleMistake]:
    """amax of only the lanes that the first lane's exchange reaches, if each takes a float4 or a float at a time."""
    sentence = (
        "lanes 16 to 31 of each warp are left out of amax: the shuffles reach only 16 of 32 lanes, by their width or "
        "because a step is missing"
    )
    for wide in (4, 1):
        of_lanes = partial(_amax_of_lanes, right, wide)
        yield scale_mistake(f"half-a-warp-{wide}", sentence, REDUCTION, partial(_first_half, of_lanes, right))


def last_step(right: Quantized) -> Iterator[ScaleMistake]:
    """amax of only the even threads, as of a tree whose last step is missing, if neighbours take neighbours."""
    sentence = "every other thread is left out of amax: the last step of the reduction, to the neighbour, is missing"

    def even() -> np.ndarray:
        return scale_of(_amax_of_lanes(right, 1)[..., ::2].max(axis=-1)).reshape(right.scales.shape)

    yield scale_mistake("every-other-thread", sentence, REDUCTION, even)


def along_the_row(right: Quantized) -> Iterator[ScaleMistake]:
    """A channel's amax of elements next to each other in memory, from its first on: x[first + row]."""
    if right.granularity.block[-1] != 1:
        return
    _, rows, columns = right.x.shape
    flat = np.abs(right.x).reshape(len(right.x), -1)
    sentence = "amax is taken along the row: in a column, the next element is cols further on, x[first + row * cols]"
    for count in dict.fromkeys((rows, columns)):

        def run(count: int = count) -> np.ndarray:
            near = np.lib.stride_tricks.sliding_window_view(np.pad(flat, ((0, 0), (0, count))), count, axis=-1)
            return scale_of(near[:, :columns].max(axis=-1)).reshape(right.scales.shape)

        yield scale_mistake(f"along-the-row-{count}", sentence, SHARING, run)


def _first_half(of_lanes: Callable[[], np.ndarray], right: Quantized) -> np.ndarray:
    return scale_of(of_lanes()[..., : WARP // 2].max(axis=-1)).reshape(right.scales.shape)


def _amax_of_lanes(right: Quantized, wide: int) -> np.ndarray:
    """(the scales' grid, WARP): what each lane holds before the exchange, if it takes `wide` neighbours at a time."""
    x, block, grid = np.abs(right.x), right.granularity.block, right.grid
    if set(block) == {WHOLE}:
        return _dealt(x.reshape(1, -1), wide)
    if block[-1] == 1:
        return _dealt(np.swapaxes(x, 1, 2), wide)  # a channel: its rows
    if block[-2] != 1:
        x = np.maximum.reduceat(x, np.arange(0, x.shape[-2], block[-2]), axis=-2)
    x = _padded(x, grid[-1] * block[-1])
    return _dealt(x.reshape(*x.shape[:-1], grid[-1], block[-1]), wide)


def _dealt(values: np.ndarray, wide: int) -> np.ndarray:
    """(..., n) to (..., WARP)."""
    turn = WARP * wide
    values = _padded(values, -(-values.shape[-1] // turn) * turn)
    turns = values.reshape(*values.shape[:-1], -1, WARP, wide)
    return np.asarray(turns.max(axis=-3).max(axis=-1))


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    missing = length - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)]) if missing else values

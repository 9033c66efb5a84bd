"""Bytes that are converted correctly, but with a scale that is not the element's own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grader.reference_kernels.fp8 import E4M3, encode, midpoints
from grader.reference_kernels.mistakes.mistake import Cause, Mistake
from grader.reference_kernels.mistakes.quantization.problem import (
    FEW,
    FLOOR,
    GROUPS,
    LARGEST,
    LAYOUT,
    ROUNDING,
    SATURATION,
    Elements,
    Quantized,
)
from grader.reference_kernels.mistakes.search import SAMPLE, Output, spread
from grader.reference_kernels.quantization import AMAX_FLOOR, WHOLE

BLOCKS_SEARCHED = 12  # wrong blocks whose scale is looked for among all; with fewer than FEW chance may agree
ENOUGH = 16  # elements of a block that have to agree before it is said whose scale they were made with
MOST = 256  # of them that are looked at
MOST_NEAR = 256  # scales that are tried on all of these
SLACK = 2.0**-22  # for FP32's rounding


def floor(_: Quantized) -> Iterator[Mistake[Elements]]:
    def unfloored(e: Elements) -> np.ndarray:
        return np.where(e.amax > 0, encode(e.x / (e.amax / LARGEST)), np.uint8(E4M3.nan))

    sentence = "x is divided by amax / 448 without the floor that the stored scale has"
    yield Mistake("unfloored", sentence, FLOOR, unfloored)


def other_scales(right: Quantized) -> Iterator[Mistake[Elements]]:
    grid = right.grid

    def by(block: tuple[np.ndarray, ...], e: Elements) -> np.ndarray:
        return np.asarray(encode(e.x / e.scales.ravel()[np.ravel_multi_index(block, grid)]))

    def first_group(e: Elements) -> np.ndarray:
        return by((np.zeros_like(e.block[0]), *e.block[1:]), e)

    def transposed(e: Elements) -> np.ndarray:
        *group, row, column = e.block
        index = column * grid[-2] + row + (group[0] * grid[-1] * grid[-2] if group else 0)
        return np.asarray(encode(e.x / e.scales.ravel()[index]))

    yield Mistake("first-scale", "all bytes are computed with the first scale", LAYOUT,
                  lambda e: encode(e.x / e.scales.ravel()[0]))  # fmt: skip
    if len(grid) == 3:
        sentence = "every group's bytes are computed with the scales of group 0"
        yield Mistake("scales-of-group-0", sentence, GROUPS, first_group)
    for axis, (word, count) in enumerate(zip(right.axes, grid, strict=True)):
        for step, of in ((1, "next"), (-1, "previous")):
            if count > 1:

                def beside(e: Elements, axis: int = axis, step: int = step, count: int = count) -> np.ndarray:
                    moved = list(e.block)
                    moved[axis] = np.clip(moved[axis] + step, 0, count - 1)
                    return by(tuple(moved), e)

                sentence = f"the bytes are computed with the scale of the {of} block along the {word}s"
                yield Mistake(f"scale-of-the-{of}-{word}", sentence, LAYOUT, beside)
    if len(grid) > 1 and max(grid[-2:]) > 1 and right.granularity.block[-2] != WHOLE:
        sentence = "the bytes are computed with another block's scale: the index into scale is transposed"
        yield Mistake("scale-transposed", sentence, LAYOUT, transposed)
    sentence = "x is multiplied by 448 before it is divided by amax: above 7.6e35 that is infinite"
    yield Mistake("multiplied-first", sentence, SATURATION,
                  lambda e: encode(e.x * LARGEST / np.maximum(e.amax, AMAX_FLOOR)))  # fmt: skip
    sentence = "x is multiplied by 448 / amax, which is not 1 / scale to the last bit"
    yield Mistake("by-the-upside-down", sentence, ROUNDING,
                  lambda e: encode(e.x * (LARGEST / np.maximum(e.amax, AMAX_FLOOR))))  # fmt: skip


def of_some_block(output: Output[Elements]) -> Iterator[Cause]:
    """The bytes of each wrong block are right under the scale of another, as far away as for all the others."""
    some = output.part(spread(output.bad, SAMPLE)).inputs
    right, blocks = some.right, spread(np.unique(some.blocks), BLOCKS_SEARCHED)
    if blocks.size < FEW:
        return
    apart: set[int] | None = None
    for block in blocks.tolist():
        elements = output.part(spread(right.places_of(block), MOST)).inputs
        found = {other - block for other in _blocks_whose_scale_fits(elements)}
        apart = found if apart is None else apart & found
        if not apart:
            return
    block = int(blocks[0])
    whose, other = (_index(one, right.grid) for one in (block, block + min(apart or {0}, key=abs)))
    sentence = f"the bytes are computed with another block's scale: those of block {whose} with that of {other}"
    yield Cause("scale-of-another-block", sentence, LAYOUT)


def _blocks_whose_scale_fits(e: Elements) -> list[int]:
    """By the bytes that are neither zero nor saturated: each leaves a range for the scale that it was made with."""
    code = (e.got & 0x7F).astype(np.intp)
    plain = (code > 0) & (code < E4M3.largest)
    if plain.sum() < ENOUGH:  # zeros and saturated bytes go with many scales
        return []
    middle, x = midpoints(E4M3), np.abs(e.x[plain])
    low, high = (x / middle[code[plain]]).max(), (x / middle[code[plain] - 1]).min()
    scales = e.scales.ravel()
    near = np.unique(scales[(scales >= low * (1 - SLACK)) & (scales <= high * (1 + SLACK)) & (scales != e.own[0])])
    fitting = [scale for scale in near[:MOST_NEAR] if (encode(e.x / scale) == e.got).all()]
    return np.flatnonzero(np.isin(scales, fitting)).tolist()


def _index(block: int, grid: tuple[int, ...]) -> str:
    return "".join(f"[{int(i)}]" for i in np.unravel_index(block, grid))

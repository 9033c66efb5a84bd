"""Right scales or bytes in the wrong place."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from grader.reference_kernels.mistakes.mistake import Mistake
from grader.reference_kernels.mistakes.quantization.problem import (
    GROUPS,
    LAYOUT,
    Elements,
    Quantized,
    ScaleMistake,
    at,
    scale_mistake,
)
from grader.reference_kernels.quantization import WHOLE


def moved_scales(right: Quantized) -> Iterator[ScaleMistake]:
    scales = right.scales
    if scales.ndim == 1:
        return
    if right.x.ndim == 3:
        sentence = "every group has the scales of group 0"
        yield scale_mistake("scales-of-group-0", sentence, GROUPS, lambda: np.broadcast_to(scales[:1], scales.shape))
    for axes in ((-1, -2), (0, -1)):
        turned = partial(_turned, scales, axes)
        yield scale_mistake(f"scales-transposed-{axes[0]}", "the scales are stored transposed", LAYOUT, turned)
    words = [word for word, b in zip(right.axes, right.granularity.block, strict=True) if b != WHOLE]
    for axis, word in enumerate(words):
        if scales.shape[axis] > 1:
            for step, of in ((-1, "next"), (1, "previous")):
                name, whose = f"scale-of-the-{of}-{word}", f"that of the {of} block along the {word}s"
                yield scale_mistake(name, f"each scale is {whose}", LAYOUT, partial(_shifted, scales, step, axis))


def _turned(scales: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    return np.swapaxes(scales, *axes)


def _shifted(scales: np.ndarray, step: int, axis: int) -> np.ndarray:
    moved = np.roll(scales, step, axis)
    moved[at(axis, -1 if step < 0 else 0, scales.ndim)] = np.nan  # cannot be predicted
    return moved


def moved_bytes(right: Quantized) -> Iterator[Mistake[Elements]]:
    codes, shape = right.codes, right.x.shape

    def place(e: Elements) -> tuple[np.ndarray, ...]:
        return np.unravel_index(e.at, shape)

    def turned(e: Elements) -> np.ndarray:
        *group, row, column = place(e)
        return np.asarray(codes[(*group, *divmod(column * shape[-2] + row, shape[-1]))])

    def turned_back(e: Elements) -> np.ndarray:
        *group, row, column = place(e)
        column, row = divmod(row * shape[-1] + column, shape[-2])
        return np.asarray(codes[(*group, row, column)])

    if len(shape) == 3:
        yield Mistake("bytes-of-group-0", "every group holds the bytes of group 0", GROUPS,
                      lambda e: codes[0][place(e)[1:]])  # fmt: skip
    for name, gives in (("bytes-transposed", turned_back), ("bytes-transposed-back", turned)):
        yield Mistake(name, "the bytes are stored transposed", LAYOUT, gives)

"""A wrong formula for the scale, from the right amax."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from grader.reference_kernels.mistakes.quantization.problem import (
    DIVISION,
    FLOOR,
    LARGEST,
    ROUNDING,
    Quantized,
    ScaleMistake,
    scale_mistake,
)
from grader.reference_kernels.quantization import AMAX_FLOOR, round_up_to_power_of_two

OTHER_LARGEST = {240: "E4M3 with Inf", 57344: "E5M2", 127: "int8", 256: "the top binade", 255: "uint8"}


def formulas(right: Quantized) -> Iterator[ScaleMistake]:
    amax, floored, scales = right.amax, np.maximum(right.amax, AMAX_FLOOR), right.scales
    sentence = "no floor under amax: the scale is amax / 448 even where amax is below 1e-6"
    yield scale_mistake("no-floor", sentence, FLOOR, lambda: amax / LARGEST)
    sentence = "the floor of 1e-6 belongs under amax, before the division by 448; here it is under the scale"
    yield scale_mistake("late-floor", sentence, FLOOR, lambda: np.maximum(amax / LARGEST, AMAX_FLOOR))
    sentence = "1e-6 is added to amax; it is a floor: fmaxf(amax, 1e-6f)"
    yield scale_mistake("floor-added", sentence, FLOOR, lambda: (amax + AMAX_FLOOR) / LARGEST)
    upside_down = "the scale is upside down: 448 / amax instead of amax / 448"
    yield scale_mistake("upside-down", upside_down, DIVISION, lambda: LARGEST / floored)
    yield scale_mistake("upside-down-unfloored", upside_down, DIVISION, lambda: LARGEST / amax)
    undivided = "the scale is amax itself: the division by 448 is missing"
    yield scale_mistake("amax-itself", undivided, DIVISION, lambda: floored)
    yield scale_mistake("amax-itself-unfloored", undivided, DIVISION, lambda: amax)
    for other, of in OTHER_LARGEST.items():
        sentence = f"amax is divided by {other} ({of}); the largest E4M3 value is 448"
        yield scale_mistake(f"divided-by-{other}", sentence, DIVISION, partial(np.divide, floored, np.float32(other)))
    sentence = "the scale is rounded up to a power of two, as in UE8M0; here it is amax / 448 in FP32"
    yield scale_mistake("power-of-two", sentence, ROUNDING, lambda: round_up_to_power_of_two(scales))
    sentence = "the scale is rounded down to a power of two; here it is amax / 448 in FP32"
    yield scale_mistake("power-of-two-below", sentence, ROUNDING, lambda: _mantissa_cut(scales))


def _mantissa_cut(scales: np.ndarray) -> np.ndarray:
    return (scales.view(np.uint32) & np.uint32(0x7F800000)).view(np.float32)

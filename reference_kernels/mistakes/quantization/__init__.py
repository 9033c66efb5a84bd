"""What scales, and what bytes for given scales, common mistakes in quantizing give; and which mistake it was.

Each is judged by itself: a scale agrees within a few ulp, a byte is right or wrong for the scale it came with.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8 import E4M3, is_nan
from grader.reference_kernels.mistakes.mistake import Cause, Mistake
from grader.reference_kernels.mistakes.quantization import byte_looks, scale_looks
from grader.reference_kernels.mistakes.quantization.amax import (
    along_the_row,
    half_a_warp,
    last_step,
    magnitudes,
    values,
)
from grader.reference_kernels.mistakes.quantization.blocks import ends, parts, sharing
from grader.reference_kernels.mistakes.quantization.conversions import CASTS, ROUNDINGS
from grader.reference_kernels.mistakes.quantization.formulas import formulas
from grader.reference_kernels.mistakes.quantization.other_scales import floor, of_some_block, other_scales
from grader.reference_kernels.mistakes.quantization.places import moved_bytes, moved_scales
from grader.reference_kernels.mistakes.quantization.problem import EACH, FEW, Elements, Quantized, ScaleMistake
from grader.reference_kernels.mistakes.search import Agreement, Output, Part, explain, find
from grader.reference_kernels.quantization_rules import SCALE_ULPS, admissible

__all__ = ["EACH", "Quantized", "byte_mistakes", "explain_codes", "explain_scales", "scale_mistakes"]

OWN_ARITHMETIC = 2  # ulps: a mistake's own arithmetic may round another way than ours


class Scales(Agreement[Array]):
    """Within a few ulp. A scale of zero or a negative one has its bits compared, too; NaN stands for ANYTHING."""

    numbers = 0.0  # some mistakes leave most places to chance

    def same(self, part: Part[Array], given: Array) -> Array:
        return np.abs(scale_looks.bits(part.got) - scale_looks.bits(given)) <= OWN_ARITHMETIC

    def wrong(self, part: Part[Array], given: Array) -> Array:
        return np.abs(scale_looks.bits(part.right) - scale_looks.bits(given)) > SCALE_ULPS

    def anything(self, given: Array) -> Array:
        return np.isnan(given)


class UnderOwnScale(Agreement[Elements]):
    """The same byte, or any NaN for a NaN; wrong is what does not encode x / scale with the scale that is stored."""

    few = FEW

    def same(self, part: Part[Elements], given: Array) -> Array:
        return (part.got == given) | (is_nan(part.got, E4M3) & is_nan(given, E4M3))

    def wrong(self, part: Part[Elements], given: Array) -> Array:
        wrong = (part.got != given) | part.wrong
        at, e = np.flatnonzero(wrong), part.inputs
        if at.size:
            wrong[at] = ~admissible(given[at], e.x[at], e.own[at], EACH)
        return wrong


def scale_mistakes(right: Quantized) -> Iterator[ScaleMistake]:
    """Most likely first; of those that leave elements out of amax, the one that leaves out the fewest."""
    few = (formulas, magnitudes, values, last_step, half_a_warp)
    many = (formulas, magnitudes, values, moved_scales, ends, last_step, half_a_warp, parts, sharing, along_the_row)
    return chain.from_iterable(family(right) for family in (few if right.few else many))


def byte_mistakes(right: Quantized) -> Iterator[Mistake[Elements]]:
    return chain(floor(right), ROUNDINGS, CASTS, other_scales(right), moved_bytes(right))


@np.errstate(all="ignore")  # a submission's scales may be anything
def explain_scales(right: Quantized, got: Array, wrong: Array) -> Cause | None:
    """Which mistake gives these scales, including the right ones; None if no known mistake does."""
    output = Output(got.ravel(), right.scales.ravel(), wrong.ravel(), lambda at: at, Scales())
    looks = (scale_looks.floor, partial(scale_looks.by_parts, right))
    glance = next(scale_looks.at_a_glance(output), None)
    if glance is None and right.few:
        glance = _of_a_few(output, right)
    return glance or explain(output, () if right.few else scale_mistakes(right), looks)


def _of_a_few(output: Output[Array], right: Quantized) -> Cause | None:
    """With few scales, leaving out different elements may give the same scales."""
    left_out = {mistake.name for mistake in chain(magnitudes(right), last_step(right), half_a_warp(right))}
    found = [cause for mistake in scale_mistakes(right) if (cause := find(output, (mistake,)))]
    if not found or not {cause.name for cause in found} <= left_out:
        return found[0] if found else None
    perhaps = ", or ".join(dict.fromkeys(cause.sentence for cause in found))
    sentence = f"some elements are left out of amax; perhaps {perhaps}"
    return Cause(" ".join(cause.name for cause in found), sentence, found[0].hint)


@np.errstate(all="ignore")
def explain_codes(right: Quantized, got: Array, scales: Array, wrong: Array) -> Cause | None:
    """Which mistake gives these bytes; `scales` are those stored with them."""
    codes = got.ravel()
    output = Output(
        codes,
        right.codes.ravel(),
        wrong.ravel(),
        lambda at: Elements(right, scales, at, codes[at]),
        UnderOwnScale(),
    )
    few = (byte_looks.near_ties,)
    many = (byte_looks.not_written, byte_looks.in_common, byte_looks.near_ties, of_some_block, byte_looks.by_size)
    glance = next(byte_looks.at_a_glance(output), None)
    return glance or explain(output, byte_mistakes(right), few if output.few else many)

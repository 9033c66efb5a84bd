"""BF16 results beside the right ones: when they agree with a mistake's, and what wrong ones say by themselves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8_grouped_gemm import from_bf16, to_bf16
from grader.reference_kernels.mistakes import untouched
from grader.reference_kernels.mistakes.fp8_grouped_gemm.problem import CODES, PRECISION, SCALES, SUM, Indices
from grader.reference_kernels.mistakes.mistake import UNWRITTEN, Cause
from grader.reference_kernels.mistakes.search import Agreement, Output, Part

# Usual error, relative to the usual result.
ROUNDED = 2.0**-7.6  # of less than this: of inputs, results or a few sums that lost bits, but are otherwise right
NEARLY = 2.0**-6  # of many sums that lost bits; and of A's scales of uniform numbers, if one is taken for another

Results = Output[Indices]


class Bits(Agreement[Indices]):
    """To the bit. What FP8 tensor cores lose changes the rounding of 1 element in 16; what FP32 loses, 1 in 1000."""

    likely = 0.9
    share = 0.93

    def same(self, part: Part[Indices], given: Array) -> Array:
        return (part.got == to_bf16(given)) | ((given == UNWRITTEN) & untouched.untouched(part.got))

    def wrong(self, part: Part[Indices], given: Array) -> Array:
        return np.asarray(part.right != to_bf16(given))

    def anything(self, given: Array) -> Array:
        return np.isnan(given)


def results(bits: Array, exact: Array, wrong: Array) -> Results:
    """All of (rows, columns). Mistakes take numbers of rows."""
    return Output(bits, to_bf16(exact), wrong, lambda rows: rows, Bits())


def look(results: Results) -> Iterator[Cause]:
    """What wrong results say, where no mistake is known to give them."""
    missing = untouched.untouched(results.got[results.wrong])
    got, right = from_bf16(results.got), from_bf16(results.right)
    bad = got[results.wrong]
    if missing.all():
        sentence = "the wrong elements were never written: too few blocks or threads, or a return before the store"
        yield Cause(untouched.NAME, sentence, untouched.HINT)
    elif (bad == 0).all():
        yield Cause("zero", "the wrong elements are all 0: nothing was added up for them", SUM)
    elif missing.any():
        return
    elif np.isnan(bad).any():
        sentence = "some results are NaN: as E5M2, codes from 0x7C on are Inf or NaN; as E4M3, only 0x7F is NaN"
        yield Cause("nan", sentence, CODES)
    elif np.isinf(bad).any():
        sentence = "some results are infinite: a sum overflowed; FP16 ends at 65504, and a product can be 448 * 448"
        yield Cause("overflow", sentence, PRECISION)
    elif (error := np.sqrt(np.mean((got - right) ** 2) / np.mean(right**2))) < ROUNDED:
        sentence = "all results are nearly right: a sum, an input or a result is kept in less than FP32"
        yield Cause("nearly-right", sentence, PRECISION)
    elif error < NEARLY:
        sentence = (
            "all results are off by about 1%: some get A's scale of another row or block, which is nearly the same "
            "here, or a sum is kept in less than FP32"
        )
        yield Cause("nearly-right", sentence, SCALES)

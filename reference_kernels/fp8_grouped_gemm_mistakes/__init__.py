"""What common mistakes make of an FP8 grouped GEMM: each in a sentence, and the C that it gives.

Those of any grouped GEMM (another group's matrix, part of the sum, elements never written) come from
grouped_gemm_mistakes, on the dequantized matrices.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reference_kernels.fp8_grouped_gemm import Operands
from reference_kernels.fp8_grouped_gemm_mistakes.codes import wrong_codes, wrong_places
from reference_kernels.fp8_grouped_gemm_mistakes.looks import look
from reference_kernels.fp8_grouped_gemm_mistakes.precision import not_reset, wrong_results, wrong_sums
from reference_kernels.fp8_grouped_gemm_mistakes.problem import Known, Problem
from reference_kernels.fp8_grouped_gemm_mistakes.scales import wrong_scales
from reference_kernels.fp8_grouped_gemm_mistakes.search import Bits, Flags, Results
from reference_kernels.grouped_gemm_mistakes.coverage import never_written
from reference_kernels.grouped_gemm_mistakes.groups import wrong_rows, wrong_weights
from reference_kernels.grouped_gemm_mistakes.sums import part_of_the_sum
from reference_kernels.grouped_gemm_mistakes.tiles import not_reset as tiles_not_reset
from reference_kernels.grouped_gemm_mistakes.tiles import same_tile

__all__ = ["Known", "Problem", "every_mistake", "explain"]

# From the most common to the rarest; where two give the same C, the first is told.
OF_FP8 = (wrong_scales, wrong_results, wrong_sums, not_reset, wrong_places, wrong_codes)
OF_ANY = (wrong_weights, wrong_rows, part_of_the_sum, never_written, same_tile, tiles_not_reset)


def every_mistake(problem: Problem) -> Iterator[Known]:
    for family in OF_FP8:
        yield from family(problem)
    for of_any in OF_ANY:
        yield from of_any(problem.dequantized)


def explain(operands: Operands, bits: Bits, exact: np.ndarray, wrong: Flags) -> Known | None:
    """The mistake that gives these results; else what they say by themselves."""
    return Results(bits, exact, wrong).find(every_mistake(Problem(operands, exact))) or look(bits, exact, wrong)

"""What common mistakes do to an FP8 grouped GEMM. They take row numbers of C.

Those of any grouped GEMM (another group's matrix, part of the sum, elements never written) come from grouped_gemm, on
the dequantized matrices.
"""

from __future__ import annotations

from collections.abc import Iterator

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.fp8_grouped_gemm import Operands
from grader.reference_kernels.mistakes.fp8_grouped_gemm.codes import wrong_codes, wrong_places
from grader.reference_kernels.mistakes.fp8_grouped_gemm.precision import not_reset, wrong_results, wrong_sums
from grader.reference_kernels.mistakes.fp8_grouped_gemm.problem import Indices, Problem
from grader.reference_kernels.mistakes.fp8_grouped_gemm.results import look, results
from grader.reference_kernels.mistakes.fp8_grouped_gemm.scales import wrong_scales
from grader.reference_kernels.mistakes.grouped_gemm import coverage, groups, sums, tiles
from grader.reference_kernels.mistakes.mistake import Cause, Mistake
from grader.reference_kernels.mistakes.search import explain as search
from grader.reference_kernels.mistakes.untouched import untouched

__all__ = ["Problem", "every_mistake", "explain"]

# From the most common to the rarest; where two give the same C, the first is named.
OF_FP8 = (wrong_scales, wrong_results, wrong_sums, not_reset, wrong_places, wrong_codes)
OF_ANY = (
    groups.wrong_weights,
    groups.wrong_rows,
    sums.part_of_the_sum,
    coverage.never_written,
    tiles.same_tile,
    tiles.not_reset,
)


def every_mistake(problem: Problem) -> Iterator[Mistake[Indices]]:
    for family in OF_FP8:
        yield from family(problem)
    for of_any in OF_ANY:
        yield from of_any(problem.dequantized)


def explain(operands: Operands, bits: Array, exact: Array, wrong: Array) -> Cause | None:
    """The mistake that gives these BF16 results; else what they say by themselves."""
    output = results(bits, exact, wrong)
    if untouched(bits).all() or not bits.any():
        return search(output, (), (look,))  # in a small case, many mistakes leave out everything
    return search(output, every_mistake(Problem(operands, exact)), (look,))

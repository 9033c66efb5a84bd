"""What common mistakes make of a grouped GEMM. They take numbers of rows of C.

Sums in FP32: exact enough to tell one mistake from another, and twice as fast. UNWRITTEN stands for an element
that the mistake never stores, ANYTHING for one that depends on memory outside the arrays.
"""

from __future__ import annotations

from collections.abc import Iterator

from grader.reference_kernels.mistakes.grouped_gemm.coverage import never_written
from grader.reference_kernels.mistakes.grouped_gemm.groups import wrong_rows, wrong_weights
from grader.reference_kernels.mistakes.grouped_gemm.layout import confused
from grader.reference_kernels.mistakes.grouped_gemm.precision import precision, slow_precision, whole_numbers
from grader.reference_kernels.mistakes.grouped_gemm.problem import Indices, Problem
from grader.reference_kernels.mistakes.grouped_gemm.sums import left_half_done, part_of_the_sum, wrong_steps
from grader.reference_kernels.mistakes.grouped_gemm.tiles import not_reset, same_tile
from grader.reference_kernels.mistakes.mistake import Mistake

__all__ = ["Problem", "every_mistake"]

# From the most common to the rarest; where two give the same C, the first is named.
FAMILIES = (
    wrong_weights,
    wrong_rows,
    confused,
    left_half_done,
    part_of_the_sum,
    wrong_steps,
    never_written,
    same_tile,
    not_reset,
    whole_numbers,
    precision,
    slow_precision,
)


def every_mistake(problem: Problem) -> Iterator[Mistake[Indices]]:
    for family in FAMILIES:
        yield from family(problem)

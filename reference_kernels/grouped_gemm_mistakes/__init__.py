"""What common mistakes make of a grouped GEMM: each in a sentence, and the C that it gives.

Sums in FP32: exact enough to tell one mistake from another, and twice as fast. UNWRITTEN stands for an element
that the mistake never stores, ANYTHING for one that depends on memory outside the arrays.
"""

from __future__ import annotations

from collections.abc import Iterator

from reference_kernels.grouped_gemm_mistakes.coverage import never_written
from reference_kernels.grouped_gemm_mistakes.groups import wrong_rows, wrong_weights
from reference_kernels.grouped_gemm_mistakes.layout import confused
from reference_kernels.grouped_gemm_mistakes.precision import precision, slow_precision
from reference_kernels.grouped_gemm_mistakes.problem import Known, Problem
from reference_kernels.grouped_gemm_mistakes.sums import part_of_the_sum, wrong_steps
from reference_kernels.grouped_gemm_mistakes.tiles import not_reset, same_tile

__all__ = ["Known", "Problem", "every_mistake"]

# From the most common to the rarest; where two give the same C, the first is told.
FAMILIES = (
    wrong_weights,
    wrong_rows,
    confused,
    part_of_the_sum,
    wrong_steps,
    never_written,
    same_tile,
    not_reset,
    precision,
    slow_precision,
)


def every_mistake(problem: Problem) -> Iterator[Known]:
    for family in FAMILIES:
        yield from family(problem)

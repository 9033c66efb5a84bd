"""What common mistakes do to an output, and which of them explains a wrong one.

    mistake.py     one mistake, and the cause that reports name
    search.py      the search: which mistake gives exactly these wrong elements
    numbers.py     FP32 results with a tolerance, and what they show by themselves
    untouched.py   elements that were never written

A folder for each subject holds its mistakes, a small file for each family: grouped_gemm, fp8, quantization,
fp8_grouped_gemm, moe_layer.
"""

from grader.reference_kernels.mistakes.mistake import ANYTHING, UNWRITTEN, Cause, Mistake

__all__ = ["ANYTHING", "UNWRITTEN", "Cause", "Mistake"]

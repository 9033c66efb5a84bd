"""The mathematics done wrong: what common mistakes make of an output, and which of them explains a wrong one.

    mistake.py     one mistake, and the cause that is named
    search.py      the one search: which mistake gives exactly these wrong elements
    numbers.py     FP32 results under a tolerance, and what they say by themselves
    untouched.py   what was never written

A folder for each subject holds its mistakes, a small file for each family: grouped_gemm, fp8, quantization,
fp8_grouped_gemm, moe_layer.
"""

from reference_kernels.mistakes.mistake import ANYTHING, UNWRITTEN, Cause, Mistake

__all__ = ["ANYTHING", "UNWRITTEN", "Cause", "Mistake"]

"""What wrong results say by themselves, where no mistake is known to give them."""

from __future__ import annotations

import numpy as np

from reference_kernels.fp8_grouped_gemm import from_bf16
from reference_kernels.fp8_grouped_gemm_mistakes.problem import CODES, PRECISION, Known
from reference_kernels.fp8_grouped_gemm_mistakes.search import EMPTY, Bits, Flags

WRITTEN, SUM = "elements-never-written", "the-sum-over-k"
NEARLY = 2.0**-6  # usual error, relative to the usual result, of a sum that lost bits but is otherwise right


def look(bits: Bits, exact: np.ndarray, wrong: Flags) -> Known | None:
    values = from_bf16(bits)
    bad = values[wrong]
    untouched = bits[wrong] == EMPTY
    if untouched.all():
        return _known(
            "never-written",
            "the wrong elements were never written: too few blocks or threads, or a return before the store",
            WRITTEN,
        )
    if (bad == 0).all():
        return _known("zero", "the wrong elements are all 0: nothing was added up for them", SUM)
    if not np.isfinite(values).all():
        if np.isinf(bad).any() and not np.isnan(bad).any() and not untouched.any():
            return _known(
                "overflow",
                "some results are infinite: a sum overflowed; FP16 ends at 65504, and codes go up to 448 * 448 each",
                PRECISION,
            )
        if np.isnan(bad).any() and not untouched.any():
            return _known(
                "nan",
                "some results are NaN: as E5M2, codes from 0x7C on are Inf or NaN; as E4M3, only 0x7F is NaN",
                CODES,
            )
        return None
    usual = float(np.sqrt(np.mean((values - exact) ** 2)))
    if usual < NEARLY * float(np.sqrt(np.mean(exact**2)) or 1):
        return _known(
            "nearly-right",
            "all results are nearly right: somewhere a sum, an input or a result is kept in less than FP32",
            PRECISION,
        )
    return None


def _known(name: str, sentence: str, topic: str) -> Known:
    return Known(name, sentence, topic, lambda rows: np.empty((len(rows), 0)))

"""How far FP8Linear and MoELayer may be from the same layers in exact arithmetic: a bound for each output.

Every rounding errs by at most some e, which is known: `element_bound` for quantization, 2^-9 of the value for BF16.
All of them could err in the same direction, but a bound that allows for this would be as large as the results. The
signs of rounding errors are random, as those of the weights are. So each error counts as uniform in [-e, e], with
variance e^2 / 3, and variances are carried through the layer; the bound is DEVIATIONS = 8 standard deviations of the
result. In the tests, right layers stay below a half of it, and layers with a mistake exceed it.

**A product.** With variances vx and vw of what the quantized x and w stand for

    variance of x @ w^T = sum of vx w^2 + x^2 vw + vx vw        over K

and 2^-9 of the result for its rounding to BF16. Tensor cores add what their accumulation loses: in each step of 32,
as fp8_grouped_gemm_error.py derives it, 10 truncations of less than u = 2^-13 T, where T is at most the sum of
|x| |w| over the block of 128: 40 / 3 * u^2 for its four steps. FP32 is far below that; so is a reference in FP32.

**SwiGLU.** |silu'| is below 1.1, so

    variance of silu(g) u = (1.1 u)^2 vg + silu(g)^2 vu + 1.1^2 vg vu

**The second product** takes h, of which only the variance is known. It is quantized as if it were larger by as many
deviations. **The sum** over a token's experts takes the squares of its weights. That the same experts are chosen is
assumed: the router's logits are in FP32 in both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.fp8_grouped_gemm_error import DEVIATIONS, FRACTION_BITS, STEP, TRUNCATIONS
from grader.reference_kernels.fp8_layers import FP32, INT32
from grader.reference_kernels.quantization import BLOCK_WISE, FINE_GRAINED, Granularity, compute_scales, spread
from grader.reference_kernels.quantization_error import element_bound

FP64 = NDArray[np.float64]

BLOCK = 128
BF16_ROUNDING, BF16_SMALLEST = 2.0**-9, 2.0**-134
SILU_SLOPE = 1.1
FP32_NOISE = 1e-6  # of the results' size: what FP32 sums may leave where everything cancels


class Bounded(NamedTuple):
    """Exact values, and the variance of the layer's errors."""

    values: FP64
    variance: FP64

    @property
    def error(self) -> FP64:
        """The bound."""
        noise = FP32_NOISE * float(np.abs(self.values).mean())
        bound: FP64 = DEVIATIONS * np.sqrt(self.variance) + noise + BF16_SMALLEST
        return bound


def linear(x: FP32, weight: FP32, bias: FP32 | None = None) -> Bounded:
    """FP8Linear: x (T, K), weight (N, K), bias (N)."""
    product = _product(Bounded(x.astype(np.float64), np.zeros(x.shape)), weight)
    return _rounded(product if bias is None else Bounded(product.values + bias, product.variance))


def moe(x: FP32, gate_up: FP32, down: FP32, experts: INT32, weights: FP32) -> Bounded:
    """MoELayer: x (T, H), gate_up (E, 2 * I, H), down (E, H, I), experts and weights (T, k)."""
    values, variance = np.zeros(x.shape), np.zeros(x.shape)
    for expert in range(len(gate_up)):
        tokens, slots = np.nonzero(experts == expert)
        if len(tokens) == 0:
            continue
        result = _rounded(_product(_swiglu(linear(x[tokens], gate_up[expert])), down[expert]))
        weight = weights[tokens, slots, None].astype(np.float64)
        values[tokens] += weight * result.values
        variance[tokens] += weight**2 * result.variance
    return _rounded(Bounded(values, variance))


def _product(x: Bounded, weight: FP32) -> Bounded:
    """x @ weight^T, before it is rounded to BF16."""
    reach = np.abs(x.values) + DEVIATIONS * np.sqrt(x.variance)
    vx = x.variance + _uniform(element_bound(reach, _scales(reach, FINE_GRAINED)))
    vw = _uniform(element_bound(weight, _scales(weight[None], BLOCK_WISE)[0]))
    size, w = np.abs(x.values), np.abs(weight.astype(np.float64))
    variance = vx @ (w**2 + vw).T + size**2 @ vw.T
    for k in range(0, w.shape[1], BLOCK):
        largest = size[:, k : k + BLOCK] @ w[:, k : k + BLOCK].T
        variance += BLOCK // STEP * TRUNCATIONS * _uniform(2.0**-FRACTION_BITS * largest)
    return Bounded(x.values @ weight.T.astype(np.float64), variance)


def _swiglu(gate_up: Bounded) -> Bounded:
    (g, u), (vg, vu) = (np.split(part, 2, axis=1) for part in gate_up)
    silu = g / (1 + np.exp(-g))
    return Bounded(silu * u, SILU_SLOPE**2 * vg * (u**2 + vu) + silu**2 * vu)


def _rounded(exact: Bounded) -> Bounded:
    return Bounded(exact.values, exact.variance + _uniform(BF16_ROUNDING * exact.values))


def _uniform(largest: FP64) -> FP64:
    """The variance of what is uniform between -largest and largest."""
    return largest**2 / 3


def _scales(x: NDArray[np.floating], granularity: Granularity) -> FP32:
    """Each element's own."""
    x = x.astype(np.float32)
    return np.asarray(spread(compute_scales(x, granularity), granularity, x.shape))

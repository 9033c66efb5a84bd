"""What the layers' operators compute, in NumPy: the definition of fp8_layers.cu, and what runs where there is no GPU.

Sizes: T tokens, E experts, k experts of a token, R = T * k rows, which are sorted by expert. BF16 comes as its bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.fp8_grouped_gemm import Operands, fp8_grouped_gemm, from_bf16, to_bf16
from grader.reference_kernels.quantization import (
    BLOCK_WISE,
    FINE_GRAINED,
    Granularity,
    compute_amax,
    quantize,
    spread,
)

FP32 = NDArray[np.float32]
INT32 = NDArray[np.int32]
BF16 = NDArray[np.uint16]
Quantized = tuple[NDArray[np.uint8], FP32]  # codes and scales


def quantize_rows(x: FP32) -> Quantized:
    """Activations (rows, K), 1x128. A block with NaN or Inf has the scale NaN, so that NaN comes out at the end."""
    if len(x) == 0:
        return np.empty(x.shape, np.uint8), np.empty((0, -(-x.shape[1] // 128)), np.float32)
    return _quantize(x, FINE_GRAINED)


def quantize_blocks(weights: FP32) -> Quantized:
    """Weights (groups, N, K), 128x128."""
    return _quantize(weights, BLOCK_WISE)


def _quantize(x: FP32, granularity: Granularity) -> Quantized:
    usable = np.isfinite(compute_amax(x, granularity))
    if usable.all():
        return quantize(x, granularity)
    keep = spread(usable.astype(np.float32), granularity, x.shape) > 0
    codes, scales = quantize(np.where(keep, x, np.float32(0)), granularity)
    return codes, np.where(usable, scales, np.float32(np.nan))


def grouped_product(operands: Operands, bias: FP32 | None) -> BF16:
    """C[g] = A[g] @ B[g]^T + bias[g], rounded to BF16 once. bias is (groups, N)."""
    if len(operands.A) == 0:
        return np.empty((0, operands.N), np.uint16)
    exact = fp8_grouped_gemm(operands)
    if bias is not None:
        exact += bias.repeat(operands.M_sizes, axis=0)
    return to_bf16(exact)


def route(logits: FP32, k: int, renormalize: bool) -> tuple[INT32, FP32]:
    """(experts, weights), both (T, k), best first; of equal logits the expert of the lowest number.

    The weights are the softmax over the k chosen logits, or over all of them if not `renormalize`. A NaN is never
    the best; a token that has nothing else gets the weights NaN.
    """
    ranked = np.where(np.isnan(logits), np.float32(-np.inf), logits)
    experts = np.argsort(-ranked, axis=1, kind="stable")[:, :k]
    with np.errstate(invalid="ignore"):
        powers = np.exp(ranked - ranked.max(axis=1, keepdims=True, initial=-np.inf))
    chosen = np.take_along_axis(powers, experts, axis=1)
    total = chosen if renormalize else powers
    return experts.astype(np.int32), chosen / total.sum(axis=1, keepdims=True)


def permute(experts: INT32, num_experts: int) -> tuple[INT32, INT32, INT32]:
    """(rows, tokens_of, M_sizes): the row of each of a token's copies (T, k), the token in each row (R), and how
    many rows each expert has (E). The rows of an expert are in the order of the tokens."""
    order = np.argsort(experts.ravel(), kind="stable")
    rows = np.empty(order.shape, np.int32)
    rows[order] = np.arange(len(order), dtype=np.int32)
    sizes = np.bincount(experts.ravel(), minlength=num_experts)
    tokens_of = order // max(1, experts.shape[1])
    return rows.reshape(experts.shape), tokens_of.astype(np.int32), sizes.astype(np.int32)


def quantize_permuted(x: FP32, tokens_of: INT32) -> Quantized:
    """The rows of a token's copies (R, K), quantized 1×128: those of `tokens_of`."""
    codes, scales = quantize_rows(x)
    return codes[tokens_of], scales[tokens_of]


def swiglu_quantize(gate_up: BF16) -> Quantized:
    """silu(gate) * up in FP32, quantized 1x128. gate_up (R, 2 * I): the gates, then what they let through."""
    gate, up = np.split(from_bf16(gate_up), 2, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        return quantize_rows(gate / (1 + np.exp(-gate)) * up)


def combine(y: BF16, rows: INT32, weights: FP32) -> BF16:
    """(T, N): the sum over a token's k rows of y, each times its weight, in FP32 and in the order of the slots."""
    results = from_bf16(y)
    total = np.zeros((len(rows), y.shape[1]), np.float32)
    for slot in range(rows.shape[1]):
        total += weights[:, slot, None] * results[rows[:, slot]]
    return to_bf16(total)

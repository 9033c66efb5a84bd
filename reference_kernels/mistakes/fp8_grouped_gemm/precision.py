"""Sums or results that are kept in too few bits, not reset, or stored in a format other than BF16."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.fp8_grouped_gemm import BLOCK, from_bf16, to_bf16
from grader.reference_kernels.mistakes.fp8_grouped_gemm.problem import BF16, PRECISION, SUM, Indices, Problem
from grader.reference_kernels.mistakes.mistake import Mistake

Narrow = Callable[[np.ndarray], np.ndarray]  # FP32 or FP64, rounded on the way


def wrong_results(p: Problem) -> Iterator[Mistake[Indices]]:
    """Right sums, stored wrongly."""
    formats: dict[str, tuple[str, Narrow]] = {
        "bf16-cut": ("the result is truncated to BF16, not rounded to nearest", _cut),
        "bf16-half-up": ("the result is rounded to BF16 away from zero, not to nearest", _away),
        "fp16-stored": ("C holds FP16 bits; it must hold BF16 bits", lambda c: from_bf16(_half(c).view(np.uint16))),
        "low-half-stored": ("C holds the low half of each FP32 sum; BF16 is the high half", _low_half),
        "integer-stored": ("C holds the sums as integers; it must hold BF16 bits", _integer),
    }
    for name, (sentence, to) in formats.items():
        yield Mistake(name, sentence, BF16, partial(_stored, p, to))


def wrong_sums(p: Problem) -> Iterator[Mistake[Indices]]:
    """Sums kept in 16 bits, block by block."""
    kept: dict[str, tuple[str, Narrow]] = {
        "bf16": ("BF16", lambda x: from_bf16(to_bf16(x))),
        "fp16": ("FP16", lambda x: _half(x).astype(np.float32)),
    }
    for name, (words, to) in kept.items():
        yield Mistake(
            f"{name}-totals",
            f"the total is kept in {words}, and rounded after each block of 128",
            PRECISION,
            partial(_blocks, p, _same, to),
        )
        overflow = ": without scales it overflows beyond 65504" if name == "fp16" else ""
        yield Mistake(
            f"{name}-block-sums",
            f"the sum of each block of 128 is kept in {words}, before it is scaled{overflow}",
            PRECISION,
            partial(_blocks, p, to, _same),
        )
    for name, (words, to) in kept.items():
        yield Mistake(
            f"{name}-inputs",
            f"A and B are dequantized to {words}, which rounds them",
            PRECISION,
            partial(_rounded_inputs, p, to),
        )


def not_reset(p: Problem) -> Iterator[Mistake[Indices]]:
    sentence = "the sum of a block of 128 still holds that of the blocks before it: it is not reset to 0"
    yield Mistake("not-reset-between-blocks", sentence, SUM, partial(_running, p))


def _running(p: Problem, rows: Indices) -> np.ndarray:
    """Every block's scales times the sum of all products so far."""
    o, result = p.operands, np.zeros((len(rows), p.N), np.float32)
    for group in np.unique(p.group[rows]):
        mine = p.group[rows] == group
        for block in range(p.k_blocks):
            k = slice((block + 1) * BLOCK)
            part = o.A_values[rows[mine], k] @ o.B_values[group, :, k].T
            result[mine] += part * o.A_scales[rows[mine], block, None] * p.column_scales[group, None, :, block]
    return result


def _stored(p: Problem, to: Narrow, rows: Indices) -> np.ndarray:
    return to(p.C[rows])


def _blocks(p: Problem, sums: Narrow, totals: Narrow, rows: Indices) -> np.ndarray:
    o, result = p.operands, np.zeros((len(rows), p.N), np.float32)
    for group in np.unique(p.group[rows]):
        mine = p.group[rows] == group
        for block in range(p.k_blocks):
            k = slice(block * BLOCK, (block + 1) * BLOCK)
            part = sums(o.A_values[rows[mine], k] @ o.B_values[group, :, k].T)
            scale = o.A_scales[rows[mine], block, None] * p.column_scales[group, None, :, block]
            result[mine] = totals(result[mine] + part * scale)
    return result


def _rounded_inputs(p: Problem, to: Narrow, rows: Indices) -> np.ndarray:
    d = p.dequantized
    return d.product(to(d.A[rows]), d.group[rows], lambda group: to(d.B[group]))


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _half(x: np.ndarray) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(x).astype(np.float16)


def _bits(x: np.ndarray) -> NDArray[np.uint32]:
    return np.ascontiguousarray(x, np.float32).view(np.uint32)


def _cut(x: np.ndarray) -> np.ndarray:
    return (_bits(x) & np.uint32(0xFFFF0000)).view(np.float32)


def _away(x: np.ndarray) -> np.ndarray:
    return ((_bits(x) + np.uint32(0xFFFF)) & np.uint32(0xFFFF0000)).view(np.float32)


def _low_half(x: np.ndarray) -> np.ndarray:
    return from_bf16((_bits(x) & 0xFFFF).astype(np.uint16))


def _integer(x: np.ndarray) -> np.ndarray:
    return from_bf16(np.trunc(x).astype(np.int64).astype(np.uint16))

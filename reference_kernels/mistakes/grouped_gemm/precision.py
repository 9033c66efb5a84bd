"""Less than FP32: inputs, results or the sum itself rounded to TF32, BF16, FP16 or a whole number."""

# ruff: noqa: N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from grader.reference_kernels.mistakes.grouped_gemm.problem import PRECISION, STEPS, Indices, Problem
from grader.reference_kernels.mistakes.mistake import Mistake

Narrow = Callable[[np.ndarray], np.ndarray]  # FP32 to FP32, rounded on the way

SLOW_WORK = 1 << 16  # K * N up to which the rounding of each single addition is emulated


def precision(p: Problem) -> Iterator[Mistake[Indices]]:
    formats: dict[str, tuple[str, Narrow]] = {
        "tf32": ("TF32 (10 mantissa bits)", partial(round_mantissa, bits=10)),
        "tf32-cut": ("TF32 (10 mantissa bits, the rest cut off)", partial(round_mantissa, bits=10, cut=True)),
        "bf16": ("BF16 (7 mantissa bits)", partial(round_mantissa, bits=7)),
        "bf16-cut": ("BF16 (7 mantissa bits, the rest cut off)", partial(round_mantissa, bits=7, cut=True)),
        "fp16": ("FP16 (10 mantissa bits)", _to_half),
    }
    for name, (words, to) in formats.items():
        for ending, what, of_a, of_b in (
            ("", "the inputs were", to, to),
            ("-a", "A was", to, _kept),
            ("-b", "B was", _kept, to),
        ):
            values = partial(_rounded_inputs, p, of_a, of_b)
            yield Mistake(name + ending, f"{what} rounded to {words}", PRECISION, values)
    for name, (words, to) in formats.items():
        sentence = f"the sums were rounded to {words} at the end"
        yield Mistake(f"{name}-result", sentence, PRECISION, partial(_rounded_result, p, to))


def slow_precision(p: Problem) -> Iterator[Mistake[Indices]]:
    """A sum that is itself kept in 16 bits, product by product in the order of k."""
    if p.K * p.N > SLOW_WORK:
        return
    formats: dict[str, tuple[str, Narrow]] = {
        "fp16": ("FP16", _to_half),
        "bf16": ("BF16", partial(round_mantissa, bits=7)),
    }
    for name, (words, to) in formats.items():
        sentence = f"the sum is kept in {words}, so each of its K additions rounds"
        yield Mistake(f"{name}-sum", sentence, PRECISION, partial(_narrow_sum, p, to, False))
        sentence = f"inputs and sum are kept in {words}, so each of the K additions rounds"
        yield Mistake(f"{name}-sum-and-inputs", sentence, PRECISION, partial(_narrow_sum, p, to, True))


def whole_numbers(p: Problem) -> Iterator[Mistake[Indices]]:
    """A sum in an int. Where each product is added alone, inputs below 1 leave nothing but 0."""
    for step in STEPS:
        if step < p.K:
            sentence = f"the sum is an int: after each step along K ({step} long) it is truncated to an integer"
            yield Mistake(f"int-sum-{step}", sentence, PRECISION, partial(_int_sum, p, step))


def _int_sum(p: Problem, step: int, rows: Indices) -> np.ndarray:
    total = np.zeros((len(rows), p.N), np.float32)
    for begin in range(0, p.K, step):
        k = slice(begin, begin + step)
        total = np.trunc(total + p.product(p.A[rows, k], p.group[rows], lambda g, k=k: p.B[g][k]))  # type: ignore[misc]
    return total


def _rounded_inputs(p: Problem, of_a: Narrow, of_b: Narrow, rows: Indices) -> np.ndarray:
    return p.product(of_a(p.A[rows]), p.group[rows], lambda g: of_b(p.B[g]))


def _rounded_result(p: Problem, to: Narrow, rows: Indices) -> np.ndarray:
    return to(p.C[rows].astype(np.float32))


def _kept(values: np.ndarray) -> np.ndarray:
    return values


def _narrow_sum(p: Problem, to: Narrow, inputs: bool, rows: Indices) -> np.ndarray:
    total = np.zeros((len(rows), p.N), np.float32)
    for group in np.unique(p.group[rows]):
        mine = p.group[rows] == group
        A, B = p.A[rows][mine], p.B[group]
        if inputs:
            A, B = to(A), to(B)
        part = np.zeros((len(A), p.N), np.float32)
        for k in range(p.K):
            part = to(part + A[:, k, None] * B[k])
        total[mine] = part
    return total


def _to_half(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def round_mantissa(values: np.ndarray, *, bits: int, cut: bool = False) -> np.ndarray:
    """FP32 with the mantissa rounded to nearest even, or cut, to `bits` bits: TF32 has 10, BF16 7."""
    raw = np.ascontiguousarray(values, np.float32).view(np.uint32)
    dropped = 23 - bits
    if not cut:
        half = np.uint32((1 << (dropped - 1)) - 1)
        raw = raw + half + ((raw >> np.uint32(dropped)) & np.uint32(1))
    return (raw & np.uint32(~((1 << dropped) - 1) & 0xFFFFFFFF)).view(np.float32)

"""The products: the mistakes of any grouped GEMM, and those that the masked layout and SwiGLU add."""

# ruff: noqa: N806 - matrices are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from grader.reference_kernels.mistakes.grouped_gemm import Problem, every_mistake
from grader.reference_kernels.mistakes.grouped_gemm.problem import take
from grader.reference_kernels.mistakes.mistake import UNWRITTEN, Mistake
from grader.reference_kernels.mistakes.moe_layer.activation import other_activations
from grader.reference_kernels.mistakes.moe_layer.problem import CAPACITY, FORMATS, PRECISION, SWIGLU
from grader.reference_kernels.moe import Layer, swiglu

Rows = Mistake[np.ndarray]  # takes numbers of rows


def of_gate_up(layer: Layer, right: np.ndarray) -> Iterator[Rows]:
    yield from _of_any(Problem(layer.given["A"], layer.W_gate_up, layer.given["M_sizes"], right))


def of_down(layer: Layer, right: np.ndarray) -> Iterator[Rows]:
    yield from _of_any(Problem(layer.given["h"], layer.W_down, layer.given["M_sizes"], right))


def of_masked_down(layer: Layer, right: np.ndarray) -> Iterator[Rows]:
    """All rows that are filled, expert by expert, as if the layout were contiguous."""
    h = layer.given["h_masked"]
    problem = Problem(h[layer.present], layer.W_down, layer.kept, right)
    yield from _at_the_counts(problem, h)
    yield from _of_any(problem)


def of_masked_gate_up(layer: Layer, gate_up: np.ndarray) -> Iterator[Rows]:
    """The same, through SwiGLU. `gate_up`: the right product of the rows that are filled."""
    A = layer.given["A_masked"]
    problem = Problem(A[layer.present], layer.W_gate_up, layer.kept, gate_up)
    for name, (sentence, function) in other_activations().items():
        yield Mistake(name, sentence, SWIGLU, _activated(lambda rows: gate_up[rows], function))
    for mistake in (*_at_the_counts(problem, A), *_of_any(problem)):
        yield mistake._replace(gives=_activated(mistake.gives, swiglu))
    for name, (words, to) in FORMATS.items():
        sentence = f"h is rounded to {words}"
        yield Mistake(f"h-{name}", sentence, PRECISION, lambda rows, to=to: to(swiglu(gate_up[rows])))  # type: ignore[misc]


def _of_any(p: Problem) -> Iterator[Rows]:
    """What any grouped GEMM does wrong; TF32 also as cvt.rna rounds to it, ties away from zero."""
    sentence = "the inputs were rounded to TF32 (10 mantissa bits)"
    yield Mistake("tf32-away", sentence, PRECISION,
                  lambda rows: p.product(_tf32(p.A[rows]), p.group[rows], lambda g: _tf32(p.B[g])))  # fmt: skip
    yield from every_mistake(p)


def _tf32(x: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def _at_the_counts(p: Problem, masked: np.ndarray) -> Iterator[Rows]:
    def gives(rows: np.ndarray) -> np.ndarray:
        return p.product(take(masked, p.offsets[p.group[rows]] + p.local[rows]), p.group[rows])

    sentence = (
        "an expert's rows are read from where the ones before end; in the masked layout they start at e * capacity"
    )
    yield Mistake("masked-at-the-counts", sentence, CAPACITY, gives)


def _activated(
    gives: Callable[[np.ndarray], np.ndarray], function: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """gate_up after SwiGLU. Where gate or up was never stored, h was not either."""

    def activated(rows: np.ndarray) -> np.ndarray:
        given = gives(rows)
        missing = np.isposinf(given)
        halves = np.split(missing, 2, axis=1)
        return np.where(halves[0] | halves[1], UNWRITTEN, function(np.where(missing, 0, given)))

    return activated

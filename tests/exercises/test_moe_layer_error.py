"""The bounds of exercise 06 are not loose: less than FP32 anywhere exceeds them in every required case.

That they are not tight either, tests/kernels/test_moe_correct.py shows: right kernels leave half of them unused.
"""

# ruff: noqa: N806 - matrices are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.reference_kernels import moe, moe_rules
from grader.reference_kernels.grouped_gemm import grouped_gemm
from grader.reference_kernels.mistakes.grouped_gemm.precision import round_mantissa
from grader.reference_kernels.moe import Layer
from tests.kernels.test_moe_correct import layer_of

EXERCISE = catalog.read(Path(__file__).parents[2] / "exercises" / "06_moe_layer")

Narrow = Callable[[np.ndarray], np.ndarray]
Outputs = dict[str, np.ndarray]


def tf32(x: np.ndarray) -> np.ndarray:
    return round_mantissa(np.asarray(x, np.float32), bits=10)


def bf16(x: np.ndarray) -> np.ndarray:
    return round_mantissa(np.asarray(x, np.float32), bits=7)


def fp16(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.float32).astype(np.float16).astype(np.float32)


FORMATS: dict[str, Narrow] = {"TF32": tf32, "BF16": bf16, "FP16": fp16}


@cache
def required(name: str) -> tuple[Layer, Outputs]:
    oracle = Oracle(EXERCISE)
    case = next(case for case in oracle.cases(5) if case.name == name)
    return layer_of(case), oracle.expected(case)


def in_slots(layer: Layer, rows: np.ndarray) -> np.ndarray:
    g = layer.given
    return moe.moved(rows, g["row"], g["slot"], layer.num_experts * layer.capacity)


def inputs_of_products(layer: Layer, to: Narrow) -> Outputs:
    g = layer.given
    gate_up = grouped_gemm(to(g["A"]), to(layer.W_gate_up), g["M_sizes"])
    out = grouped_gemm(to(g["h"]), to(layer.W_down), g["M_sizes"])
    return {
        "gate_up_product": gate_up,
        "down_out": out,
        "masked_gate_up_h": in_slots(layer, moe.swiglu(gate_up)),
        "masked_down_out": in_slots(layer, out),
    }


def weights_only(layer: Layer, to: Narrow) -> Outputs:
    """One of the two inputs alone."""
    g = layer.given
    gate_up = grouped_gemm(g["A"], to(layer.W_gate_up), g["M_sizes"])
    return {"gate_up_product": gate_up, "masked_gate_up_h": in_slots(layer, moe.swiglu(gate_up))}


def results(layer: Layer, to: Narrow) -> Outputs:
    _, right = required_of(layer)
    return {name: to(right[name]) for name in ("route_weight", *moe_rules.BOUNDS)}


def logits(layer: Layer, to: Narrow) -> Outputs:
    weights = moe.softmax(to(layer.logits))
    return {"route_weight": np.take_along_axis(weights, layer.given["expert"], axis=1)}


def inputs_of_the_rest(layer: Layer, to: Narrow) -> Outputs:
    g = layer.given
    return {
        "swiglu_h": moe.swiglu(to(g["gate_up"])),
        "masked_gate_up_h": in_slots(layer, moe.swiglu(to(g["gate_up"]))),
        "combine_y": moe.combine(to(g["out"]), g["row"], g["weight"]),
        "masked_combine_y": moe.combine(g["out_masked"], g["slot"], to(g["weight"])),
    }


def sums(layer: Layer, to: Narrow) -> Outputs:
    """The smallest expert's product, added in the order of k: every partial sum is rounded."""
    g = layer.given
    expert = int(np.argmin(g["M_sizes"]))
    rows = slice(g["group_offsets"][expert], g["group_offsets"][expert + 1])
    A, W = g["A"][rows], layer.W_gate_up[expert]
    total = np.zeros((len(A), W.shape[1]), np.float32)
    for k in range(len(W)):
        total = to(total + np.outer(A[:, k], W[k]))
    product = required_of(layer)[1]["gate_up_product"].copy()
    product[rows] = total
    return {"gate_up_product": product}


def one_product_missing(layer: Layer, _: Narrow) -> Outputs:
    """The last of each sum. No format: the smallest mistake that a loop can make."""
    g = layer.given
    return {
        "gate_up_product": grouped_gemm(g["A"][:, :-1], layer.W_gate_up[:, :-1], g["M_sizes"]),
        "down_out": grouped_gemm(g["h"][:, :-1], layer.W_down[:, :-1], g["M_sizes"]),
    }


def required_of(layer: Layer) -> tuple[Layer, Outputs]:
    return next(known for known in map(required, EXERCISE.cases) if known[0] is layer)


WRONG = (inputs_of_products, weights_only, results, logits, inputs_of_the_rest, sums, one_product_missing)


@pytest.mark.parametrize("mistake", WRONG, ids=lambda mistake: mistake.__name__)
@pytest.mark.parametrize("case", EXERCISE.cases)
def test_less_than_fp32_exceeds_the_bound_of_its_stage(
    case: str, mistake: Callable[[Layer, Narrow], Outputs]
) -> None:
    layer, right = required(case)
    for name, to in FORMATS.items():
        for output, values in mistake(layer, to).items():
            got = {**right, output: values}
            wrong, _ = moe_rules.judged(output, layer, got, right)
            assert wrong.any(), (name, output)


@pytest.mark.parametrize("case", EXERCISE.cases)
def test_fp32_itself_is_right(case: str) -> None:
    """NumPy's own products and exponentials, with half of what is allowed."""
    layer, right = required(case)
    g = layer.given
    halves = {name: bound(layer) / 2 for name, bound in moe_rules.BOUNDS.items()}
    gate_up = np.concatenate([g["A"][first:end] @ layer.W_gate_up[e] for e, (first, end) in enumerate(
        zip(g["group_offsets"], g["group_offsets"][1:], strict=False))])  # fmt: skip
    gate, up = np.split(g["gate_up"], 2, axis=1)
    found = {
        "gate_up_product": gate_up,
        "swiglu_h": gate / (1 + np.exp(-gate)) * up,
        "combine_y": sum(g["weight"][:, j, None] * g["out"][g["row"][:, j]] for j in range(layer.top_k)),
    }
    for name, values in found.items():
        assert values.dtype == np.float32
        assert (np.abs(values - right[name]) <= halves[name]).all(), name

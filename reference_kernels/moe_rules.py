"""Which results of the stages of exercise 06 are right, and how far a right one may be from the exact number.

Integers, and rows that are only moved, must be exact. Every other bound is derived from FP32 arithmetic. u = 2^-24 is
half an ulp of 1: one rounding changes a number x by at most u |x|.

**A sum of K products**, added in any order, by FMA or not: each product passes at most K roundings, or K + 1 with
room for three-term splits on tensor cores. So |error| <= (K + 1) u sum |a_k b_k|, and sum |a_k b_k| <= |a| |b|, the
lengths of the row and the column (the Cauchy-Schwarz inequality): no second product is needed. Inputs rounded to TF32
or FP16 are off by up to 2^-11 = 8192 u each: far more, as long as K is a few hundred.

**An exponential.** expf is off by at most 2 ulp = 4 u, __expf by 2 + 1.16 |x| ulp (CUDA programming guide), and a
rounded argument x changes exp(x) by u |x|. Together at most (4 + 3.4 |x|) u. `_exponential` is that.

**A softmax weight** has its own exponential, the sum's (each weighted by its share), one addition for each expert,
and a division (2 ulp). Nobody says what is subtracted from the logits: |x| is the larger of |logit| and max - logit.

**SwiGLU.** g / (1 + exp(-g)) * up: the exponential, an addition, a division (2 ulp), a multiplication. Where g is
very negative, the sigmoid is tiny; there 2 u |g up| is allowed, which admits tanh, and an exp(-g) that overflows.

**Combining** k rows: k products, k additions: 2 k roundings.

**Gated product.** The errors of gate and up go through silu, whose slope is at most 1.1.
"""

# ruff: noqa: N803, N806 - matrices are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.grouped_gemm import group_offsets
from grader.reference_kernels.moe import Doubles, Floats, Ints, Layer, moved, scatter, sigmoid, softmax

U = 2.0**-24
TINY = 2.0**-125  # of a weight: what FP32 loses where it has only subnormals
STEEPEST = 1.1  # slope of silu

Bools = NDArray[np.bool_]


Outputs = Mapping[str, np.ndarray]
Verdict = tuple[Bools, np.ndarray]  # which elements are wrong, and what they should be
Rule = Callable[[Layer, Outputs, Outputs], Verdict]


def judged(name: str, layer: Layer, got: Outputs, right: Outputs) -> Verdict:
    """One output. All of `got` have the shapes of `right`, and may hold anything."""
    if name in RULES:
        return RULES[name](layer, got, right)
    bound = BOUNDS[name](layer)
    return beyond(got[name], right[name], bound) & ~np.isnan(bound), right[name]


# ---- integers, and rows that are moved


def _exact(name: str) -> Rule:
    return lambda _, got, right: (got[name] != right[name], right[name])


def _weights(layer: Layer, got: Outputs, right: Outputs) -> Verdict:
    """Of the expert that the submission chose or of the one it should have: a wrong choice is wrong only once."""
    chosen = got["route_expert"]
    exists = (chosen >= 0) & (chosen < layer.num_experts)
    weights = softmax(layer.logits)
    bounds = weight_bound(layer.logits, weights)

    def differ(expert: Ints) -> Bools:
        exact, bound = (np.take_along_axis(values, expert, axis=1) for values in (weights, bounds))
        return beyond(got["route_weight"], exact, bound)

    at = np.where(exists, chosen, right["route_expert"])
    return differ(at) & differ(right["route_expert"]), np.take_along_axis(weights, at, axis=1)


def _rows(layer: Layer, got: Outputs, _: Outputs) -> Verdict:
    """Each assignment has a row of its own, among those of its expert."""
    row, expert, offsets = got["scatter_row"], layer.given["expert"], layer.given["group_offsets"]
    wrong = (row < offsets[expert]) | (row >= offsets[expert + 1])
    return wrong | _taken(layer, got["scatter_A"], row, ~wrong), layer.given["row"]


def _slots(layer: Layer, got: Outputs, _: Outputs) -> Verdict:
    """The same; dropped are only those for which there is no room."""
    slot, expert = got["masked_scatter_slot"], layer.given["expert"]
    first, dropped = expert * layer.capacity, slot == layer.slots
    dropped_of = np.bincount(expert[dropped], minlength=layer.num_experts)
    too_many = (dropped_of > layer.given["M_sizes"] - layer.kept)[expert]
    outside = (slot < first) | (slot >= first + layer.kept[expert])
    wrong = np.where(dropped, too_many, outside)
    return wrong | _taken(layer, got["masked_scatter_A"], slot, ~wrong & ~dropped), layer.given["slot"]


def _taken(layer: Layer, A: Floats, place: Ints, valid: Bools) -> Bools:
    """Which places are another assignment's. Of those that share one, it belongs to the one that A has there."""
    assignment = np.flatnonzero(valid)
    at = place.ravel()[assignment]
    there = (A[at].view(np.uint32) == layer.x[assignment // layer.top_k].view(np.uint32)).all(axis=1)
    order = np.lexsort((assignment, ~there, at))
    later = np.flatnonzero(np.diff(at[order]) == 0) + 1
    taken = np.zeros(place.size, bool)
    taken[assignment[order[later]]] = True
    return taken.reshape(place.shape)


def _copies(place: str, name: str) -> Rule:
    """A cannot be judged as long as a place is wrong; then only rows that an assignment has."""

    def rule(layer: Layer, got: Outputs, right: Outputs) -> Verdict:
        A, at = got[name], got[place]
        wanted = scatter(layer.x, np.where(at < 0, len(A), at), len(A))
        if RULES[place](layer, got, right)[0].any():
            return np.zeros(A.shape, bool), wanted
        named = ~np.isnan(wanted).any(axis=1, keepdims=True)
        return (A.view(np.uint32) != wanted.view(np.uint32)) & named, wanted

    return rule


RULES: dict[str, Rule] = {
    "route_expert": _exact("route_expert"),
    "route_weight": _weights,
    "count_M_sizes": _exact("count_M_sizes"),
    "offsets_group_offsets": _exact("offsets_group_offsets"),
    "scatter_row": _rows,
    "scatter_A": _copies("scatter_row", "scatter_A"),
    "masked_scatter_slot": _slots,
    "masked_scatter_A": _copies("masked_scatter_slot", "masked_scatter_A"),
}


# ---- what FP32 arithmetic may lose: for every element of an output; NaN where there is nothing to judge


def _gate_up(layer: Layer) -> Doubles:
    return product_bound(layer.given["A"], layer.W_gate_up, layer.given["M_sizes"])


def _swiglu(layer: Layer) -> Doubles:
    return swiglu_bound(layer.given["gate_up"])


def _down(layer: Layer) -> Doubles:
    return product_bound(layer.given["h"], layer.W_down, layer.given["M_sizes"])


def _combine(layer: Layer) -> Doubles:
    return combine_bound(layer.given["out"], layer.given["row"], layer.given["weight"])


def _masked_gate_up(layer: Layer) -> Doubles:
    return _in_slots(layer, gated_bound(layer.given["gate_up"].astype(np.float64), _gate_up(layer)))


def _masked_down(layer: Layer) -> Doubles:
    return _in_slots(layer, _down(layer))


def _masked_combine(layer: Layer) -> Doubles:
    return combine_bound(layer.given["out_masked"], layer.given["slot"], layer.given["weight"])


def _in_slots(layer: Layer, bound: Doubles) -> Doubles:
    """The masked layout has the same rows at other places."""
    return moved(bound, layer.given["row"], layer.given["slot"], layer.slots)


BOUNDS: dict[str, Callable[[Layer], Doubles]] = {
    "gate_up_product": _gate_up,
    "swiglu_h": _swiglu,
    "down_out": _down,
    "combine_y": _combine,
    "masked_gate_up_h": _masked_gate_up,
    "masked_down_out": _masked_down,
    "masked_combine_y": _masked_combine,
}


# ---- the bounds, as derived above


def _exponential(x: Doubles) -> Doubles:
    return (4 + 3.4 * np.abs(x)) * U


def weight_bound(logits: Floats, weights: Doubles) -> Doubles:
    """Of every weight (num_tokens, num_experts); `weights` are the exact ones."""
    exact = logits.astype(np.float64)
    powers = _exponential(np.maximum(np.abs(exact), exact.max(axis=1, keepdims=True) - exact))
    of_sum = (weights * powers).sum(axis=1, keepdims=True)
    return np.asarray(weights * (powers + of_sum + (logits.shape[1] + 4) * U) + TINY)


def product_bound(A: Floats, B: Floats, M_sizes: np.ndarray) -> Doubles:
    """Of every element of a grouped product (rows, N): A (rows, K), B (groups, K, N)."""
    K = A.shape[1]
    bound = np.empty((len(A), B.shape[2]))
    offsets = group_offsets(M_sizes)
    lengths = np.sqrt((A.astype(np.float64) ** 2).sum(axis=1))
    columns = np.sqrt(np.einsum("gkn,gkn->gn", B, B, dtype=np.float64))
    for group in range(len(B)):
        rows = slice(offsets[group], offsets[group + 1])
        np.outer(lengths[rows], columns[group], out=bound[rows])
    return np.asarray(bound * ((K + 1) * U))


def swiglu_bound(gate_up: Floats) -> Doubles:
    """Of silu(gate) * up."""
    gate, up = np.split(gate_up.astype(np.float64), 2, axis=1)
    return np.asarray(np.abs(gate * up) * (sigmoid(gate) * (_exponential(gate) + 7 * U) + 2 * U))


def gated_bound(gate_up: Doubles, of_products: Doubles) -> Doubles:
    """Of silu(gate) * up, where gate and up are products with these bounds themselves."""
    gate, up = np.split(gate_up, 2, axis=1)
    of_gate, of_up = np.split(of_products, 2, axis=1)
    silu = np.abs(gate * sigmoid(gate))
    through = STEEPEST * of_gate * (np.abs(up) + of_up) + silu * of_up
    return np.asarray(through + swiglu_bound(gate_up))


def combine_bound(out: Floats, place: Ints, weight: Floats) -> Doubles:
    """Of y (num_tokens, hidden)."""
    magnitude = np.zeros((len(place), out.shape[1]))
    for choice in range(place.shape[1]):
        kept = place[:, choice] < len(out)
        magnitude[kept] += np.abs(weight[kept, choice, None].astype(np.float64) * out[place[kept, choice]])
    return np.asarray(2 * place.shape[1] * U * magnitude)


def beyond(got: Floats, exact: Doubles, bound: Doubles) -> Bools:
    """Which are wrong; NaN is."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(~(np.abs(got.astype(np.float64) - exact) <= bound))

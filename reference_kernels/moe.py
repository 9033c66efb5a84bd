"""A Mixture-of-Experts layer, stage by stage: the definition that exercise 06 is judged by.

Each token is sent to the top_k experts with the largest logits. An expert is a gated feed-forward network:

    gate_up = rows @ W_gate_up[e]        (rows, 2 * intermediate): the gate's columns, then up's
    h       = silu(gate) * up            (rows, intermediate); silu(g) = g / (1 + exp(-g))
    out     = h @ W_down[e]              (rows, hidden)

A token's result is the sum of its experts' rows, each times its weight: the softmax over all logits, at that expert.

One *assignment* is a token and one of its experts. In the contiguous layout, the assignments' rows are stacked expert
by expert; in the masked layout, each expert has room for `capacity` rows, and what does not fit is dropped. Its place
is then one past the last; not -1, because an output that was never written holds that.
"""

# ruff: noqa: N806 - matrices are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from grader.reference_kernels.grouped_gemm import group_offsets, grouped_gemm

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Layer:
    """One problem with everything that a stage is given: each gets the right results of the stages before it."""

    logits: Floats  # (num_tokens, num_experts)
    x: Floats  # (num_tokens, hidden)
    W_gate_up: Floats  # (num_experts, hidden, 2 * intermediate)
    W_down: Floats  # (num_experts, intermediate, hidden)
    top_k: int
    capacity: int
    given: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], top_k: int, capacity: int) -> Layer:
        """From every array by name."""
        given = dict(arrays)
        logits, x, W_gate_up, W_down = (given.pop(name) for name in ("logits", "x", "W_gate_up", "W_down"))
        return cls(logits, x, W_gate_up, W_down, top_k, capacity, given)

    @property
    def num_tokens(self) -> int:
        return len(self.logits)

    @property
    def num_experts(self) -> int:
        return int(self.logits.shape[1])

    @property
    def hidden(self) -> int:
        return int(self.x.shape[1])

    @property
    def intermediate(self) -> int:
        return int(self.W_down.shape[1])

    @property
    def rows(self) -> int:
        return self.num_tokens * self.top_k

    @property
    def slots(self) -> int:
        """Rows of the masked layout; also the slot of an assignment that is dropped."""
        return self.num_experts * self.capacity

    @cached_property
    def kept(self) -> NDArray[np.intp]:
        """How many rows each expert has in the masked layout."""
        return np.asarray(np.minimum(self.given["M_sizes"], self.capacity), np.intp)

    @cached_property
    def present(self) -> NDArray[np.intp]:
        """The rows of the masked layout that belong to an assignment, expert by expert."""
        return np.concatenate([e * self.capacity + np.arange(count) for e, count in enumerate(self.kept)])


def completed(layer: Layer, rng: np.random.Generator) -> Layer:
    """The layer with every intermediate result, floats rounded to FP32. The order of an expert's rows is drawn."""
    expert, weight = route(layer.logits, layer.top_k)
    sizes = count(expert, layer.num_experts)
    row = place(expert, rng)
    slot = place_masked(expert, layer.num_experts, layer.capacity, rng)
    given: dict[str, np.ndarray] = {
        "expert": expert,
        "weight": weight.astype(np.float32),
        "M_sizes": sizes,
        "group_offsets": group_offsets(sizes),
        "row": row,
        "slot": slot,
    }
    A = scatter(layer.x, row, layer.rows)
    gate_up = grouped_gemm(A, layer.W_gate_up, sizes).astype(np.float32)
    h = swiglu(gate_up).astype(np.float32)
    out = grouped_gemm(h, layer.W_down, sizes).astype(np.float32)
    given |= {"A": A, "gate_up": gate_up, "h": h, "out": out}
    # An assignment's row is the same in both layouts.
    for name in ("A", "h", "out"):
        given[f"{name}_masked"] = moved(given[name], row, slot, layer.slots)
    return Layer(layer.logits, layer.x, layer.W_gate_up, layer.W_down, layer.top_k, layer.capacity, given)


def route(logits: Floats, top_k: int) -> tuple[Ints, Doubles]:
    """Experts and weights (num_tokens, top_k), the largest logit first. Of equal logits, the smaller index is first.

    0.0 and -0.0 are equal.
    """
    expert = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
    return expert.astype(np.int32), np.take_along_axis(softmax(logits), expert, axis=1)


def softmax(logits: Floats) -> Doubles:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def count(expert: Ints, num_experts: int) -> Ints:
    """Assignments of each expert."""
    return np.bincount(expert.ravel(), minlength=num_experts).astype(np.int32)


def place(expert: Ints, rng: np.random.Generator) -> Ints:
    """A row for each assignment, among those of its expert, in any order."""
    row = np.empty(expert.size, np.int32)
    row[_by_expert(expert, rng)] = np.arange(expert.size)
    return row.reshape(expert.shape)


def place_masked(expert: Ints, num_experts: int, capacity: int, rng: np.random.Generator) -> Ints:
    """A slot for each assignment, e * capacity + i; num_experts * capacity for those that have no room."""
    order = _by_expert(expert, rng)
    experts = expert.ravel()[order]
    number = np.arange(expert.size) - group_offsets(count(expert, num_experts))[experts]
    slot = np.empty(expert.size, np.int32)
    slot[order] = np.where(number < capacity, experts * capacity + number, num_experts * capacity)
    return slot.reshape(expert.shape)


def _by_expert(expert: Ints, rng: np.random.Generator) -> NDArray[np.intp]:
    """The assignments, expert by expert, those of one expert in an order that is drawn."""
    shuffled = rng.permutation(expert.size)
    return shuffled[np.argsort(expert.ravel()[shuffled], kind="stable")]


def scatter(x: Floats, place: Ints, room: int) -> Floats:
    """(room, hidden): the token of each assignment at its place; NaN where there is none."""
    A = np.full((room, x.shape[1]), np.nan, np.float32)
    token, choice = np.nonzero(place < room)
    A[place[token, choice]] = x[token]
    return A


def moved(values: np.ndarray, row: Ints, slot: Ints, room: int) -> np.ndarray:
    """Rows of the contiguous layout in the masked one; NaN where nothing belongs."""
    result = np.full((room, values.shape[1]), np.nan, values.dtype)
    kept = slot < room
    result[slot[kept]] = values[row[kept]]
    return result


def swiglu(gate_up: Floats) -> Doubles:
    """silu(gate) * up of (rows, 2 * intermediate)."""
    gate, up = np.split(gate_up.astype(np.float64), 2, axis=1)
    return gate * sigmoid(gate) * up


def sigmoid(x: Doubles) -> Doubles:
    """Never overflows."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def combine(out: Floats, place: Ints, weight: Floats) -> Doubles:
    """(num_tokens, hidden): each token's rows times their weights. A dropped one adds nothing."""
    y = np.zeros((len(place), out.shape[1]))
    for choice in range(place.shape[1]):
        at = place[:, choice]
        kept = at < len(out)
        y[kept] += weight[kept, choice, None].astype(np.float64) * out[at[kept]]
    return y

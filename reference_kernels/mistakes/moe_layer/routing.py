"""The router: wrong experts, and wrong weights for the right ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grader.reference_kernels.mistakes.moe_layer.problem import (
    CHOOSING,
    FORMATS,
    LAYOUT,
    PRECISION,
    SOFTMAX,
    TIES,
    Elements,
    elements,
)
from grader.reference_kernels.moe import Layer, route, sigmoid, softmax


def wrong_experts(layer: Layer) -> Iterator[Elements]:
    logits, k, last = layer.logits, layer.top_k, layer.num_experts - 1
    expert = layer.given["expert"]
    sentence = "among equal logits, the larger index is taken; the smaller one comes first"
    yield elements("tie-to-the-larger", sentence, TIES, lambda: last - _by(logits[:, ::-1])[:, :k])
    sentence = "-0.0 is ordered before 0.0, as by their bits; as numbers they are equal, so the smaller index wins"
    yield elements(
        "zeros-differ", sentence, TIES, lambda: np.argsort(-_ordered(logits), axis=1, kind="stable")[:, :k]
    )
    if k == 2:
        sentence = "the second choice repeats the first one, which must be left out"
        yield elements("first-choice-twice", sentence, CHOOSING, lambda: expert[:, [0, 0]])
        sentence = "the two choices are swapped: the largest logit comes first"
        yield elements("choices-exchanged", sentence, CHOOSING, lambda: expert[:, ::-1])
        sentence = "expert is stored as if it were (top_k, num_tokens)"
        yield elements("choices-transposed", sentence, LAYOUT, lambda: expert.T)
    sentence = "where no logit is positive, expert 0 is taken: the maximum starts at 0, not at the first logit"
    yield elements("maximum-from-0", sentence, CHOOSING, lambda: _above_zero(logits, k))
    sentence = "logits are compared as signed integers, where negative floats come in reverse order"
    yield elements("compared-as-ints", sentence, CHOOSING, lambda: _by(logits.view(np.int32).astype(np.int64))[:, :k])
    sentence = "the largest magnitudes are chosen, not the largest logits"
    yield elements("magnitudes", sentence, CHOOSING, lambda: _by(np.abs(logits))[:, :k])
    sentence = "the smallest logits are chosen, not the largest"
    yield elements("smallest", sentence, CHOOSING, lambda: _by(-logits)[:, :k])
    if last >= k:
        sentence = "the last expert is never chosen: the loop ends one too early"
        yield elements("last-expert-left-out", sentence, CHOOSING, lambda: _by(logits[:, :-1])[:, :k])
        sentence = "expert 0 is never chosen: the loop starts at 1"
        yield elements("first-expert-left-out", sentence, CHOOSING, lambda: 1 + _by(logits[:, 1:])[:, :k])
    sentence = "experts are numbered from 1; the first one is 0"
    yield elements("from-1", sentence, CHOOSING, lambda: expert + 1)
    sentence = "logits is read as if it were (num_experts, num_tokens)"
    yield elements("logits-transposed", sentence, LAYOUT, lambda: _by(logits.reshape(logits.shape[::-1]).T)[:, :k])


def wrong_weights(layer: Layer, chosen: np.ndarray) -> Iterator[Elements]:
    """`chosen`: the submission's own choices, where these are valid experts."""
    logits = layer.logits.astype(np.float64)

    def at_chosen(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, chosen, axis=1)

    right = at_chosen(softmax(layer.logits))
    own, largest = at_chosen(logits), logits.max(axis=1, keepdims=True)
    power = np.exp(own - largest)
    sentence = "the weights are normalised over the chosen experts only; the sum is over all experts"
    yield elements("over-the-chosen", sentence, SOFTMAX, lambda: right / right.sum(axis=1, keepdims=True))
    sentence = "the weight is exp(logit - largest): the division by the sum is missing"
    yield elements("not-divided", sentence, SOFTMAX, lambda: power)
    yield elements("power", "the weight is exp(logit): the division by the sum is missing", SOFTMAX,
                   lambda: np.exp(own))  # fmt: skip
    sentence = "the exponentials overflow: the largest logit is not subtracted first"
    yield elements("overflow", sentence, SOFTMAX, lambda: at_chosen(_overflowing(layer.logits)))
    yield elements(
        "sigmoid", "the weight is the sigmoid of the logit, not the softmax", SOFTMAX, lambda: sigmoid(own)
    )
    yield elements("logit", "the weight is the logit itself, not the softmax", SOFTMAX, lambda: own)
    yield elements("logarithm", "the weight is the logarithm of the softmax", SOFTMAX, lambda: np.log(right))
    sentence = "the softmax uses base 2: exp2 instead of exp"
    yield elements("base-2", sentence, SOFTMAX, lambda: at_chosen(softmax(layer.logits * np.log(2.0))))
    if layer.top_k == 2:
        yield elements("weights-exchanged", "the weights of the two choices are swapped", SOFTMAX,
                       lambda: right[:, ::-1])  # fmt: skip
        yield elements("weight-of-the-first", "both choices have the weight of the first", SOFTMAX,
                       lambda: right[:, [0, 0]])  # fmt: skip
        sentence = "weight is stored as if it were (top_k, num_tokens)"
        yield elements("weights-transposed", sentence, LAYOUT, lambda: right.T)
    for name, (words, to) in FORMATS.items():
        sentence = f"the weight is rounded to {words}"
        yield elements(f"weight-{name}", sentence, PRECISION, lambda to=to: to(right))  # type: ignore[misc]
        sentence = f"the logits are rounded to {words}"
        yield elements(f"logits-{name}", sentence, PRECISION,
                       lambda to=to: at_chosen(softmax(to(layer.logits))))  # type: ignore[misc]  # fmt: skip


def _by(keys: np.ndarray) -> np.ndarray:
    """Experts, the largest key first; among equal ones, the smaller index first."""
    return np.argsort(-keys, axis=1, kind="stable")


def _ordered(logits: np.ndarray) -> np.ndarray:
    """Integers in the order of the floats' bits: -0.0 below 0.0."""
    bits = logits.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF) - 1, bits)


def _above_zero(logits: np.ndarray, k: int) -> np.ndarray:
    """Expert 0 where there is no further positive logit."""
    expert, _ = route(logits, k)
    return np.where(np.take_along_axis(logits, expert, axis=1) > 0, expert, 0)


def _overflowing(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))

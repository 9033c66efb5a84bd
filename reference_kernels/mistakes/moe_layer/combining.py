"""The weighted sum of a token's rows, done wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from grader.reference_kernels.mistakes.mistake import ANYTHING, UNWRITTEN, Mistake
from grader.reference_kernels.mistakes.moe_layer.problem import CAPACITY, FORMATS, PRECISION, ROWS, WEIGHTED
from grader.reference_kernels.moe import combine


def wrong_sums(out: np.ndarray, place: np.ndarray, weight: np.ndarray) -> Iterator[Mistake[np.ndarray]]:
    """The mistakes in y; they take token numbers. `out` may have rows that belong to no assignment."""
    k, one = place.shape[1], np.ones_like(weight)

    def with_other(
        name: str, sentence: str, hint: str = WEIGHTED, *, places: np.ndarray = place, weights: np.ndarray = weight
    ) -> Mistake[np.ndarray]:
        return Mistake(name, sentence, hint, lambda at: combine(out, places[at], weights[at]))

    yield with_other("unweighted", "the weights are missing: the rows are added as they are", weights=one)
    yield with_other("weights-squared", "each row is multiplied by its weight twice", weights=weight**2)
    if k == 2:
        yield from _of_two(out, place, weight, with_other)
    number = np.arange(place.size).reshape(place.shape)
    if number.max() < len(out) and not np.isnan(out).any():
        sentence = "an assignment's own number is used as its row; its row is stored in row[token][choice]"
        yield with_other("not-permuted", sentence, ROWS, places=number)
    for name, (words, to) in FORMATS.items():
        yield with_other(f"weights-{name}", f"the weights are rounded to {words}", PRECISION, weights=to(weight))
        yield Mistake(f"y-{name}", f"y is rounded to {words}", PRECISION,
                      lambda at, to=to: to(combine(out, place[at], weight[at])))  # type: ignore[misc]  # fmt: skip
        yield Mistake(f"out-{name}", f"the rows of out are rounded to {words}", PRECISION,
                      lambda at, to=to: combine(to(out), place[at], weight[at]))  # type: ignore[misc]  # fmt: skip


def _of_two(
    out: np.ndarray, place: np.ndarray, weight: np.ndarray, with_other: Callable[..., Mistake[np.ndarray]]
) -> Iterator[Mistake[np.ndarray]]:
    one = np.ones_like(weight)
    first, last = place.copy(), place.copy()
    first[:, 1], last[:, 0] = len(out), len(out)
    yield with_other("first-choice-only", "only the first choice is in the sum", places=first)
    yield with_other("last-choice-only", "only the last choice is in the sum: = instead of +=", places=last)
    yield with_other("mean", "the sum is divided by top_k; it is already weighted", weights=weight / 2)
    sentence = "both rows are multiplied by the weight of the first choice"
    yield with_other("weight-of-the-first", sentence, weights=weight[:, [0, 0]])
    sentence = "both rows are multiplied by weight[token]; the weight of a choice is weight[token * top_k + choice]"
    yield with_other("weight-of-the-token", sentence, weights=weight.reshape(-1)[: len(weight), None] * one)
    yield with_other("weights-exchanged", "the weights of the two choices are swapped", weights=weight[:, ::-1])
    sentence = "the row of the first choice is used for both"
    yield with_other("row-of-the-first", sentence, places=place[:, [0, 0]])
    sentence = "the weights are normalised to add up to 1"
    normalised = weight / weight.sum(axis=1, keepdims=True)
    yield with_other("normalised", sentence, weights=normalised)
    dropped = place == len(out)
    if dropped.any():
        yield from _of_dropped(out, place, weight, dropped, with_other)
    yield with_other("mean-unweighted", "the rows are averaged; they must be weighted", weights=one / 2)


def _of_dropped(
    out: np.ndarray,
    place: np.ndarray,
    weight: np.ndarray,
    dropped: np.ndarray,
    with_other: Callable[..., Mistake[np.ndarray]],
) -> Iterator[Mistake[np.ndarray]]:
    def unwritten(which: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return lambda at: np.where(which[at, None], UNWRITTEN, combine(out, place[at], weight[at]))

    total, left = weight.sum(axis=1, keepdims=True), np.where(dropped, 0, weight).sum(axis=1, keepdims=True)
    for name, whole in (("1", 1.0), ("all", total)):
        sentence = "the weights of the remaining choices are normalised again; they must stay as they are"
        scaled = np.divide(weight * whole, left, out=np.zeros_like(weight), where=left > 0)
        yield with_other(f"kept-normalised-{name}", sentence, CAPACITY, weights=scaled)
    sentence = "a token's sum stops at a dropped choice; later choices still count"
    yield with_other("ends-at-dropped", sentence, CAPACITY, places=np.where(dropped[:, :1], len(out), place))
    sentence = (
        "a token with a dropped choice gets no result at all: its other choice still counts; with none left, y is 0"
    )
    yield Mistake("dropped-unwritten", sentence, CAPACITY, unwritten(np.asarray(dropped.any(axis=1))))
    sentence = "a token that all its experts have dropped is never written; its y must be 0"
    yield Mistake("all-dropped-unwritten", sentence, CAPACITY, unwritten(np.asarray(dropped.all(axis=1))))
    sentence = "a dropped choice reads slot 0"
    yield with_other("dropped-reads-0", sentence, CAPACITY, places=np.where(dropped, 0, place))
    sentence = "unused slots hold NaN, and NaN times 0 is NaN: skip a dropped choice, do not multiply it by 0"

    def spoilt(at: np.ndarray) -> np.ndarray:
        return np.where(dropped[at].any(axis=1)[:, None], ANYTHING, combine(out, place[at], weight[at]))

    yield Mistake("dropped-times-0", sentence, CAPACITY, spoilt)

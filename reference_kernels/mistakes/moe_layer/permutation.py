"""Counts, offsets, and the tokens that are copied to their experts' rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from grader.reference_kernels.mistakes.mistake import ANYTHING, UNWRITTEN, Mistake
from grader.reference_kernels.mistakes.moe_layer.problem import (
    COUNTING,
    NOT_WRITTEN,
    ROWS,
    RUNNING_SUM,
    WRITTEN,
    Elements,
    elements,
)
from grader.reference_kernels.moe import Layer, count

PARTS = (32, 64, 128, 256, 512, 1024)  # threads of a block that takes an element each and stops
WARP = 32


def wrong_counts(layer: Layer) -> Iterator[Elements]:
    expert, sizes = layer.given["expert"], layer.given["M_sizes"]

    def first(length: int) -> Callable[[], np.ndarray]:
        return lambda: count(expert.ravel()[:length], layer.num_experts)

    if layer.top_k == 2:
        sentence = "only the first num_tokens elements of expert are counted; there are num_tokens * top_k"
        yield elements("half-counted", sentence, COUNTING, first(layer.num_tokens))
        sentence = "only the first choices are counted"
        yield elements("first-choices-counted", sentence, COUNTING, lambda: count(expert[:, 0], layer.num_experts))
    for length in PARTS:
        if length < expert.size:
            sentence = f"only the first {length} assignments are counted: the threads do not loop over the rest"
            yield elements(f"first-{length}-counted", sentence, COUNTING, first(length))
    sentence = "the counts of experts without tokens are never written; they are 0"
    yield elements("empty-not-written", sentence, COUNTING, lambda: np.where(sizes == 0, NOT_WRITTEN, sizes))
    sentence = "the last expert's count is never written"
    yield elements("last-count-missing", sentence, WRITTEN, lambda: np.append(sizes[:-1], NOT_WRITTEN))
    yield elements(
        "counts-by-1", "every count is too large by 1: it does not start at 0", COUNTING, lambda: sizes + 1
    )
    yield elements("counts-doubled", "every count is twice what it should be", COUNTING, lambda: 2 * sizes)
    sentence = "M_sizes holds the running sum of the counts, not the counts themselves"
    yield elements("counts-summed", sentence, COUNTING, lambda: np.cumsum(sizes))


def wrong_offsets(layer: Layer) -> Iterator[Elements]:
    sizes, right = layer.given["M_sizes"], layer.given["group_offsets"]
    sums = right[1:]
    inclusive = "each offset includes its own expert: group_offsets[e] is the sum of the counts before expert e"
    for name, last in (("total", sums[-1]), ("missing", NOT_WRITTEN)):
        yield elements(f"inclusive-{name}", inclusive, RUNNING_SUM, lambda last=last: np.append(sums, last))  # type: ignore[misc]
    sentence = "the last offset, the total number of rows, is never written: there are num_experts + 1 offsets"
    yield elements("last-offset-missing", sentence, RUNNING_SUM, lambda: np.append(right[:-1], NOT_WRITTEN))
    sentence = "group_offsets[0] is never written; it is 0"
    yield elements("first-offset-missing", sentence, RUNNING_SUM, lambda: np.append(NOT_WRITTEN, sums))
    sentence = "group_offsets holds the counts, not their running sum"
    yield elements("not-summed", sentence, RUNNING_SUM, lambda: np.append(0, sizes))
    for width in (2, 4, 8, 16, 32):
        if width < layer.num_experts:
            sentence = f"each offset adds up at most {width} counts: the scan ends too early"
            yield elements(f"scan-of-{width}", sentence, RUNNING_SUM,
                           lambda width=width: np.append(0, sums - _shifted(sums, width)))  # type: ignore[misc]  # fmt: skip
    if layer.num_experts > WARP:
        sentence = "the running sum starts again after 32 experts: the sum of the first 32 is not added"
        start = np.arange(layer.num_experts) // WARP * WARP
        yield elements("scan-restarts", sentence, RUNNING_SUM, lambda: np.append(0, sums - right[start]))


def _shifted(sums: np.ndarray, by: int) -> np.ndarray:
    return np.asarray(np.concatenate([np.zeros(by, sums.dtype), sums[:-by]]))


def wrong_copies(layer: Layer, place: np.ndarray, room: int) -> Iterator[Mistake[np.ndarray]]:
    """The mistakes in A, whose rows are where the submission's own `place` says; they take row numbers."""
    owner = np.full(room, -1)
    kept = np.flatnonzero(place.ravel() < room)
    owner[place.ravel()[kept]] = kept
    token = owner // layer.top_k
    halves = np.arange(layer.hidden)

    def of(tokens: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        def gives(rows: np.ndarray) -> np.ndarray:
            exists = (tokens >= 0) & (tokens < layer.num_tokens)
            copied = layer.x[np.where(exists, tokens, 0)[rows]].astype(np.float64)
            copied[~exists[rows]] = ANYTHING
            return np.asarray(copied)

        return gives

    if layer.top_k == 2:
        # Before the next one, which says nothing of the second half: there are not so many tokens.
        sentence = "an assignment's token is computed as assignment % num_tokens; it is assignment / top_k"
        yield Mistake("token-modulo", sentence, ROWS, of(owner % layer.num_tokens))
        sentence = "an assignment's own number is used as its token; the token is assignment / top_k"
        yield Mistake("token-is-assignment", sentence, ROWS, of(owner))
    sentence = "row r of A is a copy of row r of x, as if the tokens kept their order"
    yield Mistake("not-permuted", sentence, ROWS, of(np.arange(room)))
    yield Mistake("next-token", "each row of A is a copy of the next token's row of x", ROWS, of(token + 1))
    for share in (2, 4):
        cut = layer.hidden // share
        sentence = f"only the first {cut} of {layer.hidden} elements of each row are copied"

        def partly(rows: np.ndarray, cut: int = cut) -> np.ndarray:
            return np.where(halves < cut, of(token)(rows), UNWRITTEN)

        yield Mistake(f"row-of-{share}", sentence, ROWS, partly)

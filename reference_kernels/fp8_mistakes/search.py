"""Which mistakes give just these wrong elements. Says nothing rather than something that does not fit all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from reference_kernels.arrays import Array
from reference_kernels.fp8_mistakes.mistake import ORDER, WRITTEN, Mistake

T = TypeVar("T")
Same = Callable[[Array, Array], Array]  # right for right, any NaN for any NaN

SAMPLE = 2048  # wrong elements that a mistake is tried on first
WITNESSES = 16384  # right elements that it must leave right: few inputs are of a rare kind
# Elements that a thread, a warp or a block takes at once: guesses, tried from the smallest.
WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

FEW = 8  # wrong elements that more than one mistake may explain by chance
MOST_TOGETHER = 3  # mistakes that are named; what needs more is more than a list can explain


class Cause(NamedTuple):
    """Why all wrong elements are wrong, without a full stop, and the section that explains the first reason."""

    sentence: str
    hint: str


@np.errstate(all="ignore")  # inputs are NaN, Inf and signalling NaN, too
def find(
    got: Array,
    right: Array,
    wrong: Array,
    unwritten: Array,
    same: Same,
    pick: Callable[[Array], T],
    mistakes: Sequence[Mistake[T]],
) -> Cause | None:
    """All arrays are vectors. `unwritten`: what looks as it arrived. `pick` gives the inputs at these indices.

    A byte that was never written looks like a negative NaN: so the mistakes that make one are asked first.
    """
    possible = _possible(right, wrong, same, pick, mistakes)
    if wrong.sum() < FEW:
        possible = _alone(got, wrong, same, pick, possible)
    made = partial(_made, got, same=same, pick=pick, mistakes=possible)
    cause = _moved(got, right, wrong, same) or made(np.flatnonzero(wrong))
    if cause is not None:
        return cause
    untouched = wrong & unwritten
    if untouched.any():
        rest = np.flatnonzero(wrong & ~unwritten)
        other = made(rest) or _constant(got, right, rest) if rest.size else None
        if rest.size and other is None:
            return None
        return Cause("; and ".join([_unwritten(untouched)] + ([other.sentence] if other else [])), WRITTEN)
    return _constant(got, right, np.flatnonzero(wrong))


def _unwritten(untouched: Array) -> str:
    """ "the last 3 elements are never written: what is left over when 4 does not divide n" """
    count, n = int(untouched.sum()), untouched.size
    if count == n:
        return "no element is ever written"
    if untouched[-count:].all():
        last = f"the last {count} elements are" if count > 1 else "the last element is"
        widths = [width for width in WIDTHS if n % width == count]
        left = f": what is left over when {widths[0]} does not divide n" if widths else ""
        return f"{last} never written{left}"
    elements = f"{count} elements look" if count > 1 else "1 element looks"
    return f"{elements} never written, the first at index {int(np.argmax(untouched))}"


def _constant(got: Array, right: Array, rest: Array) -> Cause | None:
    """Always the same, where there is more than one right answer."""
    if rest.size < FEW or not (got[rest] == got[rest[0]]).all() or (right[rest] == right[rest[0]]).all():
        return None
    return Cause(f"every wrong element is {_shown(got[rest[0]])}, whatever x is", "")


# Where a right element came from, if not from its own place.
_PLACES: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("each four stand in reverse order: byte 0 of a word is its lowest", lambda i: i ^ 3),
    ("each two are exchanged", lambda i: i ^ 1),
    ("each four hold what belongs to the first of them", lambda i: i // 4 * 4),
    ("every element stands one place too early", lambda i: i + 1),
    ("every element stands one place too late", lambda i: i - 1),
)


def _moved(got: Array, right: Array, wrong: Array, same: Same) -> Cause | None:
    indices = np.flatnonzero(wrong)
    if indices.size < FEW:
        return None
    for sentence, place in _PLACES:
        source = place(indices)
        inside = (source >= 0) & (source < len(right))
        if inside.sum() < inside.size - 1:  # the first or the last has nothing to come from
            continue
        few = slice(None, SAMPLE)
        if all(
            same(got[indices[part]][inside[part]], right[source[part][inside[part]]]).all()
            for part in (few, slice(None))
        ):
            return Cause(sentence, ORDER)
    return None


def _possible(
    right: Array,
    wrong: Array,
    same: Same,
    pick: Callable[[Array], T],
    mistakes: Sequence[Mistake[T]],
) -> Sequence[Mistake[T]]:
    """The mistakes that would leave right what is right."""
    witnesses = _spread(np.flatnonzero(~wrong), WITNESSES)
    few = pick(witnesses)
    return [mistake for mistake in mistakes if same(right[witnesses], mistake.outputs(few)).all()]


def _alone(
    got: Array,
    wrong: Array,
    same: Same,
    pick: Callable[[Array], T],
    mistakes: Sequence[Mistake[T]],
) -> Sequence[Mistake[T]]:
    """What makes just these few, and leaves right all that is right; nothing where there are two such.

    What is right speaks for it, too; a case that has only a few elements says nothing.
    """
    rest = np.flatnonzero(wrong)
    few = pick(rest)
    fitting = [mistake for mistake in mistakes if same(got[rest], mistake.outputs(few)).all()]
    every = pick(np.arange(wrong.size)) if fitting else few
    fitting = [mistake for mistake in fitting if same(got, mistake.outputs(every)).all()]
    return fitting if wrong.size >= FEW and len({mistake.sentence for mistake in fitting}) == 1 else []


def _spread(indices: Array, count: int) -> Array:
    """So many of them, evenly; all where there are no more."""
    if indices.size <= count:
        return indices
    return indices[np.linspace(0, indices.size - 1, count).astype(np.int64)]


def _made(
    got: Array,
    rest: Array,
    *,
    same: Same,
    pick: Callable[[Array], T],
    mistakes: Sequence[Mistake[T]],
) -> Cause | None:
    """One mistake that gives all of them, or a few together."""
    some = _spread(rest, SAMPLE)
    seen, few = got[some], pick(some)
    fits = [(mistake, same(seen, mistake.outputs(few))) for mistake in mistakes]
    every = few if some.size == rest.size else None  # made when it is needed: there may be millions

    def explained(mistake: Mistake[T]) -> Array:
        nonlocal every
        every = pick(rest) if every is None else every
        return same(got[rest], mistake.outputs(every))

    for mistake, fit in fits:
        if fit.all() and explained(mistake).all():
            return Cause(mistake.sentence, mistake.hint)
    together = _cover(fits) if fits else []
    if not together or not np.logical_or.reduce([explained(mistake) for mistake in together]).all():
        return None
    return Cause("; and ".join(mistake.sentence for mistake in together), together[0].hint)


def _cover(fits: Sequence[tuple[Mistake[T], Array]]) -> list[Mistake[T]]:
    """The mistake that explains most, then the one that does of what is left; none if that takes too many."""
    left = np.ones_like(fits[0][1])
    chosen: list[Mistake[T]] = []
    while left.any():
        best, fit = max(fits, key=lambda candidate: int((candidate[1] & left).sum()))
        if len(chosen) == MOST_TOGETHER or not (fit & left).any():
            return []
        chosen.append(best)
        left = left & ~fit
    return chosen


def _shown(value: np.generic) -> str:
    return f"0x{int(value):02x}" if isinstance(value, np.integer) else str(value).removesuffix(".0")

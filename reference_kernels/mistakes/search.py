"""Which mistake gives exactly these wrong elements. Names none rather than one that does not fit.

There is one search, for FP8 bytes, scales and FP32 numbers. They differ in when two values agree: `Agreement`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.mistakes.mistake import Cause, Mistake

T = TypeVar("T")

SAMPLE_ROWS = 16  # of a matrix: wrong rows, and as many of any kind
SAMPLE = 2048  # wrong elements of a vector that a mistake is tried on first
WITNESSES = 16384  # right ones that it has to leave right: few inputs are of a rare kind
MOST = 1 << 18  # wrong elements of a vector that are looked at in the end


class Agreement(Generic[T]):
    """When what a kernel gave is what a mistake gives. Exact; a subclass says where it is not."""

    likely = 1.0  # share of the wrong elements that a mistake must reproduce in the first few that are tried
    share = 1.0  # the same in all of them; and the share of the errors it predicts that must be there
    numbers = 0.5  # share of the wrong elements for which it must give a value, not ANYTHING
    few = 0  # with fewer wrong elements, several mistakes may fit by chance: one is named only if no other fits
    together = 1  # how many mistakes may explain an output together

    def same(self, part: Part[T], given: Array) -> Array:
        """Where the kernel gave what the mistake gives."""
        return np.asarray(part.got == given)

    def wrong(self, part: Part[T], given: Array) -> Array:
        """Where the mistake gives something wrong."""
        return np.asarray(part.right != given)

    def anything(self, given: Array) -> Array:
        """Where it cannot be predicted what the mistake gives."""
        return np.zeros(given.shape, bool)


@dataclass(frozen=True)
class Output(Generic[T]):
    """A wrong output next to the right one: a vector, or a matrix whose rows belong together.

    `pick` gives the inputs of the given elements or rows, in the form that the mistakes take.
    """

    got: Array
    right: Array
    wrong: Array  # bool
    pick: Callable[[Array], T]
    agreement: Agreement[T]
    silent: Array | None = None  # elements of a vector that say nothing: they have another cause

    @property
    def few(self) -> bool:
        return int(self.wrong.sum()) < self.agreement.few

    def part(self, places: Array) -> Part[T]:
        return Part(self, places)

    def without(self, elements: Array) -> Output[T]:
        """The same, but for elements that have another cause."""
        return replace(self, wrong=self.wrong & ~elements, silent=elements)

    @cached_property
    def bad(self) -> Array:
        """Where something is wrong: numbers of elements, or of rows."""
        return np.flatnonzero(self.wrong if self.wrong.ndim == 1 else self.wrong.any(axis=1))

    @cached_property
    def good(self) -> Array:
        """Elements of a vector that are right."""
        return np.flatnonzero(~self.wrong if self.silent is None else ~(self.wrong | self.silent))

    @cached_property
    def parts(self) -> Sequence[Part[T]]:
        """What a mistake is compared with, in turn: most are ruled out by the first, at little cost."""
        if self.got.ndim > 1:
            every = np.arange(len(self.got))
            sample = np.union1d(spread(self.bad, SAMPLE_ROWS), spread(every, SAMPLE_ROWS))
            return self.part(self.bad[:1]), self.part(sample), self.part(every)
        if self.few:
            return self.part(self.bad), self.part(np.union1d(self.bad, self.good))
        parts = self.part(spread(self.bad, SAMPLE)), self.part(spread(self.good, WITNESSES))
        return parts if self.bad.size <= SAMPLE else (*parts, self.part(spread(self.bad, MOST)))


class Part(Generic[T]):
    """Some elements of an output, or some of its rows."""

    def __init__(self, output: Output[T], places: Array) -> None:
        self.got, self.right, self.wrong = output.got[places], output.right[places], output.wrong[places]
        self._output, self.places = output, places

    @cached_property
    def inputs(self) -> T:
        return self._output.pick(self.places)


class Fit(NamedTuple):
    """How well a mistake explains a part."""

    explained: Array  # wrong elements that it reproduces, or may
    reproduced: int  # of them, those that are not ANYTHING
    predicted: int  # errors that it would make
    seen: int  # of them, those that are there
    wrong: int

    def holds(self, share: float) -> bool:
        return int(self.explained.sum()) >= share * self.wrong and self.seen >= share * self.predicted

    def predicts(self, numbers: float) -> bool:
        """Required of a mistake over the whole output; not in a sample."""
        return self.reproduced >= numbers * self.wrong and self.predicted > 0


def find(output: Output[T], mistakes: Iterable[Mistake[T]]) -> Cause | None:
    """The first mistake that explains what is wrong, or a few that do so together. Any array may hold NaN or Inf."""
    with np.errstate(all="ignore"):
        if output.few:
            return _only(output, mistakes)
        partly: list[tuple[Mistake[T], Array]] = []
        for mistake in mistakes:
            first = _fit(output.parts[0], mistake, output.agreement)
            if first is not None and _holds(output, mistake, first):
                return mistake.cause
            if first is not None and output.agreement.together > 1 and first.explained.any():
                partly.append((mistake, first.explained))
        return _together(output, partly) if partly else None


def _holds(output: Output[T], mistake: Mistake[T], first: Fit) -> bool:
    agreement, parts = output.agreement, output.parts
    if not first.holds(agreement.likely):
        return False
    matrix, fit = output.got.ndim > 1, None
    for part in parts[1:]:
        fit = _fit(part, mistake, agreement)
        if fit is None or not fit.holds(agreement.share if part is parts[-1] else agreement.likely):
            return False
    every = fit if matrix else first  # of a vector, the first part is all of one kind: wrong
    return every is not None and every.predicts(agreement.numbers)


def _fit(part: Part[T], mistake: Mistake[T], agreement: Agreement[T]) -> Fit | None:
    """None where the mistake gives an output of another shape."""
    given = mistake.gives(part.inputs)
    if given.shape != part.got.shape:
        return None
    same, anything = agreement.same(part, given), agreement.anything(given)
    predicted = agreement.wrong(part, given) & ~anything
    return Fit(
        explained=part.wrong & (same | anything),
        reproduced=int((part.wrong & same).sum()),
        predicted=int(predicted.sum()),
        seen=int((predicted & same).sum()),
        wrong=int(part.wrong.sum()),
    )


def _only(output: Output[T], mistakes: Iterable[Mistake[T]]) -> Cause | None:
    """The only mistake that gives these few wrong elements and no others; None if several do.

    Right elements are evidence, too, so an output of only a few elements proves nothing.
    """
    if output.wrong.size < output.agreement.few:
        return None
    fitting: dict[str, Cause] = {}
    for mistake in mistakes:
        first = _fit(output.parts[0], mistake, output.agreement)
        if first is not None and _holds(output, mistake, first):
            fitting.setdefault(mistake.sentence, mistake.cause)
    return next(iter(fitting.values())) if len(fitting) == 1 else None


def _together(output: Output[T], partly: Sequence[tuple[Mistake[T], Array]]) -> Cause | None:
    """The mistake that explains most, then the one that explains most of the rest; none may predict an error where
    the output is right.
    """
    _, witnesses, *others = output.parts
    candidates = [(m, e) for m, e in partly if (fit := _fit(witnesses, m, output.agreement)) and not fit.predicted]
    chosen: list[Mistake[T]] = []
    left = output.parts[0].wrong
    while left.any():
        best = max(candidates, key=lambda one: int((one[1] & left).sum()), default=None)
        if best is None or len(chosen) == output.agreement.together or not (best[1] & left).any():
            return None
        chosen.append(best[0])
        left = left & ~best[1]
    for part in others:
        fits = [fit for mistake in chosen if (fit := _fit(part, mistake, output.agreement))]
        if not np.logical_or.reduce([fit.explained for fit in fits]).all():
            return None
    return joined(mistake.cause for mistake in chosen)


def joined(causes: Iterable[Cause]) -> Cause:
    """Several causes at once, as one."""
    every = list(causes)
    return Cause(" ".join(c.name for c in every), "; and ".join(c.sentence for c in every), every[0].hint)


def spread(places: Array, count: int) -> Array:
    """At most `count` of them, evenly spread, including the first and the last."""
    if len(places) <= count:
        return places
    return places[np.linspace(0, len(places) - 1, count).astype(np.intp)]


Look = Callable[[Output[T]], Iterator[Cause]]


def explain(output: Output[T], mistakes: Iterable[Mistake[T]], looks: Iterable[Look[T]] = ()) -> Cause | None:
    """A mistake that fits; if none does, what the values show by themselves."""
    return find(output, mistakes) or next((cause for look in looks for cause in look(output)), None)

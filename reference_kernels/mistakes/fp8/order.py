"""Right elements in the wrong place, as happens when a thread handles four at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.mistakes.fp8.sections import ORDER
from grader.reference_kernels.mistakes.mistake import Cause
from grader.reference_kernels.mistakes.search import SAMPLE, Output, spread

T = TypeVar("T")

FEW = 8  # elements that may stand anywhere by chance

# Where a right element came from, if not from its own place.
PLACES: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("fours-reversed", "every group of four is in reverse order: byte 0 of a word is its lowest", lambda i: i ^ 3),
    ("twos-exchanged", "every two neighbours are swapped", lambda i: i ^ 1),
    ("first-of-four", "every group of four holds the value of its first element", lambda i: i // 4 * 4),
    ("one-early", "every element is one place too early", lambda i: i + 1),
    ("one-late", "every element is one place too late", lambda i: i - 1),
)


def moved(output: Output[T]) -> Iterator[Cause]:
    if output.bad.size < FEW:
        return
    for name, sentence, place in PLACES:
        if all(_holds(output, places, place) for places in (spread(output.bad, SAMPLE), output.bad)):
            yield Cause(name, sentence, ORDER)


def _holds(output: Output[T], places: Array, place: Callable[[Array], Array]) -> bool:
    source = place(places)
    inside = (source >= 0) & (source < len(output.right))
    if inside.sum() < inside.size - 1:  # the first or the last has nothing to come from
        return False
    return bool(output.agreement.same(output.part(places[inside]), output.right[source[inside]]).all())

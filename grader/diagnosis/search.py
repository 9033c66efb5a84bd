"""Which common mistake gives just these wrong numbers. Says nothing rather than something that does not fit.

An exercise knows its own mistakes (`mistakes` in oracle.py); those that any output can show stand here. All
work on one output, seen as (rows, columns).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
import numpy as np

from grader.model.exercise import Case
from grader.model.mistake import UNWRITTEN, Mistake

# A mistake fits when it explains so many of the wrong elements, and gives so many of the wrong ones it would.
EXPLAINED = 0.99
# In the first rows looked at; a wrong element may be within the tolerance of another wrong value by luck.
LIKELY = 0.95
# Of the explained elements so many have to be predicted by a number, and not by ANYTHING.
NUMBERS = 0.5

# How near the mistake's number: a share of the exercise's tolerance, and rounding of large values.
CLOSE = 0.25
RELATIVE = 4e-6

SAMPLE_ROWS = 32
SAMPLE_ELEMENTS = 24
NEIGHBOURS = 4  # elements in a row that have to agree before one is called the same as another
SEARCHED = 1 << 21  # elements of an output that is searched for where a value belongs

# Relative errors that a sum of products has if something in it has 7 to 10 mantissa bits.
NEARLY_RIGHT = (2.0**-13, 2.0**-7)
LARGEST_TO_USUAL = 12.0  # the largest of 10^6 normally distributed errors, and room

NEVER_WRITTEN, PRECISION, LAYOUT, SUM = (
    "elements-never-written",
    "reduced-precision",
    "rows-and-columns",
    "the-sum-over-k",
)

# Where nothing else fits: what is certain, then where it usually comes from.
NOTHING_STORED = (
    "no element was ever written: the kernel has no store that any thread reaches; look for a return or a "
    "condition before it"
)
LEFT_OUT = (
    "the wrong elements were never written: too few blocks or threads, a search for the tile that ends too soon, "
    "or a return before the store"
)
NOTHING_ADDED = (
    "the wrong elements are all 0: every element is stored, but nothing was added up; look for a loop that does "
    "not run, or for inputs that are never loaded or are cut to whole numbers"
)
ZERO_OR_LEFT_OUT = (
    "the wrong elements are 0 or were never written: nothing was added up for those that are stored, and too few "
    "blocks or threads, or a return before the store, leave out the others"
)
# What a shuffle gets from a lane that does not take part is undefined: the engine gives Inf, to be seen.
INFINITE = (
    "the wrong elements are all infinite: a sum that starts there, a division by 0, or a shuffle that reads from "
    "lanes that have left"
)

Expected = Mapping[str, np.ndarray]


class Diagnosis(msgspec.Struct, frozen=True):
    """A sentence without a full stop, and the section of problem.md that explains the mistake."""

    name: str
    sentence: str
    hint: str = ""


class Output:
    """A wrong output beside the right one. `name_row` says where a row lies: "group 2, row 5"."""

    def __init__(
        self,
        actual: np.ndarray,
        right: np.ndarray,
        wrong: np.ndarray,
        tolerance: float,
        name_row: Callable[[int], str],
    ) -> None:
        self.actual, self.right, self.wrong = actual, right, wrong
        self.close = CLOSE * tolerance
        self.tolerance = tolerance
        self.name_row = name_row
        self.unwritten = never_written(actual)
        self.bad_rows = np.flatnonzero(wrong.any(axis=1))
        # Wrong rows and any rows, evenly spread.
        rows = (self.bad_rows, np.arange(len(actual)))
        self.sample = np.unique(np.concatenate([_spread(some, SAMPLE_ROWS // 2) for some in rows]))

    @property
    def says_nothing(self) -> bool:
        """Whether nothing was written, or nothing but 0."""
        return bool(self.unwritten.all() or (self.actual == 0).all())

    def fits(self, values: np.ndarray, rows: np.ndarray, share: float, *, all_rows: bool = True) -> bool:
        """Whether `values` explain what is wrong in these rows, and are what the mistake would give there.

        In a few rows alone, a mistake may predict nothing.
        """
        actual, right, wrong = self.actual[rows], self.right[rows], self.wrong[rows]
        if values.shape != actual.shape:
            return False
        with np.errstate(invalid="ignore", over="ignore"):
            near = np.abs(actual - values) <= self.close + RELATIVE * np.abs(right)
            near &= np.isfinite(actual)  # UNWRITTEN is infinite: an infinity that was written is not it
            same = near | ((values == UNWRITTEN) & self.unwritten[rows])
            predicted = ~(np.abs(values - right) < self.tolerance)
        anything = np.isnan(values)  # ANYTHING
        predicted &= ~anything
        of = int(wrong.sum())
        if int((wrong & (same | anything)).sum()) < share * of:
            return False
        if int((predicted & same).sum()) < share * int(predicted.sum()):
            return False
        return not all_rows or (int((wrong & same).sum()) >= NUMBERS * of and bool(predicted.any()))


def never_written(values: np.ndarray) -> np.ndarray:
    """An output arrives with every bit set, which is a NaN that arithmetic does not make."""
    bits = np.ascontiguousarray(values).view(np.uint8).reshape(*values.shape, -1)
    return np.asarray((bits == 0xFF).all(axis=-1) & np.isnan(values))


def explain(output: Output, mistakes: Iterable[Mistake]) -> Diagnosis | None:
    """The first that fits: the exercise's own mistakes, then what the numbers themselves say."""
    if not output.wrong.any():
        return None
    for mistake in mistakes:
        if _matches(output, mistake.values):
            return Diagnosis(mistake.name, mistake.sentence, mistake.hint)
    return next((found for look in GENERAL for found in look(output)), None)


def _matches(output: Output, values: Callable[[np.ndarray], np.ndarray]) -> bool:
    """One wrong row, then some, then all: most mistakes are ruled out for the price of a row."""
    for some in (output.bad_rows[:1], output.sample):
        if not output.fits(values(some), some, LIKELY, all_rows=False):
            return False
    every = np.arange(len(output.actual))
    return output.fits(values(every), every, EXPLAINED)


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    return values if len(values) <= count else values[np.linspace(0, len(values) - 1, count).astype(np.intp)]


# What numbers say by themselves


def _only_one_value(output: Output) -> Iterator[Diagnosis]:
    """Wrong, and all the same: never written, 0, NaN, infinite."""
    values, unwritten = output.actual[output.wrong], output.unwritten[output.wrong]
    if output.unwritten.all():
        yield Diagnosis("never-written", NOTHING_STORED, NEVER_WRITTEN)
    elif unwritten.all():
        yield Diagnosis("never-written", LEFT_OUT, NEVER_WRITTEN)
    elif (output.actual == 0).all():
        yield Diagnosis("zero", NOTHING_ADDED, SUM)
    elif (values == 0).all():
        yield Diagnosis("zero", "the wrong elements are all 0: nothing was added up for them", SUM)
    elif (unwritten | (values == 0)).all():
        yield Diagnosis("zero-or-never-written", ZERO_OR_LEFT_OUT, NEVER_WRITTEN)
    elif np.isnan(values).all():
        yield Diagnosis(
            "nan", "the wrong elements are all NaN, a result of arithmetic, such as Inf - Inf or 0 / 0", SUM
        )
    elif np.isinf(values).all():
        yield Diagnosis("infinite", INFINITE, SUM)
    elif values.size > 1 and (values == values[0]).all():
        yield Diagnosis("constant", f"the wrong elements are all {values[0]:.6g}, whatever the inputs")


def _simply_related(output: Output) -> Iterator[Diagnosis]:
    """A factor, a summand, a sign, digits cut off; the same for every wrong element."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        actual, right = output.actual[output.wrong], output.right[output.wrong]
        if not np.isfinite(actual).all() or actual.size < NEIGHBOURS:
            return
        large = np.abs(right) > np.median(np.abs(right))
        factor = float(np.median((actual / right)[large])) if large.any() else 1.0
        step = float(np.median(actual - right))
    related: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
        "negated": ("the wrong elements have the wrong sign", np.negative),
        "scaled": (f"the wrong elements are {factor:.6g} times what they should be", lambda right: factor * right),
        "shifted": (f"the wrong elements are too large by {step:.6g}", lambda right: right + step),
        "whole-numbers": ("the wrong elements are cut to whole numbers: they went through an integer", np.trunc),
    }
    for name, (sentence, function) in related.items():

        def values(rows: np.ndarray, function: Callable[[np.ndarray], np.ndarray] = function) -> np.ndarray:
            return np.where(output.wrong[rows], function(output.right[rows]), output.right[rows])

        if _matches(output, values):
            yield Diagnosis(name, sentence, PRECISION if name == "whole-numbers" else SUM)


def _elsewhere(output: Output) -> Iterator[Diagnosis]:
    """A right value at the wrong place; or the right value plus one that belongs elsewhere."""
    if output.actual.size > SEARCHED or output.actual.shape[1] < NEIGHBOURS:
        return
    runs = _runs_of_wrong(output)
    if not runs:
        return
    with np.errstate(invalid="ignore"):
        surplus = output.actual - output.right
    moved = "right values in the wrong place: here stands what belongs to {}"
    added = "right values plus another result, here that of {}: the sum is not reset to 0 between tiles"
    ways = (
        ("misplaced", output.actual, output.right, moved, LAYOUT),
        ("not-reset", surplus, output.right, added, SUM),
        ("not-reset", surplus, output.actual, added, SUM),
    )
    for name, values, searched, sentence, hint in ways:
        places = []
        for run in runs:
            place = _find(values[run[0], run[1] : run[1] + NEIGHBOURS], searched, output.close)
            if place is None or place == run:
                break
            places.append(place)
        else:
            row, column = places[0]
            where = f"{output.name_row(row)}, column {column}"
            yield Diagnosis(name, f"the wrong elements are {sentence.format(where)}", hint)


def _runs_of_wrong(output: Output) -> list[tuple[int, int]]:
    """Places where so many neighbours in a row are wrong; none where only some of what is wrong lies in such runs."""
    finite = output.wrong & np.isfinite(output.actual)
    if finite.sum() != output.wrong.sum():
        return []
    width = output.wrong.shape[1] // NEIGHBOURS * NEIGHBOURS
    full = output.wrong[:, :width].reshape(len(output.wrong), -1, NEIGHBOURS).all(axis=2)
    if full.sum() * NEIGHBOURS < 0.9 * output.wrong.sum():
        return []
    rows, runs = np.nonzero(full)
    first_and_others = _spread(np.arange(len(rows)), SAMPLE_ELEMENTS)
    return [(int(rows[i]), int(runs[i]) * NEIGHBOURS) for i in first_and_others]


def _find(values: np.ndarray, searched: np.ndarray, close: float) -> tuple[int, int] | None:
    """Where these neighbours stand in `searched`."""
    at = np.flatnonzero(np.abs(searched[:, : 1 - NEIGHBOURS] - values[0]) <= close)
    columns = searched.shape[1] - NEIGHBOURS + 1
    for place in at:
        row, column = divmod(int(place), columns)
        if (np.abs(searched[row, column : column + NEIGHBOURS] - values) <= close).all():
            return row, column
    return None


def _nearly_right(output: Output) -> Iterator[Diagnosis]:
    """Small errors everywhere, of the size that 7 to 10 mantissa bits leave."""
    if not np.isfinite(output.actual).all():
        return
    errors = output.actual - output.right
    usual = float(np.sqrt(np.mean(errors**2)))
    relative = usual / float(np.sqrt(np.mean(output.right**2)) or 1)
    largest = float(np.abs(errors).max())
    everywhere = float((np.abs(errors) > 0.1 * usual).mean())
    if NEARLY_RIGHT[0] < relative < NEARLY_RIGHT[1] and largest < LARGEST_TO_USUAL * usual and everywhere > 0.8:
        sentence = (
            f"every element is nearly right, to about 1 part in {1 / relative:.0f}: something is kept in less than "
            "FP32 (TF32 and FP16 have 10 mantissa bits, BF16 has 7)"
        )
        yield Diagnosis("nearly-right", sentence, PRECISION)


GENERAL: tuple[Callable[[Output], Iterator[Diagnosis]], ...] = (
    _only_one_value,
    _simply_related,
    _nearly_right,
    _elsewhere,
)


class Search:
    """Diagnoses the cases of one submission: what fitted one case is tried first in the next.

    A search through every mistake costs up to half a second on the largest case, so there are only a few.
    """

    FULL_SEARCHES = 3

    def __init__(self, mistakes: Callable[[Case, Expected], Iterable[Mistake]]) -> None:
        self._mistakes = mistakes
        self._fitted: set[str] = set()
        self._left = self.FULL_SEARCHES

    def explain(self, case: Case, name: str, output: Output, expected: Expected) -> Diagnosis | None:
        """What is wrong with this output of the case. A mistake that cannot be computed costs no verdict: None."""
        try:
            return self._explain(case, name, output, expected)
        except Exception:
            return None

    def _explain(self, case: Case, name: str, output: Output, expected: Expected) -> Diagnosis | None:
        mistakes = (m for m in self._mistakes(case, expected) if m.output == name)
        if output.says_nothing and not self._fitted:
            return explain(output, ())  # in a small case, many mistakes leave out everything
        if self._fitted:
            found = explain(output, (m for m in mistakes if m.name in self._fitted))
        elif self._left:
            self._left -= 1
            found = explain(output, mistakes)
        else:
            return None
        if found is not None:
            self._fitted.add(found.name)
        return found

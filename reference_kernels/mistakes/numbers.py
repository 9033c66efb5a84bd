"""FP32 results with an absolute tolerance: when two agree, and what wrong ones show by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.mistakes import untouched
from grader.reference_kernels.mistakes.mistake import UNWRITTEN, Cause, Mistake
from grader.reference_kernels.mistakes.search import Agreement, Look, Output, Part, find, spread

# How near the mistake's number: a share of the exercise's tolerance, and rounding of large values.
CLOSE = 0.25
RELATIVE = 4e-6

SAMPLE_ELEMENTS = 24
NEIGHBOURS = 4  # elements in a row that have to agree before one is called the same as another
SEARCHED = 1 << 21  # elements of an output that is searched for where a value belongs

# Relative errors that a sum of products has if something in it has 7 to 10 mantissa bits.
NEARLY_RIGHT = (2.0**-13, 2.0**-7)
LARGEST_TO_USUAL = 12.0  # the largest of 10^6 normally distributed errors, and room

PRECISION, LAYOUT, SUM = "reduced-precision", "rows-and-columns", "the-sum-over-k"

# Where nothing else fits: what is certain, then where it usually comes from.
NOTHING_STORED = (
    "no element was ever written: no thread reaches a store; look for a return or a condition in front of it"
)
LEFT_OUT = (
    "the wrong elements were never written: too few blocks or threads, a search for the tile that ends too soon, "
    "or a return before the store"
)
NOTHING_ADDED = (
    "the wrong elements are all 0: every element is stored, but nothing was added up; look for a loop that does "
    "not run, inputs that are never loaded, or an int that holds an input or the sum and truncates it to 0"
)
ZERO_OR_LEFT_OUT = (
    "the wrong elements are 0 or were never written: nothing was added up for those that are stored, and too few "
    "blocks or threads, or a return before the store, leave out the others"
)
# What a shuffle gets from a lane that does not take part is undefined: the engine gives Inf, to be seen.
INFINITE = (
    "the wrong elements are all infinite: a sum that starts at infinity, a division by 0, or a shuffle that "
    "reads from lanes that have exited"
)

Rows = Array  # numbers of rows
Matrix = Output[Rows]


class Within(Agreement[Rows]):
    """Near the mistake's number, which UNWRITTEN and ANYTHING may stand for."""

    likely = 0.95  # a wrong element may be within the tolerance of another wrong value by luck
    share = 0.99

    def __init__(self, tolerance: float) -> None:
        self.tolerance, self.close = tolerance, CLOSE * tolerance

    def same(self, part: Part[Rows], given: Array) -> Array:
        near = np.abs(part.got - given) <= self.close + RELATIVE * np.abs(part.right)
        near &= np.isfinite(part.got)  # UNWRITTEN is infinite: an infinity that was written is not it
        left = given == UNWRITTEN
        return near | (left & untouched.untouched(part.got)) if left.any() else near

    def wrong(self, part: Part[Rows], given: Array) -> Array:
        return ~(np.abs(given - part.right) < self.tolerance)

    def anything(self, given: Array) -> Array:
        return np.isnan(given)


def output(got: Array, right: Array, wrong: Array, tolerance: float) -> Matrix:
    """All three arrays are (rows, columns). Mistakes take row numbers."""
    return Output(got, right, wrong, lambda rows: rows, Within(tolerance))


def looks(tolerance: float, name_row: Callable[[int], str]) -> tuple[Look[Rows], ...]:
    """`name_row` says where a row lies: "group 2, row 5"."""
    return _only_one_value, _simply_related, _nearly_right, partial(_elsewhere, CLOSE * tolerance, name_row)


def says_nothing(output: Matrix) -> bool:
    """Whether nothing was written, or nothing but 0."""
    return bool(untouched.untouched(output.got).all() or (output.got == 0).all())


def _only_one_value(output: Matrix) -> Iterator[Cause]:
    """Wrong, and all the same: never written, 0, NaN, infinite."""
    everywhere = untouched.untouched(output.got)
    values, unwritten = output.got[output.wrong], everywhere[output.wrong]
    if everywhere.all():
        yield Cause(untouched.NAME, NOTHING_STORED, untouched.HINT)
    elif unwritten.all():
        yield Cause(untouched.NAME, LEFT_OUT, untouched.HINT)
    elif (output.got == 0).all():
        yield Cause("zero", NOTHING_ADDED, SUM)
    elif (values == 0).all():
        yield Cause("zero", "the wrong elements are all 0: nothing was added up for them", SUM)
    elif (unwritten | (values == 0)).all():
        yield Cause("zero-or-never-written", ZERO_OR_LEFT_OUT, untouched.HINT)
    elif np.isnan(values).all():
        yield Cause("nan", "the wrong elements are all NaN, a result of arithmetic, such as Inf - Inf or 0 / 0", SUM)
    elif np.isinf(values).all():
        yield Cause("infinite", INFINITE, SUM)
    elif values.size > 1 and (values == values[0]).all():
        yield Cause("constant", f"the wrong elements are all {values[0]:.6g}, whatever the inputs are")


def _simply_related(output: Matrix) -> Iterator[Cause]:
    """A factor, a summand, a sign, digits cut off; the same for every wrong element."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        actual, right = output.got[output.wrong], output.right[output.wrong]
        if not np.isfinite(actual).all() or actual.size < NEIGHBOURS:
            return
        large = np.abs(right) > np.median(np.abs(right))
        factor = float(np.median((actual / right)[large])) if large.any() else 1.0
        step = float(np.median(actual - right))

    def related(name: str, sentence: str, hint: str, function: Callable[[Array], Array]) -> Mistake[Rows]:
        def gives(rows: Rows) -> Array:
            return np.where(output.wrong[rows], function(output.right[rows]), output.right[rows])

        return Mistake(name, f"the wrong elements {sentence}", hint, gives)

    cause = find(
        output,
        (
            related("negated", "have the wrong sign", SUM, np.negative),
            related("scaled", f"are {factor:.6g} times what they should be", SUM, lambda right: factor * right),
            related("shifted", f"are too large by {step:.6g}", SUM, lambda right: right + step),
            related("whole-numbers", "are truncated to integers: they went through an int", PRECISION, np.trunc),
        ),
    )
    if cause is not None:
        yield cause


def _nearly_right(output: Matrix) -> Iterator[Cause]:
    """Small errors everywhere, of the size that 7 to 10 mantissa bits leave."""
    if not np.isfinite(output.got).all():
        return
    errors = output.got - output.right
    usual = float(np.sqrt(np.mean(errors**2)))
    relative = usual / float(np.sqrt(np.mean(output.right**2)) or 1)
    largest = float(np.abs(errors).max())
    everywhere = float((np.abs(errors) > 0.1 * usual).mean())
    if NEARLY_RIGHT[0] < relative < NEARLY_RIGHT[1] and largest < LARGEST_TO_USUAL * usual and everywhere > 0.8:
        sentence = (
            f"every element is nearly right, to about 1 part in {1 / relative:.0f}: something is kept in less than "
            "FP32 (TF32 and FP16 have 10 mantissa bits, BF16 has 7)"
        )
        yield Cause("nearly-right", sentence, PRECISION)


def _elsewhere(close: float, name_row: Callable[[int], str], output: Matrix) -> Iterator[Cause]:
    """A right value in the wrong place, or the right value plus one that belongs elsewhere."""
    if output.got.size > SEARCHED or output.got.shape[1] < NEIGHBOURS:
        return
    runs = _runs_of_wrong(output)
    if not runs:
        return
    with np.errstate(invalid="ignore"):
        surplus = output.got - output.right
    moved = "right values in the wrong place: these are the values of {}"
    added = "right values plus another result, here that of {}: the sum is not reset to 0 between tiles"
    ways = (
        ("misplaced", output.got, output.right, moved, LAYOUT),
        ("not-reset", surplus, output.right, added, SUM),
        ("not-reset", surplus, output.got, added, SUM),
    )
    for name, values, searched, sentence, hint in ways:
        places = []
        for run in runs:
            place = _find(values[run[0], run[1] : run[1] + NEIGHBOURS], searched, close)
            if place is None or place == run:
                break
            places.append(place)
        else:
            row, column = places[0]
            where = f"{name_row(row)}, column {column}"
            yield Cause(name, f"the wrong elements are {sentence.format(where)}", hint)


def _runs_of_wrong(output: Matrix) -> list[tuple[int, int]]:
    """Where NEIGHBOURS in a row are wrong; none unless nearly all wrong elements are in such runs."""
    finite = output.wrong & np.isfinite(output.got)
    if finite.sum() != output.wrong.sum():
        return []
    width = output.wrong.shape[1] // NEIGHBOURS * NEIGHBOURS
    full = output.wrong[:, :width].reshape(len(output.wrong), -1, NEIGHBOURS).all(axis=2)
    if full.sum() * NEIGHBOURS < 0.9 * output.wrong.sum():
        return []
    rows, runs = np.nonzero(full)
    first_and_others = spread(np.arange(len(rows)), SAMPLE_ELEMENTS)
    return [(int(rows[i]), int(runs[i]) * NEIGHBOURS) for i in first_and_others]


def _find(values: Array, searched: Array, close: float) -> tuple[int, int] | None:
    """Where these neighbouring values occur in `searched`."""
    at = np.flatnonzero(np.abs(searched[:, : 1 - NEIGHBOURS] - values[0]) <= close)
    columns = searched.shape[1] - NEIGHBOURS + 1
    for place in at:
        row, column = divmod(int(place), columns)
        if (np.abs(searched[row, column : column + NEIGHBOURS] - values) <= close).all():
            return row, column
    return None

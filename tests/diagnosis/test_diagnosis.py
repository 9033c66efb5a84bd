"""Which mistake is named for which numbers; and that nothing is named that does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from grader.checks import correct
from grader.checks.correct import Origin
from grader.diagnosis import tolerance
from grader.diagnosis.search import Search
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.grading import hints
from grader.model.exercise import Array, Case
from grader.reference_kernels.grouped_gemm import grouped_gemm
from grader.reference_kernels.mistakes import ANYTHING, UNWRITTEN, Cause, Mistake, numbers
from grader.reference_kernels.mistakes.search import explain

EXERCISE = catalog.read(Path(__file__).parents[2] / "exercises" / "01_simple_grouped_gemm")
ORACLE = Oracle(EXERCISE)
CASES = {case.name: case for case in ORACLE.cases(5)}
TOLERANCE = EXERCISE.tolerance
LOOKS = numbers.looks(TOLERANCE, lambda row: f"row {row}")


def right(case: Case) -> np.ndarray:
    return ORACLE.expected(case)["C_concat"]


def mistakes(case: Case, expected: np.ndarray) -> list[Mistake[np.ndarray]]:
    return list(ORACLE.mistakes(case, {"C_concat": expected}))


def output(actual: np.ndarray, expected: np.ndarray) -> numbers.Matrix:
    return numbers.output(actual, expected, ~(np.abs(actual - expected) < TOLERANCE), TOLERANCE)


def diagnosed(actual: np.ndarray, expected: np.ndarray, known: list[Mistake[np.ndarray]]) -> Cause | None:
    return explain(output(actual, expected), known, LOOKS)


def as_stored(values: np.ndarray) -> np.ndarray:
    """What a kernel with the mistake leaves in memory."""
    stored = np.where(np.isnan(values), 0.125, values).astype(np.float32)
    stored.view(np.uint32)[values == UNWRITTEN] = 0xFFFFFFFF
    return stored


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether no kernel's numbers could tell one mistake from the other."""
    with np.errstate(invalid="ignore"):
        equal = (one == other) | (np.abs(one - other) < TOLERANCE / 2) | np.isnan(one) | np.isnan(other)
    return bool(equal.mean() > 0.98)


@pytest.mark.parametrize("name", ["small", "odd-sixteens", "empty-groups"])
def test_every_known_mistake_is_recognised_and_no_other_is_named(name: str) -> None:
    case = CASES[name]
    expected = right(case)
    known = mistakes(case, expected)
    every = np.arange(len(expected))
    shown = 0
    for mistake in known:
        values = mistake.gives(every)
        actual = as_stored(values)
        visible = ~(np.abs(actual - expected) < TOLERANCE)
        if not visible.any() or np.isnan(values)[visible].mean() > 0.3:
            continue  # it does not show in this case, or only as what nobody can predict
        found = diagnosed(actual, expected, known)
        assert found is not None, mistake.name
        if found.name != mistake.name:
            other = next(m for m in known if m.name == found.name)
            assert same(values, other.gives(every)), (mistake.name, found.name)
        shown += 1
    assert shown > 100


def test_the_mistakes_link_to_sections_that_exist() -> None:
    case = CASES["odd-sixteens"]
    topics = {mistake.hint for mistake in mistakes(case, right(case))}
    assert topics <= hints.sections(EXERCISE)


def test_a_mistake_computes_the_rows_asked_for() -> None:
    case = CASES["empty-groups"]
    expected = right(case)
    rows = np.array([0, 7, len(expected) - 1])
    for mistake in mistakes(case, expected):
        every = mistake.gives(np.arange(len(expected)))
        assert every.shape == expected.shape, mistake.name
        np.testing.assert_allclose(mistake.gives(rows), every[rows], rtol=1e-4, atol=1e-4, err_msg=mistake.name)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_groups_that_nobody_computes_may_come_from_a_search_or_a_number(count: int) -> None:
    case = CASES["small"]
    expected = right(case)
    sizes = case.arguments["M_sizes"]
    assert isinstance(sizes, Array)
    rows = np.arange(len(expected))[:, None] + np.zeros(expected.shape[1], int)
    actual = unwritten(expected, rows >= sizes.data[:count].sum())
    found = diagnosed(actual, expected, mistakes(case, expected))
    assert found is not None
    assert f"only {count} of 16 are computed" in found.sentence
    assert "by a search for the group that ends too soon or a number in the code" in found.sentence


def noise(expected: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).normal(size=expected.shape)


UNKNOWN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "one element": lambda c: c + 3 * (np.arange(c.size) == 77).reshape(c.shape),
    "some columns": lambda c: c + noise(c) * (np.arange(c.shape[1]) % 3 == 0),
    "half of a known one": lambda c: np.where(np.arange(c.shape[1]) % 2 == 0, c, c + noise(c)),
    "mostly a factor": lambda c: np.where(noise(c) > 1.5, c + noise(c), 2 * c),
    "noise": noise,
    "infinite and noise": lambda c: np.where(noise(c) > 0, np.inf, noise(c)),
    "huge": lambda c: 1e30 * noise(c),
}


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("case_name", ["uniform", "odd-sixteens", "one-row"])
def test_nothing_is_named_that_does_not_fit(name: str, case_name: str) -> None:
    case = CASES[case_name]
    expected = right(case)
    actual = UNKNOWN[name](expected).astype(np.float32)
    assert diagnosed(actual, expected, mistakes(case, expected)) is None


@pytest.mark.parametrize(("value", "name"), [(-np.inf, "infinite"), (np.nan, "nan"), (1e30, "constant")])
def test_what_is_not_finite_is_close_to_nothing(value: float, name: str) -> None:
    expected = right(CASES["small"])
    found = diagnosed(np.full(expected.shape, value, np.float32), expected, mistakes(CASES["small"], expected))
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("name", ["narrow", "empty-groups", "one-row"])
def test_infinities_that_were_written_are_not_taken_for_elements_that_never_were(name: str) -> None:
    """In a small case some mistake leaves out every element, and the pattern it is known by is infinite, too."""
    expected = right(CASES[name])
    found = diagnosed(np.full(expected.shape, np.inf, np.float32), expected, mistakes(CASES[name], expected))
    assert found is not None
    assert found.name == "infinite"
    assert "a shuffle that reads from lanes that have exited" in found.sentence


def test_two_mistakes_at_once_are_not_taken_for_one() -> None:
    case = CASES["uniform"]
    expected = right(case)
    known = mistakes(case, expected)
    every = np.arange(len(expected))
    first = next(m for m in known if m.name == "b-of-group-0").gives(every)
    actual = first.astype(np.float32)
    actual[:40] += 0.5
    assert diagnosed(actual, expected, known) is None


GENERAL: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "zero": lambda c: c * 0,
    "nan": lambda c: c * np.nan,
    "infinite": lambda c: c - np.inf,
    "never-written": lambda c: np.full(c.shape, 0xFFFFFFFF, np.uint32).view(np.float32),
    "constant": lambda c: np.full(c.shape, 7.0),
    "negated": lambda c: -c,
    "scaled": lambda c: c * 1.5,
    "shifted": lambda c: c + 0.25,
    "whole-numbers": np.trunc,
    "nearly-right": lambda c: c + noise(c) * c.std() / 500,
    "misplaced": lambda c: np.roll(c, 16, axis=0),
    "not-reset": lambda c: c + np.roll(c, 48, axis=0),
}


@pytest.mark.parametrize("name", GENERAL)
def test_what_any_output_can_show(name: str) -> None:
    expected = np.random.default_rng(2).normal(size=(96, 64)) * 5
    found = diagnosed(GENERAL[name](expected).astype(np.float32), expected, [])
    assert found is not None
    assert found.name == name


def unwritten(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    stored = values.astype(np.float32)
    stored.view(np.uint32)[where] = 0xFFFFFFFF
    return stored


@pytest.mark.parametrize(
    ("stored", "left_out", "says"),
    [
        ("right", "all", "no element was ever written: no thread reaches a store"),
        ("right", "some", "the wrong elements were never written: too few blocks or threads, a search for the tile"),
        ("zero", "none", "the wrong elements are all 0: every element is stored"),
        ("zero", "some", "the wrong elements are 0 or were never written"),
        ("zero in part", "none", "the wrong elements are all 0: nothing was added up for them"),
    ],
)
def test_where_nothing_or_zero_stands_the_likely_reason_is_said(stored: str, left_out: str, says: str) -> None:
    expected = np.random.default_rng(2).normal(size=(96, 64)) * 5
    rows = np.arange(96)[:, None] + np.zeros(64, int)
    values = {"right": expected, "zero": expected * 0, "zero in part": expected * (rows % 7 > 2)}[stored]
    where = {"all": rows >= 0, "some": rows % 3 == 1, "none": rows < 0}[left_out]
    found = diagnosed(unwritten(values, where), expected, [])
    assert found is not None
    assert found.sentence.startswith(says)


def test_inputs_that_are_cut_to_whole_numbers_are_among_the_reasons_for_zero() -> None:
    """In [-1, 1) nothing but 0 is left of them."""
    case = CASES["small"]
    a, b, sizes = (case.arguments[name] for name in ("A_concat", "B_concat", "M_sizes"))
    assert isinstance(a, Array) and isinstance(b, Array) and isinstance(sizes, Array)
    expected = right(case)
    found = diagnosed(grouped_gemm(np.trunc(a.data), b.data, sizes.data), expected, [])
    assert found is not None
    assert "inputs that are never loaded, or an int that holds an input or the sum" in found.sentence


def test_zero_and_noise_are_not_taken_for_nothing_added() -> None:
    expected = np.random.default_rng(2).normal(size=(96, 64)) * 5
    actual = unwritten(np.where(noise(expected) > 0, 0, noise(expected)), noise(expected) > 1)
    assert diagnosed(actual, expected, []) is None


def test_the_scale_and_the_place_are_said() -> None:
    expected = np.random.default_rng(2).normal(size=(96, 64)) * 5
    scaled = diagnosed((expected * 1.5).astype(np.float32), expected, [])
    moved = diagnosed(np.roll(expected, 16, axis=0).astype(np.float32), expected, [])
    assert scaled is not None and "1.5 times" in scaled.sentence
    assert moved is not None and "row 80, column 0" in moved.sentence


def test_anything_agrees_with_anything_but_explains_nothing_alone() -> None:
    expected = np.random.default_rng(2).normal(size=(8, 16))
    nothing = Mistake("m", "a sentence", "", lambda rows: np.full((len(rows), 16), ANYTHING))
    actual = (expected + noise(expected)).astype(np.float32)
    assert diagnosed(actual, expected, [nothing]) is None


def test_a_finding_says_the_mistake_first_and_links_to_it() -> None:
    case = CASES["small"]
    expected = ORACLE.expected(case)
    known = mistakes(case, expected["C_concat"])
    actual = known[0].gives(np.arange(len(expected["C_concat"])))
    outputs = {"C_concat": actual.astype(np.float32)}
    judged = tolerance.judge(case, outputs, expected, tolerance=TOLERANCE, search=Search(ORACLE.mistakes))
    check = correct.judge(case, judged, outputs, filename="starter.cu", origins={"C_concat": Origin("C_concat", 0)})
    (finding,) = check.findings
    assert finding.message.startswith(
        "every group is multiplied by B of group 0. First wrong element: group 1, row 0,"
    )
    assert finding.hint == "group-offsets"


def searched(search: Search, case: Case, actual: np.ndarray, expected: np.ndarray) -> Cause | None:
    return search.explain(case, "C", output(actual, expected), {"C": expected}, LOOKS)


def a_case() -> Case:
    return Case("odd", True, {"x": Array("x", np.zeros(1))}, "M 3")


def test_a_mistake_that_fails_costs_no_verdict() -> None:
    def broken(case: Case, expected: object) -> Iterator[Mistake[np.ndarray]]:
        raise ZeroDivisionError
        yield

    expected = np.ones((4, 4))
    assert searched(Search(broken), a_case(), 3 * expected, expected) is None


def test_an_empty_small_case_does_not_decide_which_mistake_it_is() -> None:
    """Tiles that are left over are all that it has: it is 0 by that mistake, and by any other."""
    small, large = CASES["narrow"], CASES["variable"]
    nothing = {case.name: np.zeros_like(right(case)) for case in (small, large)}
    search = Search(ORACLE.mistakes)

    def explained(case: Case, actual: np.ndarray) -> str:
        wrong = output(actual, right(case))
        found = search.explain(case, "C_concat", wrong, {"C_concat": right(case)}, LOOKS)
        assert found is not None
        return found.name

    assert [explained(case, nothing[case.name]) for case in (small, large)] == ["zero", "zero"]
    left_out = next(m for m in mistakes(large, right(large)) if m.name == "rows-tail-64-0")
    assert explained(large, left_out.gives(np.arange(len(right(large))))) == left_out.name
    assert explained(small, nothing[small.name]) == left_out.name


def test_what_fitted_once_is_tried_first_and_searches_are_few() -> None:
    asked: list[str] = []

    def known(case: Case, expected: object) -> Iterator[Mistake[np.ndarray]]:
        for name, value in (("three", 3.0), ("five", 5.0)):

            def values(rows: np.ndarray, name: str = name, value: float = value) -> np.ndarray:
                asked.append(name)
                return np.full((len(rows), 4), value)

            yield Mistake(name, f"all are {name}", "", values)

    expected = np.arange(16.0).reshape(4, 4) + 20
    search = Search(known)
    fives = np.full((4, 4), 5.0)
    assert searched(search, a_case(), fives, expected).name == "five"
    assert "three" in asked
    asked.clear()
    assert searched(search, a_case(), fives, expected).name == "five"
    assert "three" not in asked

    search, unknown = Search(known), expected + np.arange(16.0).reshape(4, 4) % 3 + 1
    for _ in range(Search.FULL_SEARCHES):
        searched(search, a_case(), unknown, expected)
    asked.clear()
    assert searched(search, a_case(), unknown, expected) is None
    assert not asked


def test_what_fits_a_small_case_by_chance_does_not_hide_the_mistake_in_the_others() -> None:
    """In a square of one tile, B's tiles are stored transposed if B is."""
    search, names = Search(ORACLE.mistakes), []
    for name in ("narrow", "small"):
        case = CASES[name]
        expected = right(case)
        mistake = next(m for m in mistakes(case, expected) if m.name == "b-tile-transposed-16")
        actual = as_stored(mistake.gives(np.arange(len(expected))))
        found = search.explain(case, "C_concat", output(actual, expected), {"C_concat": expected}, LOOKS)
        assert found is not None
        names.append(found.name)
    assert names == ["b-transposed", "b-tile-transposed-16"]

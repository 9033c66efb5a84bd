"""The search for the mistake, whatever the subject: what fits, what does not, and what was never written."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from grader.reference_kernels.fp8 import E4M3, E5M2, Format, encode, encode_stochastic
from grader.reference_kernels.mistakes import Cause, Mistake, untouched
from grader.reference_kernels.mistakes.fp8 import DECODINGS, encodings, why_encoded
from grader.reference_kernels.mistakes.quantization import Quantized, byte_mistakes, explain_scales, scale_mistakes
from grader.reference_kernels.mistakes.search import Agreement, Output, explain, find
from grader.reference_kernels.quantization import BLOCK_WISE, FINE_GRAINED, PER_CHANNEL, PER_TENSOR, Granularity

X = np.random.default_rng(3).standard_normal(50_000).astype(np.float32)

# ---- the search


class Few(Agreement[np.ndarray]):
    few = 8


class Together(Agreement[np.ndarray]):
    together = 2


def vector(got: np.ndarray, agreement: Agreement[np.ndarray]) -> Output[np.ndarray]:
    """Right is 0, 1, 2, ...; a mistake is asked for elements by their number."""
    right = np.arange(got.size)
    return Output(got, right, got != right, lambda at: at, agreement)


def a_mistake(name: str, gives: Callable[[np.ndarray], np.ndarray]) -> Mistake[np.ndarray]:
    return Mistake(name, f"it is {name}", "hint", gives)


EVEN = a_mistake("even", lambda at: np.where(at % 2 == 0, -1, at))
THIRD = a_mistake("third", lambda at: np.where(at % 3 == 0, -3, at))
DOUBLE = a_mistake("double", lambda at: 2 * at)


def test_the_mistake_that_gives_all_of_the_wrong_elements_is_named() -> None:
    got = DOUBLE.gives(np.arange(100_000))
    assert find(vector(got, Agreement()), (EVEN, THIRD, DOUBLE)) == DOUBLE.cause


def test_a_mistake_that_would_spoil_what_is_right_is_not() -> None:
    got = np.arange(100_000)
    got[:50_000:2] = -1
    assert find(vector(got, Agreement()), (EVEN, THIRD, DOUBLE)) is None


def test_one_wrong_element_that_it_does_not_give_is_enough() -> None:
    got = EVEN.gives(np.arange(2_000))
    got[1_000] = 77
    assert find(vector(got, Agreement()), (EVEN,)) is None


def test_two_mistakes_together_are_named_only_where_they_may_be() -> None:
    at = np.arange(6_000)
    half = a_mistake("half", lambda at: np.where(at < 3_000, -2, at))
    rest = a_mistake("rest", lambda at: np.where(at > 4_000, -4, at))
    got = np.where(at < 3_000, -2, np.where(at > 4_000, -4, at))
    assert find(vector(got, Agreement()), (half, rest)) is None
    found = find(vector(got, Together()), (half, rest))
    assert found is not None
    assert found.sentence == "it is half; and it is rest"


def test_of_a_few_wrong_elements_only_a_single_fitting_mistake_is_named() -> None:
    got = np.arange(100)
    got[:3] = -1
    one = a_mistake("one", lambda at: np.where(at < 3, -1, at))
    two = a_mistake("two", lambda at: np.where(at <= 2, -1, at))
    assert find(vector(got, Few()), (one, EVEN)) == one.cause
    assert find(vector(got, Few()), (one, two)) is None
    assert find(vector(got, Agreement()), (one, two)) == one.cause
    assert find(vector(got[:5], Few()), (one,)) is None, "five elements say nothing"


SEEN = Cause("seen", "it was seen")


def test_a_look_is_asked_where_no_mistake_fits() -> None:
    def look(output: Output[np.ndarray]) -> Iterator[Cause]:
        yield SEEN

    got = DOUBLE.gives(np.arange(100))
    assert explain(vector(got, Agreement()), (DOUBLE,), (look,)) == DOUBLE.cause
    assert explain(vector(got, Agreement()), (EVEN,), (look,)) == SEEN


# ---- what was never written


def words(n: int, missing: Callable[[np.ndarray], np.ndarray], maybe: tuple[int, ...] = ()) -> str | None:
    at = np.arange(n)
    either = missing(at)
    right_as_it_is = np.isin(at, maybe)
    return untouched.region(either & ~right_as_it_is, right_as_it_is)


def test_a_region_is_never_written() -> None:
    assert words(1003, lambda i: i >= 1000) == (
        "the last 3 elements were never written: 4 does not divide n, and the remainder is left out"
    )
    assert words(1003, lambda i: i >= 0) == "no element was ever written"
    assert words(1000, lambda i: (i >= 256) & (i < 512)) == "elements 256 to 511 were never written"
    assert words(1024, lambda i: i % 32 >= 16) == "elements 16 to 31 of every 32 were never written"
    assert words(1024, lambda i: i % 4 == 3) == "element 3 of every 4 was never written"


def test_a_nan_that_was_right_may_lie_in_it() -> None:
    assert words(1003, lambda i: i >= 1000, maybe=(1001,)) == words(1003, lambda i: i >= 1000)
    assert words(1003, lambda i: i > 1000, maybe=(1000,)) == words(1003, lambda i: i >= 1000)


def test_elements_here_and_there_are_no_region() -> None:
    scattered = np.random.default_rng(1).random(5000) < 0.5
    assert words(5000, lambda i: scattered & (i < 4999)) is None
    assert words(1000, lambda i: i == 500) is None


def test_rows_and_columns_are_a_block_and_what_is_scattered_is_none() -> None:
    mask = np.zeros((40, 30), bool)
    mask[:, 20:] = True
    assert untouched.is_block(mask)
    mask[35:] = True  # what is ragged on both sides
    assert untouched.is_block(mask)
    assert not untouched.is_block(np.random.default_rng(1).random((40, 30)) < 0.5)


@pytest.mark.parametrize("fmt", [E4M3, E5M2], ids=lambda fmt: fmt.name)
def test_a_nan_for_each_negative_number_is_not_taken_for_nothing_written(fmt: Format) -> None:
    right = encode(X, fmt)
    got = np.where(X < 0, np.uint8(0xFF), right)
    found = why_encoded(got, right, got != right, X, fmt)
    assert found is not None
    assert found.name == "negatives-taken-for-nan"


# ---- the mistakes themselves

GRANULARITIES = {"per tensor": PER_TENSOR, "1x128": FINE_GRAINED, "per channel": PER_CHANNEL, "128x128": BLOCK_WISE}


def quantized(granularity: Granularity) -> Quantized:
    rng = np.random.default_rng(5)
    shape = (150, 400) if len(granularity.block) == 2 else (3, 200, 300)
    return Quantized.of((rng.standard_normal(shape) * rng.uniform(0.1, 9, shape)).astype(np.float32), granularity)


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=GRANULARITIES)
def test_every_mistake_in_the_scales_is_found_again(granularity: Granularity) -> None:
    """Under its own name, or that of another one that gives the same there."""
    right = quantized(granularity)
    shown = 0
    for mistake in scale_mistakes(right):
        with np.errstate(all="ignore"):
            given = np.asarray(mistake.gives(np.arange(right.scales.size)), np.float32).reshape(right.scales.shape)
        got = np.where(np.isnan(given), np.float32(0.5), given)
        wrong = got != right.scales
        if wrong.any():
            assert explain_scales(right, got, wrong) is not None, mistake.name
            shown += 1
    assert shown > 8


@pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=GRANULARITIES)
def test_names_are_given_once_in_an_exercise(granularity: Granularity) -> None:
    right = quantized(granularity)
    for mistakes in (
        [*scale_mistakes(right)],
        [*byte_mistakes(right)],
        [*encodings(E4M3, by_chance=False)],
        [*encodings(E5M2, by_chance=True)],
        [*DECODINGS],
    ):
        names = [mistake.name for mistake in mistakes]
        assert len(set(names)) == len(names)
        assert all(mistake.sentence and not mistake.sentence.endswith(".") for mistake in mistakes)


@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("n", [4_000, 4_003])
def test_a_shared_random_number_is_named_with_its_tail_or_without(n: int, tail: bool) -> None:
    random = np.random.default_rng(2).integers(0, 1 << 32, n, dtype=np.uint32)
    at = np.arange(n)
    first = at // 4 * 4
    used = np.where((first + 4 > n) & (not tail), at, first)
    right, got = encode_stochastic(X[:n], random), encode_stochastic(X[:n], random[used])
    found = why_encoded(got, right, got != right, X[:n], E4M3, random)
    assert found is not None
    assert found.sentence.startswith("each 4 elements share one random number")

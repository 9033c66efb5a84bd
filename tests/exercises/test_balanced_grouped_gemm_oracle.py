"""exercises/04_balanced_grouped_gemm/oracle.py, through the door that the grader uses."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Array, Case
from grader.reference_kernels.grouped_gemm_cases import zipf

EXERCISES = Path(__file__).parents[2] / "exercises"
EXERCISE = catalog.read(EXERCISES / "04_balanced_grouped_gemm")
FIRST = catalog.read(EXERCISES / "01_simple_grouped_gemm")
ORACLE = Oracle(EXERCISE)

MAX_GROUPS = 256
SKEWED = ("zipf64", "zipf256")


def data(case: Case, name: str) -> np.ndarray:
    array = case.arguments[name]
    assert isinstance(array, Array)
    return array.data


def rows(case: Case) -> list[int]:
    found: list[int] = data(case, "M_sizes").tolist()
    return found


def work(case: Case) -> int:
    k, n = case.arguments["K"], case.arguments["N"]
    assert isinstance(k, int)
    assert isinstance(n, int)
    return sum(rows(case)) * k * n


def test_the_kernel_and_the_required_cases_are_exercise_01_s() -> None:
    assert EXERCISE.kernels == FIRST.kernels
    assert (EXERCISE.tolerance, EXERCISE.cases) == (FIRST.tolerance, FIRST.cases)
    other = {case.name: case for case in Oracle(FIRST).cases(7) if case.required}
    for case in ORACLE.cases(7):
        if case.required:
            for name in ("A_concat", "B_concat", "M_sizes", "group_offsets"):
                np.testing.assert_array_equal(data(case, name), data(other[case.name], name))


@pytest.mark.parametrize("seed", range(10))
def test_extra_cases_keep_the_promises_and_stay_cheap(seed: int) -> None:
    extra = [case for case in ORACLE.cases(seed) if not case.required]
    for case in extra:
        assert 1 <= len(rows(case)) <= MAX_GROUPS
        assert sum(rows(case)) >= 1
        assert [b - a for a, b in pairwise(data(case, "group_offsets").tolist())] == rows(case)
    assert sum(map(work, extra)) <= 1111 * 1024 * 1024 / 10


@pytest.mark.parametrize("seed", range(10))
def test_extra_cases_are_skewed(seed: int) -> None:
    found = {case.name: rows(case) for case in ORACLE.cases(seed)}
    assert len(found["many-groups"]) == MAX_GROUPS
    assert len(found["zipf-routed"]) == 64
    assert max(found["zipf-routed"]) > 10 * np.mean(found["zipf-routed"])
    assert sorted(found["one-expert"])[:-1] == [0] * 63
    assert found["ends-empty"][:2] == found["ends-empty"][-2:] == [0, 0] < [max(found["ends-empty"])]


@pytest.fixture(scope="module")
def skewed() -> list[Case]:
    return ORACLE.on_gpu(3)


def test_on_a_gpu_tokens_follow_zipf_s_law(skewed: list[Case]) -> None:
    assert [case.name for case in skewed] == list(SKEWED)
    assert set(SKEWED) == set(EXERCISE.speed_cases) - set(EXERCISE.cases)
    for case, experts in zip(skewed, (64, 256), strict=True):
        assert case.gpu_only
        assert (len(rows(case)), sum(rows(case))) == (experts, 8192)
        share = 1 / sum(1 / rank for rank in range(1, experts + 1))
        assert max(rows(case)) == pytest.approx(8192 * share, rel=0.15)
        assert len(case.summary) < 100  # not all of them


def test_the_popular_expert_is_drawn() -> None:
    """And how many tokens it gets, by the same law for every seed."""
    drawn = [zipf(np.random.default_rng(seed), 64, 8192) for seed in range(20)]
    assert len({int(np.argmax(sizes)) for sizes in drawn}) > 5
    assert all(1500 < max(sizes) < 1950 for sizes in drawn)
    assert np.mean([sorted(sizes)[-2] for sizes in drawn]) == pytest.approx(
        np.mean([max(m) for m in drawn]) / 2, rel=0.1
    )


def test_another_set_of_a_skewed_case_has_the_same_sizes_and_other_values(skewed: list[Case]) -> None:
    first = skewed[0]
    other = ORACLE.another(first, 99)
    assert rows(other) == rows(first)
    assert other.gpu_only
    assert not np.array_equal(data(other, "A_concat"), data(first, "A_concat"))


def test_padding_to_the_longest_must_be_beaten_where_groups_differ_most() -> None:
    for name in EXERCISE.speed_cases:
        assert EXERCISE.floors_of(name) == ({"padded": 1.3} if name in SKEWED else {})


def test_what_padding_costs_is_told_of_every_case_but_a_secret_one() -> None:
    for case in ORACLE.cases(7):
        assert list(case.group_rows) == rows(case)
    assert ORACLE.secret({"M_sizes": [3, 0, 17], "K": 48, "N": 80}, 5, "secret-1").group_rows == ()
    assert all(case.group_rows == () for case in Oracle(FIRST).cases(7))


def test_a_secret_case_may_have_more_groups_than_in_exercise_01() -> None:
    case = ORACLE.secret({"M_sizes": [1] * MAX_GROUPS, "K": 16, "N": 16}, 5, "secret-1")
    assert len(rows(case)) == MAX_GROUPS


def test_the_objectives_of_balance_belong_here() -> None:
    assert "Optimize load balancing with work stealing" in EXERCISE.objectives
    assert not set(EXERCISE.objectives) & set(FIRST.objectives)

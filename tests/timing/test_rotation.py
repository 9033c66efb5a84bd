from __future__ import annotations

import pytest

from grader.timing.rotation import MAX_SETS, MIN_SETS, sets

L2 = 60 << 20


@pytest.mark.parametrize("input_bytes", [1 << 20, 1_569_000, 10 << 20, 22 << 20])
def test_together_larger_than_twice_the_cache(input_bytes: int) -> None:
    count = sets(input_bytes, L2)
    assert 2 * L2 < count * input_bytes <= 2.05 * L2 + input_bytes


def test_a_huge_problem_still_changes_its_inputs() -> None:
    assert sets(1 << 30, L2) == MIN_SETS


def test_a_tiny_problem_has_an_end() -> None:
    assert sets(64, L2) == MAX_SETS

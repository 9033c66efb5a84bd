"""exercises/01_simple_grouped_gemm/oracle.py, through the door that the grader uses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from grader.errors import UsageError
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Array, Case

EXERCISE = catalog.read(Path(__file__).parents[2] / "exercises" / "01_simple_grouped_gemm")
ORACLE = Oracle(EXERCISE)

REQUIRED = {  # the contract
    "uniform": ([128] * 4, 256, 256),
    "variable": ([64, 128, 32, 256, 16, 192, 96, 48], 512, 512),
    "imbalanced": ([1, 10, 100, 1000], 1024, 1024),
    "small": ([8, 12, 16, 24, 32, 8, 16, 12, 20, 28, 16, 8, 24, 32, 16, 12], 128, 128),
}
IMBALANCED_WORK = 1111 * 1024 * 1024


def data(case: Case, name: str) -> np.ndarray:
    array = case.arguments[name]
    assert isinstance(array, Array)
    return array.data


def sizes(case: Case) -> tuple[list[int], int, int]:
    k, n = case.arguments["K"], case.arguments["N"]
    assert isinstance(k, int)
    assert isinstance(n, int)
    return data(case, "M_sizes").tolist(), k, n


def work(case: Case) -> int:
    m_sizes, k, n = sizes(case)
    return sum(m_sizes) * k * n


def extra(seed: int) -> Iterator[Case]:
    return (case for case in ORACLE.cases(seed) if not case.required)


@pytest.fixture(scope="module")
def required() -> dict[str, Case]:
    return {case.name: case for case in ORACLE.cases(7) if case.required}


def test_the_required_cases_are_those_of_the_contract(required: dict[str, Case]) -> None:
    assert {name: sizes(case) for name, case in required.items()} == REQUIRED
    assert tuple(required) == EXERCISE.cases


def test_a_case_holds_every_parameter_in_its_shape(required: dict[str, Case]) -> None:
    (kernel,) = EXERCISE.kernels
    for case in required.values():
        m_sizes, k, n = sizes(case)
        assert list(case.arguments) == [parameter.name for parameter in kernel.parameters]
        assert data(case, "A_concat").shape == (sum(m_sizes), k)
        assert data(case, "B_concat").shape == (len(m_sizes), k, n)
        assert data(case, "C_concat").shape == (sum(m_sizes), n)
        assert [b - a for a, b in pairwise(data(case, "group_offsets").tolist())] == m_sizes
        assert case.arguments["num_groups"] == len(m_sizes)
        access = {name: a.access for name, a in case.arguments.items() if isinstance(a, Array)}
        assert {name for name, kind in access.items() if kind != "in"} == {"C_concat"}


def test_values_are_spread_over_the_whole_range(required: dict[str, Case]) -> None:
    for name in ("A_concat", "B_concat"):
        values = data(required["variable"], name)
        assert values.dtype == np.float32
        assert -1 <= values.min() < -0.99
        assert 0.99 < values.max() <= 1
        assert abs(values.mean()) < 0.01
        assert values.var() == pytest.approx(1 / 3, rel=0.02)


def test_expected_is_the_product_in_fp64(required: dict[str, Case]) -> None:
    case = required["imbalanced"]
    c = ORACLE.expected(case)["C_concat"]
    a, b = data(case, "A_concat"), data(case, "B_concat")
    assert c.dtype == np.float64
    for row, group, col in [(0, 0, 0), (1, 1, 1023), (10, 1, 5), (11, 2, 5), (110, 2, 77), (1110, 3, 1023)]:
        products = (float(x) * float(y) for x, y in zip(a[row], b[group, :, col], strict=True))
        assert c[row, col] == pytest.approx(math.fsum(products), abs=1e-12)


def test_the_tolerance_tells_fp32_from_less(required: dict[str, Case]) -> None:
    """FP32 sums stay ten times below it; inputs cut to TF32 exceed it."""
    for case in required.values():
        reference = ORACLE.expected(case)["C_concat"]
        a, b = data(case, "A_concat"), data(case, "B_concat")
        tf32 = [(x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32) for x in (a, b)]
        errors = [np.abs(product(case, *inputs) - reference).max() for inputs in ((a, b), tf32)]
        assert errors[0] < EXERCISE.tolerance / 10
        assert errors[1] > EXERCISE.tolerance


def product(case: Case, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    bounds = pairwise(data(case, "group_offsets").tolist())
    return np.concatenate([a[first:end] @ b[group] for group, (first, end) in enumerate(bounds)])


def test_one_case_can_be_made_again_alone() -> None:
    first = {case.name: case for case in ORACLE.cases(11)}
    again = next(case for case in extra(11) if case.name == "narrow")
    for name in ("A_concat", "B_concat", "M_sizes"):
        np.testing.assert_array_equal(data(first["narrow"], name), data(again, name))


def test_another_seed_gives_other_values_and_the_same_names() -> None:
    one, other = list(ORACLE.cases(1)), list(ORACLE.cases(2))
    assert [case.name for case in one] == [case.name for case in other]
    for a, b in zip(one, other, strict=True):
        assert not np.array_equal(data(a, "A_concat"), data(b, "A_concat"))


@pytest.mark.parametrize("seed", range(20))
def test_extra_cases_keep_the_promises_and_stay_cheap(seed: int) -> None:
    cases = list(extra(seed))
    for case in cases:
        m_sizes, k, n = sizes(case)
        assert k % 16 == n % 16 == 0 < k * n
        assert 1 <= len(m_sizes) <= 64
        assert sum(m_sizes) >= 1
    assert sum(map(work, cases)) <= IMBALANCED_WORK / 10


@pytest.mark.parametrize("seed", range(20))
def test_extra_cases_cover_the_awkward_shapes(seed: int) -> None:
    shapes = {case.name: sizes(case) for case in extra(seed)}
    rows, k, n = shapes["empty-groups"]
    assert rows[0] == rows[-1] == 0 < sum(rows)
    assert k % 32 == n % 32 == 16  # so that a tile of 32 shows there whether its bounds are right
    assert shapes["one-row"][0] == [1]
    assert set(shapes["single-rows"][0]) == {1}
    assert len([m for m in shapes["hot-group"][0] if m]) == 1 < len(shapes["hot-group"][0])
    assert len(shapes["one-group"][0]) == 1
    assert len(shapes["many-groups"][0]) == 64
    assert shapes["narrow"][1:] == (16, 16)
    assert all(value % 32 == 16 for value in shapes["odd-sixteens"][1:])
    for m in shapes["prime-rows"][0]:
        assert m > 1
        assert all(m % d for d in range(2, m))


def test_a_secret_case_is_made_from_its_spec() -> None:
    case = ORACLE.secret({"M_sizes": [3, 0, 17], "K": 48, "N": 80}, 5, "secret-1")
    assert sizes(case) == ([3, 0, 17], 48, 80)
    assert (case.name, case.secret, case.required) == ("secret-1", True, False)
    assert ORACLE.expected(case)["C_concat"].shape == (20, 80)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"K": None}, "K is missing"),
        ({"L": 3}, "unknown field 'L'"),
        ({"M_sizes": []}, "list of row counts"),
        ({"M_sizes": 3}, "list of row counts"),
        ({"M_sizes": [1, -2]}, "holds -2"),
        ({"M_sizes": [1.5]}, "holds 1.5"),
        ({"M_sizes": [True]}, "holds True"),
        ({"M_sizes": [0, 0]}, "every group is empty"),
        ({"M_sizes": [1] * 65}, "65 groups; the limit is 64"),
        ({"K": 24}, "K is 24"),
        ({"N": 0}, "N is 0"),
        ({"N": "16"}, "N is '16'"),
        ({"M_sizes": [2000], "K": 1024, "N": 1024}, "more work"),
        ({"K": 1 << 20, "N": 1 << 10}, "more work"),
        ({"M_sizes": [1] + [0] * 63, "K": 1024, "N": 65536}, "inputs have more"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_field(change: dict[str, object], says: str) -> None:
    spec = {"M_sizes": [3], "K": 16, "N": 16} | change
    with pytest.raises(UsageError, match=says) as caught:
        ORACLE.secret({key: value for key, value in spec.items() if value is not None}, 1, "secret-2")
    assert "secret-2" in str(caught.value)

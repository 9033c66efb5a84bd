"""exercises/05_fp8_grouped_gemm/oracle.py, through the door that the grader uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from grader.errors import UsageError
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Array, Case
from grader.model.judged import Judged
from grader.reference_kernels.fp8_grouped_gemm import to_bf16
from tests.kernels.several import Several

EXERCISE = catalog.read(Path(__file__).parents[2] / "exercises" / "05_fp8_grouped_gemm")
ORACLE = Oracle(EXERCISE)

REQUIRED = {  # the contract
    "uniform": ([128] * 4, 256, 256),
    "variable": ([64, 128, 32, 256, 16, 192, 96, 48], 512, 512),
    "imbalanced": ([1, 10, 100, 1000], 1024, 1024),
    "small": ([8, 12, 16, 24, 32, 8, 16, 12, 20, 28, 16, 8, 24, 32, 16, 12], 128, 128),
}
IMBALANCED_WORK = 1111 * 1024 * 1024

# What each wrong kernel with wrong numbers is told. The rest is caught by memory, launch or compile.
CAUSES = {
    "a_offset_ignored": "a-codes-without-offset",
    "a_scale_by_column": "a-scale-by-column",
    "a_scale_halves_shared": "a-scale-halves-shared",
    "a_scale_of_the_first_block": "scales-of-the-first-block",  # B's are equal in this case
    "a_scale_of_the_next_row": "a-scale-of-the-row-below",
    "a_scale_of_the_tile": "a-scale-of-16-rows",
    "a_scale_without_offset": "a-scale-without-offset",
    "a_scales_transposed": "a-scale-transposed-in-group",
    "accumulators_swapped": "c-registers-swapped",
    "b_of_group_0": "b-of-group-0",
    "b_scale_of_group_0": "b-scale-of-group-0",
    "b_scale_of_the_first_block": "b-scale-of-the-first-block",
    "b_scale_of_the_first_columns": "b-scale-of-the-first-columns",
    "b_scale_transposed": "b-scale-transposed",
    "b_transposed": "b-transposed",
    "bf16_accumulation": "nearly-right",
    "bf16_block_sums": "bf16-block-sums",
    "bf16_cut": "bf16-cut",
    "bf16_inputs": "bf16-inputs",
    "bf16_totals": "bf16-totals",
    "decoded_as_e5m2": "nan",
    "divided_by_the_scale": "a-scale-divided",
    "fp16_accumulation": "nearly-right",
    "fp16_block_sums": "fp16-block-sums",
    "fp16_stored": "fp16-stored",
    "fragment_of_a_swapped": "a-registers-swapped",
    "fragment_of_b_swapped": "b-halves-swapped",
    "grid_of_the_first_group": "as-tall-as-last-8",  # as tall as the first, in tiles of 16
    "half_of_k": "k-every-other-step-32",
    "integer_stored": "integer-stored",
    "no_a_scale": "no-a-scale",
    "no_b_scale": "no-b-scale",
    "ragged_block_dropped": "k-tail-128",
    "ragged_groups_of_scales": "b-scale-group-stride",
    "ragged_rows_of_scales": "a-scale-stride-in-group",
    "scales_added": "scales-added",
    "scales_late": "scales-of-the-last-block",
    "sign_lost": "unsigned",
    "sum_not_reset": "not-reset-between-blocks",
}
PROMISE = re.compile(r"// caught by: correct\[([\w-]+)\]")


def data(case: Case, name: str) -> np.ndarray:
    array = case.arguments[name]
    assert isinstance(array, Array)
    return array.data


def sizes(case: Case) -> tuple[list[int], int, int]:
    k, n = case.arguments["K"], case.arguments["N"]
    assert isinstance(k, int)
    assert isinstance(n, int)
    return data(case, "M_sizes").tolist(), k, n


def extra(seed: int) -> Iterator[Case]:
    return (case for case in ORACLE.cases(seed) if not case.required)


@cache
def case_and_expected(name: str) -> tuple[Case, dict[str, np.ndarray]]:
    case = next(case for case in ORACLE.cases(7) if case.name == name)
    return case, ORACLE.expected(case)


def judged(name: str, bits: np.ndarray) -> Judged:
    case, expected = case_and_expected(name)
    found = ORACLE.judge(case, {"C_concat": bits}, expected)
    assert found is not None
    return found[0]


def test_the_required_cases_are_those_of_the_contract() -> None:
    required = {case.name: sizes(case) for case in ORACLE.cases(7) if case.required}
    assert required == REQUIRED
    assert tuple(required) == EXERCISE.cases


def test_extra_cases_are_cheap_awkward_and_repeatable() -> None:
    cases = list(extra(7))
    assert sum(sum(m) * k * n for m, k, n in map(sizes, cases)) < IMBALANCED_WORK / 10
    assert all(k % 16 == n % 16 == 0 and sum(m) > 0 and len(m) <= 64 for m, k, n in map(sizes, cases))
    assert any(k % 128 and k > 128 for _, k, _ in map(sizes, cases))
    assert (48, 144) in [(k, n) for _, k, n in map(sizes, cases)]
    for case, again in zip(cases, extra(7), strict=True):
        for name, value in case.arguments.items():
            if isinstance(value, Array) and value.access == "in":
                np.testing.assert_array_equal(value.data, data(again, name))


@pytest.mark.parametrize("seed", range(3))
def test_in_extra_cases_every_block_has_a_magnitude_of_its_own(seed: int) -> None:
    case = next(case for case in extra(seed) if case.name == "ragged-blocks")
    for name in ("A_scales", "B_scales"):
        scales = np.sort(data(case, name).ravel())
        assert scales[-1] > 2 * scales[0]
    assert np.ptp(data(case_and_expected("uniform")[0], "B_scales")) < 1e-6


def test_a_secret_case_is_made_of_its_sizes() -> None:
    case = ORACLE.secret({"M_sizes": [3, 0, 17], "K": 48, "N": 80}, 1, "secret-1")
    assert sizes(case) == ([3, 0, 17], 48, 80)
    assert case.secret


@pytest.mark.parametrize(
    "spec", [{"M_sizes": [3], "K": 48}, {"M_sizes": [0], "K": 48, "N": 80}, {"M_sizes": [3], "K": 40, "N": 80}]
)
def test_a_secret_case_that_makes_no_sense_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="secret case 'secret-1'"):
        ORACLE.secret(spec, 1, "secret-1")


def test_the_exact_rounding_is_right_and_a_neighbour_is_not() -> None:
    _, expected = case_and_expected("narrow")
    exact = to_bf16(expected["C_concat"])
    assert not judged("narrow", exact).wrong.any()
    other = exact.copy()
    other[3, 5] += 2
    other[4, 6] = 0xFFFF
    found = judged("narrow", other)
    assert np.argwhere(found.wrong).tolist() == [[3, 5], [4, 6]]
    assert "group 0, row 3, column 5" in found.sentence


def test_what_was_never_written_is_said_so() -> None:
    _, expected = case_and_expected("narrow")
    found = judged("narrow", np.full(expected["C_concat"].shape, 0xFFFF, np.uint16))
    assert found.wrong.all()
    assert found.sentence.endswith("nothing was written")
    assert found.mistake == "never-written"


def wrong_numbers() -> Iterator[tuple[str, str]]:
    for file in sorted((EXERCISE.folder / "wrong").glob("*.cu")):
        if promise := PROMISE.match(file.read_text(encoding="utf-8")):
            yield file.stem, promise[1]


def test_the_table_of_causes_is_complete() -> None:
    assert sorted(CAUSES) == [name for name, _ in wrong_numbers()]


@pytest.mark.parametrize(("name", "case_name"), list(wrong_numbers()))
def test_a_wrong_number_is_explained(name: str, case_name: str) -> None:
    case, expected = case_and_expected(case_name)
    source = (EXERCISE.folder / "wrong" / f"{name}.cu").read_text(encoding="utf-8")
    findings, outputs = Several(EXERCISE, source).run(case)
    assert findings == ()
    found = ORACLE.judge(case, outputs, expected)
    assert found is not None
    assert found[0].wrong.any()
    assert found[0].mistake == CAUSES[name]
    text = (EXERCISE.folder / "problem.md").read_text(encoding="utf-8")
    headings = {line[4:].lower().replace(" ", "-") for line in text.splitlines() if line.startswith("### ")}
    assert found[0].hint in headings

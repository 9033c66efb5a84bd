"""Correct submissions to exercises 02, 03 and 05 over many techniques: right numbers, and not a single finding."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Case, Exercise
from tests.kernels.several import Several

HERE = Path(__file__).parent
EXERCISES = HERE.parents[1] / "exercises"

# Small; together every kind of input, and sizes that fit no tile.
CASES = {
    "02_fp8_conversion": ("fp8_conversion", ("boundaries", "chance-edges", "three")),
    "03_fp8_quantization": ("fp8_quantization", ("ragged", "tiny", "narrow")),
    "05_fp8_grouped_gemm": ("fp8_grouped_gemm", ("small", "empty-groups", "narrow", "short-blocks", "ragged-blocks")),
}
SUBMISSIONS = [
    pytest.param(exercise, file, id=f"{folder}/{file.stem}")
    for exercise, (folder, _) in CASES.items()
    for file in sorted((HERE / folder).glob("*.cu"))
]


class Prepared(NamedTuple):
    """An exercise, and the cases that its submissions run on with what is right for each."""

    exercise: Exercise
    oracle: Oracle
    cases: list[tuple[Case, dict[str, np.ndarray]]]


@cache
def prepared(name: str) -> Prepared:
    exercise = catalog.read(EXERCISES / name)
    oracle = Oracle(exercise)
    cases = [(case, oracle.expected(case)) for case in oracle.cases(seed=7) if case.name in CASES[name][1]]
    assert len(cases) == len(CASES[name][1])
    return Prepared(exercise, oracle, cases)


@pytest.mark.parametrize(("exercise", "file"), SUBMISSIONS)
def test_a_correct_submission_is_right_and_has_no_finding(exercise: str, file: Path) -> None:
    described, oracle, cases = prepared(exercise)
    submission = Several(described, file.read_text(encoding="utf-8"))
    for case, expected in cases:
        findings, outputs = submission.run(case)
        assert findings == (), case.name
        judged = oracle.judge(case, outputs, expected)
        assert judged is not None
        assert [one.sentence for one in judged if one.wrong.any()] == [], case.name


@pytest.mark.parametrize(("exercise", "file"), SUBMISSIONS)
def test_it_names_its_technique(exercise: str, file: Path) -> None:
    assert file.read_text(encoding="utf-8").startswith("// "), f"{exercise}: {file.name}"

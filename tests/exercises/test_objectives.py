"""The course's learning objectives: none is left out, and each leads to a check or a section that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.exercise import catalog
from grader.exercise.objectives import Objective, of_course, practised
from grader.exercise.oracle import Oracle
from tests.test_docs import anchors

FOLDER = Path(__file__).parents[2] / "exercises"
COURSE = of_course(FOLDER)
EXERCISES = catalog.every(FOLDER)

CHAPTER = (  # its checklist, word for word
    "Explain E4M3 vs E5M2 format differences",
    "Implement FP32 ↔ FP8 conversion kernels",
    "Calculate quantization error bounds",
    "Choose appropriate FP8 format for use case",
    "Implement per-tensor quantization",
    "Implement per-channel quantization",
    "Implement fine-grained (block-wise) scaling",
    "Optimize scale factor computation",
    "Handle outliers without significant accuracy loss",
    "Explain MoE architecture and token routing",
    "Calculate padding waste in batched GEMM",
    "Implement basic grouped GEMM kernel",
    "Optimize load balancing with work stealing",
    "Achieve >1.3x speedup vs padded approach",
    "Use DeepGEMM API for dense GEMM",
    "Implement FP8 Linear layer in PyTorch",
    "Build complete MoE layer with grouped GEMM",
    "Profile and optimize end-to-end throughput",
)
CHECK = re.compile(r"(\w+) (correct|speed)(?:\[([\w-]+)\])?")

each_objective = pytest.mark.parametrize("objective", COURSE, ids=lambda objective: objective.text)


def checks() -> Iterator[tuple[str, str, str]]:
    """(exercise, check, case), the case "" where every case is meant."""
    for objective in COURSE:
        for text in objective.checks:
            match = CHECK.fullmatch(text)
            assert match, text
            yield match[1], match[2], match[3] or ""


def test_the_chapter_s_objectives_are_all_there_in_its_order() -> None:
    assert tuple(objective.text for objective in COURSE) == CHAPTER


@each_objective
def test_each_is_answered_by_a_check_or_a_section(objective: Objective) -> None:
    assert objective.checks or objective.sections


@each_objective
def test_its_sections_exist(objective: Objective) -> None:
    for section in objective.sections:
        page, hash_sign, heading = section.partition("#")
        assert f"{hash_sign}{heading}" in anchors(FOLDER / page), section


def test_its_checks_exist() -> None:
    by_name = {exercise.name: exercise for exercise in EXERCISES}
    for name, check, case in checks():
        exercise = by_name[name]
        timed = exercise.speed_cases if check == "speed" else ()
        assert case in ("", *timed) or case in {one.name for one in Oracle(exercise).cases(seed=1)}


def test_an_exercise_whose_check_answers_it_says_that_it_practises_it() -> None:
    for objective in COURSE:
        named = {text.split()[0] for text in objective.checks}
        assert named <= {exercise.name for exercise in EXERCISES if objective.text in exercise.objectives}


def test_exercises_name_objectives_of_the_course_alone() -> None:
    found = practised(EXERCISES, FOLDER, pytest.fail)
    assert tuple(objective.text for objective in found) == CHAPTER


def test_only_examples_are_without_an_exercise() -> None:
    found = practised(EXERCISES, FOLDER, pytest.fail)
    read = {objective: own for objective, own in found.items() if not own}
    assert all(section.startswith("../examples/") for objective in read for section in objective.sections)
    assert {objective.text for objective in read} <= {CHAPTER[14], CHAPTER[15]}

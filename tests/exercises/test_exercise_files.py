"""The files of every exercise: what exercises/README.md promises of them, as far as reading tells."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from grader.checks.quality import RULES
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.grading.hints import PITFALLS, sections
from grader.model.exercise import Exercise
from grader.reports.kinds import KINDS

EXERCISES = catalog.every(Path(__file__).parents[2] / "exercises")
WRONG = [file for exercise in EXERCISES for file in sorted((exercise.folder / "wrong").glob("*.cu"))]
HERE = "  // <-- here"
RULE = "forbidden-instruction"

each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
each_wrong_kernel = pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)


@cache
def case_names(folder: Path) -> frozenset[str]:
    return frozenset(case.name for case in Oracle(catalog.read(folder)).cases(seed=1))


def exercise_of(file: Path) -> Exercise:
    return next(exercise for exercise in EXERCISES if exercise.folder in file.parents)


@each_exercise
def test_the_rubric_adds_up_to_a_hundred(exercise: Exercise) -> None:
    assert sum(exercise.points.values()) == 100
    assert {entry.rule for entry in exercise.quality} <= set(RULES)


@each_exercise
def test_the_problem_names_every_case_and_parameter(exercise: Exercise) -> None:
    text = (exercise.folder / "problem.md").read_text(encoding="utf-8")
    names = {p.name for kernel in exercise.kernels for p in kernel.parameters}
    judged_alone = [f"{exercise.tolerance:.0e}".replace("e-0", "e-")] if exercise.tolerance else []
    for name in (*exercise.cases, *names, *judged_alone):
        assert name in text


@each_exercise
def test_every_finding_has_a_pitfall_to_link_to(exercise: Exercise) -> None:
    wanted = {kind: anchors for kind, anchors in PITFALLS.items() if kind != RULE or exercise.forbidden}
    assert [kind for kind, anchors in wanted.items() if not sections(exercise) & set(anchors)] == []


@each_exercise
def test_the_chapter_s_pitfalls_are_explained(exercise: Exercise) -> None:
    chapter = {"missing-synchronization", "warp-divergence", "misaligned-access"}
    of_groups = {"zero-fill", "group-offsets"} if exercise.name.startswith(("01_", "04_")) else set()
    assert chapter | of_groups <= sections(exercise)


@each_exercise
def test_hints_open_one_at_a_time(exercise: Exercise) -> None:
    text = (exercise.folder / "problem.md").read_text(encoding="utf-8")
    assert text.count("<details") == text.count("</details>") == text.count("<summary>") > 2
    assert "<details open" not in text


@each_exercise
def test_the_starter_shows_where_to_work_and_the_solution_leaves_nothing_to_do(exercise: Exercise) -> None:
    assert "TODO" in exercise.starter.read_text(encoding="utf-8")
    assert "TODO" not in (exercise.folder / "solution.cu").read_text(encoding="utf-8")


@each_wrong_kernel
def test_a_wrong_kernel_says_how_it_is_caught(file: Path) -> None:
    match = re.match(r"// caught by: (compile|launch|rules|(?:memory|correct)\[([\w-]+)\]) ([\w-]+)\n", read(file))
    assert match, "the first line must read // caught by: CHECK KIND"
    assert match[3] in KINDS
    if match[2]:
        assert match[2] in case_names(exercise_of(file).folder)


@each_wrong_kernel
def test_a_wrong_kernel_marks_its_guilty_line(file: Path) -> None:
    (marked,) = (line for line in read(file).splitlines() if line.endswith(HERE.strip()))
    assert marked.endswith(HERE)
    assert marked.removesuffix(HERE).strip()


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def test_wrong_kernels_cover_every_kind() -> None:
    """Those of memory and correct, and the ways in which a submission never gets that far."""
    memory = set(PITFALLS) | {"wrong-values"}  # and the one of rules
    caught = {read(file).splitlines()[0].rsplit(" ", 1)[1] for file in WRONG}
    assert caught == memory | {"missing-kernel", "wrong-signature", "compile-error"}

"""What a kernel can signal of the secret cases that it sees: by kinds, lines, launches, variants, words, deaths."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import msgspec
import numpy as np
import pytest

from grader.exercise import catalog, submission
from grader.exercise.secret import REDACTED, Secret
from grader.grading import pipeline
from grader.model.execution import LaunchConfig, Outcome
from grader.model.exercise import Exercise
from grader.model.result import Finding, Result
from grader.sandbox import ChildDied
from tests.fakes import COMPILED, KERNELS, LAUNCH, Arrays, FakeExecutor, right, write_exercise

SECRET = Secret(tuple({"M_sizes": [rows]} for rows in (11, 13, 17)), seed=5)
ROWS = (11, 13, 17)

KINDS = ("out-of-bounds", "misaligned-access", "race", "read-only-write", "did-not-finish", "collective-mismatch")


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    return catalog.read(write_exercise(tmp_path / "exercises" / "01_double"))


def grade(exercise: Exercise, executor: FakeExecutor) -> Result:
    source = submission.read(exercise.starter)
    return pipeline.grade(exercise, source, open_executor=executor.open, seed=7, secret=SECRET)


def told(result: Result) -> bytes:
    """All that a student gets of it, but for what depends on the machine and the clock."""
    quiet = msgspec.structs.replace(result, machine={})
    return msgspec.json.encode(quiet)


def found(kind: str, rows: int = 0) -> Outcome:
    return Outcome(findings=(Finding(kind, "starter.cu", rows, f"{rows} rows", count=rows, notes=(str(rows),)),))


def wrong(arrays: Arrays) -> Outcome:
    return Outcome(outputs={"y": 3 * arrays["x"]}, unset=frozenset({len(arrays["x"])}))


LACKING = Outcome(unsupported=Finding("unsupported-instruction", "starter.cu", 6, "wgmma"))


def by_rows(answers: dict[int, Outcome | Exception | str]) -> FakeExecutor:
    """Right for every case but those."""

    def compute(arrays: Arrays) -> Outcome:
        answer = answers.get(len(arrays["x"]), "right")
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Outcome):
            return answer
        return wrong(arrays) if answer == "wrong" else right(arrays)

    return FakeExecutor(compute=compute)


def test_whatever_the_cases_do_there_is_one_outcome_for_all_of_them(exercise: Exercise) -> None:
    ways: dict[str, Outcome | Exception | str] = {
        "right": "right",
        "wrong": "wrong",
        "found": found("race"),
        "lacking": LACKING,
        "died": ChildDied("the child process ended with exit code 7"),
    }
    seen: dict[bytes, set[frozenset[str]]] = {}
    for names in product(ways, repeat=len(ROWS)):
        result = grade(exercise, by_rows(dict(zip(ROWS, (ways[name] for name in names), strict=True))))
        seen.setdefault(told(result), set()).add(frozenset(names))
    assert len(seen) <= 13
    # Which of the cases it was, and how many, makes no difference; so "found" in one is "found" in all.
    (with_findings,) = (sets for sets in seen.values() if frozenset({"found"}) in sets)
    assert {names for sets in seen.values() for names in sets if "found" in names} == with_findings


def test_kinds_lines_and_counts_carry_nothing(exercise: Exercise) -> None:
    results = {
        told(grade(exercise, by_rows({rows: found(kind, number)})))
        for rows in ROWS
        for number, kind in enumerate(KINDS)
    }
    assert len(results) == 1
    (only,) = results
    assert not any(kind.encode() in only for kind in KINDS)


def test_what_a_kernel_prints_or_a_child_says_carries_nothing(exercise: Exercise) -> None:
    printing = [by_rows({13: msgspec.structs.replace(found("race"), printed=word)}) for word in ("1", "2")]
    dying = [by_rows({13: ChildDied(f"the child process ended with exit code {code}")}) for code in (1, 2)]
    for pair in (printing, dying):
        assert len({told(grade(exercise, executor)) for executor in pair}) == 1


def test_launches_carry_nothing(exercise: Exercise) -> None:
    """Neither the variant that runs, nor what is wrong with a grid, nor which cases it is wrong for."""
    second = msgspec.structs.replace(KERNELS[0], name=f"{KERNELS[0].name}_2")
    compiled = msgspec.structs.replace(COMPILED, kernels=(*KERNELS, second))

    def launching(bad: dict[int, LaunchConfig | Outcome]) -> FakeExecutor:
        def launch(arrays: Arrays) -> LaunchConfig | Outcome:
            return bad.get(int(np.sum(arrays["M_sizes"])), LAUNCH) if "M_sizes" in arrays else LAUNCH

        return FakeExecutor(compilation=compiled, launch=launch)

    fine = told(grade(exercise, launching({})))
    other = msgspec.structs.replace(LAUNCH, variant=2)
    assert told(grade(exercise, launching({11: other}))) == fine
    bad = [msgspec.structs.replace(LAUNCH, grid=(0, n, 1)) for n in (1, 2)]
    bad.append(msgspec.structs.replace(LAUNCH, block=(4096, 1, 1)))
    refused = {told(grade(exercise, launching({rows: one}))) for rows in ROWS for one in bad}
    refused.add(told(grade(exercise, launching(dict.fromkeys(ROWS, bad[0])))))
    assert len(refused) == 1
    assert fine not in refused
    assert REDACTED.encode() in refused.pop()


def test_other_cases_are_told_in_full_whatever_the_secret_ones_do(exercise: Exercise) -> None:
    """How many secret cases fail is no part of what is said of a launch that fails for another one."""

    def launching(*rows: int) -> FakeExecutor:
        bad = msgspec.structs.replace(LAUNCH, grid=(0, 1, 1))
        return FakeExecutor(launch=lambda arrays: bad if int(np.sum(arrays["M_sizes"])) in rows else LAUNCH)

    assert told(grade(exercise, launching(6))) == told(grade(exercise, launching(6, *ROWS)))
    assert b"grid" in told(grade(exercise, launching(6)))

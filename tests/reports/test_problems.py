"""What the report makes of a finding comes from its data: without its sentences it makes the same of it."""

from __future__ import annotations

import msgspec
import pytest

from grader.grading import hints
from grader.model.result import Check, Finding, Result
from reports import kernels
from reports.problems import Problem, advice, problems
from tests.reports import samples


def silent(result: Result) -> Result:
    """With every sentence about a finding gone. Where a check has nothing else to tell, it keeps its own."""
    checks = tuple(
        msgspec.structs.replace(check, findings=tuple(map(_silent, check.findings))) for check in result.checks
    )
    return msgspec.structs.replace(result, checks=checks)


def _silent(finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, message="", notes=())


def known(problem: Problem) -> tuple[object, ...]:
    return problem.title, problem.next_step, problem.lines, problem.seen_in, problem.hint, problem.is_explained


@pytest.mark.parametrize("name", samples.SITUATIONS)
def test_without_its_sentences_a_result_has_the_same_problems(name: str) -> None:
    result = samples.SITUATIONS[name]
    for of in (problems, advice):
        assert list(map(known, of(silent(result)))) == list(map(known, of(result)))
    named = [kernels.named(check.findings) for check in result.checks]
    assert [kernels.named(check.findings) for check in silent(result).checks] == named


def test_a_hint_needs_no_sentence() -> None:
    sections = frozenset({"missing-synchronization", "race-between-blocks"})

    def given(check: Check) -> list[str]:
        return [finding.hint for finding in hints.give(check, sections).findings]

    race = msgspec.structs.replace(samples.RACE, hint="")
    assert given(samples.memory("small", race)) == ["missing-synchronization"]
    assert given(samples.memory("small", _silent(race))) == ["missing-synchronization"]


def test_a_race_is_one_problem_whichever_access_came_first() -> None:
    (related,) = samples.RACE.related
    reversed_ = msgspec.structs.replace(samples.RACE, line=37, related=(msgspec.structs.replace(related, line=33),))
    result = msgspec.structs.replace(
        samples.SITUATIONS["race"],
        checks=(samples.memory("uniform", samples.RACE), samples.memory("small", reversed_)),
    )
    (problem,) = problems(result)
    assert (problem.lines, problem.cases) == ((33, 37), ("uniform", "small"))

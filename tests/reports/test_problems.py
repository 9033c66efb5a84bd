"""What the report makes of a finding comes from its data: without its sentences it makes the same of it."""

from __future__ import annotations

import msgspec
import pytest

from grader.grading import hints
from grader.model.details import Detail, Role
from grader.model.result import Check, Finding, Related, Result, Status
from grader.reports import kernels
from grader.reports.problems import Problem, advice, problems
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


def race(write: int, read: int, array: str = "As", **changed: str) -> Finding:
    related = (Related(Role.OTHER_ACCESS, read, access="read"),)
    found = Finding(
        "race", "a.cu", write, f"line {write} writes {array}", array=array, space="shared", related=related
    )
    return msgspec.structs.replace(found, **changed)


def test_races_that_one_barrier_would_end_are_one_problem() -> None:
    """Two tiles are filled on lines 19 and 20, and read on line 22."""
    (problem,) = of(race(19, 22), race(20, 22, "Bs"))
    assert (problem.line, set(problem.lines)) == (19, {19, 20, 22})
    assert [other.finding.array for other in problem.others] == ["Bs"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (race(19, 22), race(22, 25, "Bs")),
        (race(19, 22), race(30, 31)),
        (race(19, 22), race(20, 22, space="global", detail=Detail.BETWEEN_BLOCKS)),
        (race(19, 22), race(20, 22, detail=Detail.WITH_COPY)),
        (race(19, 22), race(20, 22, file="b.cuh")),
        (race(19, 19), race(18, 20)),
    ],
)
def test_races_that_need_two_barriers_are_two(one: Finding, other: Finding) -> None:
    assert len(of(one, other)) == 2


def test_a_barrier_that_ends_two_races_may_not_end_a_third() -> None:
    first, second = of(race(10, 20), race(15, 30, "Bs"), race(25, 40, "Cs"))
    assert (len(first.occurrences), second.first.array) == (2, "Cs")


def not_written(kernel: str, *steps: int) -> Finding:
    related = tuple(Related(Role.TODO, line, name=f"TODO {line}") for line in steps)
    return Finding("wrong-values", "a.cu", steps[0], "", detail=Detail.NOT_WRITTEN, kernel=kernel, related=related)


def of(*findings: Finding) -> tuple[Problem, ...]:
    check = Check("correct[uniform]", Status.FAILED, case="uniform", findings=findings)
    return problems(msgspec.structs.replace(samples.SITUATIONS["race"], checks=(check,)))


def test_all_that_is_not_written_is_one_problem_and_the_last() -> None:
    left, wrong = not_written("encode", 30, 37), Finding("wrong-values", "a.cu", 50, "wrong", kernel="other")
    found = of(left, not_written("decode", 21), wrong)
    assert [problem.unwritten for problem in found] == [False, True]
    assert (found[1].line, found[1].lines) == (21, (21,))
    assert found[1].left == (
        "not written yet: encode, decode (TODO 21 on line 21, TODO 30 on line 30, TODO 37 on line 37)"
    )
    assert found[1].next_step == "Write TODO 21 on line 21: it is still as in the starter."


def test_a_named_mistake_leads_over_the_reads_past_an_array_that_follow_from_it() -> None:
    past = Finding("out-of-bounds", "a.cu", 4, "past")
    named = Finding("wrong-values", "a.cu", 2, "named", kernel="k", cause="B has rows of K")
    race = Finding("race", "a.cu", 9, "race")
    assert [problem.kind for problem in of(past, named)] == ["wrong-values", "out-of-bounds"]
    assert [problem.kind for problem in of(past, named, race)] == ["race", "wrong-values", "out-of-bounds"]
    unnamed = msgspec.structs.replace(named, cause="")
    assert [problem.kind for problem in of(unnamed, past)] == ["out-of-bounds", "wrong-values"]
    both = msgspec.structs.replace(race, detail="between-blocks")  # two blocks write what one of them should
    assert [problem.kind for problem in of(both, named)] == ["wrong-values", "race"]


def test_the_kernel_that_changed_comes_first() -> None:
    race = Finding("race", "a.cu", 9, "race", kernel="old")
    wrong = Finding("wrong-values", "a.cu", 2, "wrong", kernel="new", changed=True)
    assert [problem.first.kernel for problem in of(race, wrong)] == ["new", "old"]

"""Walks the corpus: every attack does what it tries in vain, within its time, and what it costs is its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from grader.compile.cache import Cache
from grader.exercise import catalog, submission
from grader.grading import gpu_lane, pipeline
from grader.grading.gpu_lane import GpuChoice
from grader.model.result import Result
from grader.sandbox.child import Child
from grader.sandbox.process import Process
from grader.sandbox.runner import OpenExecutor, Patience, Runner
from tests.hostile.corpus import ROOT, Attack, attacks
from tests.kept_children import Kept, KeptChildren

CORPUS = [attack for _, attack in attacks()]
COMPILED = [attack for attack in CORPUS if (attack.source or attack.replace) and not attack.case]
GRADED = [attack for attack in CORPUS if attack.case]
ON_GPU = [attack for attack in GRADED if attack.device in ("cuda", "any")]

COMPILE_SECONDS = 3.0  # of processor time


def name_of(attack: Attack) -> str:
    return attack.name


class Impatient(KeptChildren):
    """Their compiler gets less time: bombs use all of it."""

    def open(self) -> Kept:
        with self._lock:
            child = self._waiting.pop() if self._waiting else None
        process = None if child else Process("grader.executors.cpu", patient=True)
        if process is not None:
            child = Child(process, "cpu", cache=Cache(None), compile_seconds=COMPILE_SECONDS, workers=1)
        assert child is not None
        return Kept(self, child)


@pytest.fixture(scope="module")
def children() -> Iterator[Impatient]:
    kept = Impatient()
    yield kept
    kept.close()


@pytest.mark.parametrize("attack", COMPILED, ids=name_of)
def test_what_the_compiler_is_given(attack: Attack, children: Impatient) -> None:
    with Runner(children.open, attack.text.encode(), "starter.cu", Patience(starts=2)) as runner:
        compilation = runner.compile()
    said = [(finding.line, finding.message) for finding in compilation.findings]
    assert attack.compiles == "either" or compilation.ok == (attack.compiles == "yes"), said
    assert all(finding.file in ("starter.cu", "") or "/" not in finding.file for finding in compilation.findings)
    if attack.says:
        matching = [line for line, message in said if re.search(attack.says, message)]
        assert matching, said
        assert not attack.line or attack.line in matching, said
    for word in attack.never:
        assert word not in str(compilation.findings) + compilation.log


@pytest.mark.parametrize("attack", GRADED, ids=name_of)
def test_what_is_graded(attack: Attack, children: Impatient, tmp_path: Path) -> None:
    judged(attack, grade(attack, tmp_path, children.open))


@pytest.mark.gpu
@pytest.mark.parametrize("attack", ON_GPU, ids=name_of)
def test_what_is_graded_on_a_gpu(attack: Attack, children: Impatient, tmp_path: Path) -> None:
    judged(attack, grade(attack, tmp_path, children.open, gpu_lane.choose(required=True)))


def grade(attack: Attack, folder: Path, open_executor: OpenExecutor, gpu: GpuChoice | None = None) -> Result:
    file = folder / "starter.cu"
    file.write_text(attack.text)
    exercise = catalog.find(attack.exercise, ROOT / "exercises")
    source = submission.read(file)
    return pipeline.grade(exercise, source, seed=7, open_executor=open_executor, only=attack.case, gpu=gpu)


def judged(attack: Attack, result: Result) -> None:
    statuses = {check.id: str(check.status) for check in result.checks}
    assert {name: statuses.get(name) for name in attack.checks} == attack.checks, statuses
    kinds = {finding.kind for check in result.checks for finding in check.findings}
    assert not attack.kind or attack.kind in kinds
    assert "error" not in statuses.values()
    for word in attack.never:
        assert word not in str(result.checks)


def test_every_attack_says_what_it_tries_and_is_carried_out_once() -> None:
    names = [attack.name for attack in CORPUS]
    assert len(set(names)) == len(names)
    for attack in CORPUS:
        assert attack.tries
        assert attack.must
        assert sum(map(bool, (attack.tests, attack.source, attack.replace))) == 1, attack.name
        assert bool(attack.case) == bool(attack.checks), attack.name


def test_the_tests_that_are_named_exist() -> None:
    named = {test for attack in CORPUS for test in attack.tests}
    assert {test for test in named if test.partition("::")[2] not in _tests_in(test.partition("::")[0])} == set()


@cache
def _tests_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))

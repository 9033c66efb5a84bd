"""Mutants are made of real code, each different, always the same; and are judged for what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader import executors
from grader.authoring import mutants
from grader.authoring.mutants import CAUGHT, EQUIVALENT, Mutant, MutantBench
from grader.exercise import catalog

pytestmark = pytest.mark.usefixtures("children_stay_up")

ROOT = Path(__file__).parents[2]
EXERCISE = catalog.read(ROOT / "exercises" / "01_simple_grouped_gemm")
TILE = (ROOT / "tests" / "kernels" / "correct" / "tile16.cu").read_text(encoding="utf-8")


def test_the_same_seed_gives_the_same_mutants_each_different() -> None:
    made = mutants.mutants("tile16.cu", TILE, 40, seed=1)
    assert made == mutants.mutants("tile16.cu", TILE, 40, seed=1)
    assert len({mutant.source for mutant in made}) == len(made) == 40
    assert len({mutant.rule for mutant in made}) > 12
    assert made != mutants.mutants("tile16.cu", TILE, 40, seed=2)


def test_one_line_is_changed_and_named() -> None:
    for mutant in mutants.mutants("tile16.cu", TILE, 40, seed=1):
        shift = mutant.source.startswith("#include <cuda_fp16.h>")
        assert mutant.diff.count("\n-") <= 1
        assert mutant.source.splitlines()[mutant.line - 1] in mutant.diff or "\n" in mutant.diff
        assert mutant.line > 5 + shift


def test_comments_are_left_alone() -> None:
    text = "__global__ void k() {\n    // i < n __syncthreads();\n}\n"
    assert mutants.mutants("k.cu", text, 10, seed=1) == []


def changed(old: str, new: str) -> Mutant:
    assert TILE.count(old) >= 1
    return Mutant("tile16.cu", "by hand", 1, TILE.replace(old, new, 1), f"-{old}\n+{new}")


@pytest.mark.timeout(120)
def test_a_mutant_is_caught_or_equivalent() -> None:
    bench = MutantBench(EXERCISE, 1, lambda: executors.open_cpu(workers=1))
    race, same = changed("        __syncthreads();\n", ""), changed("float sum = 0;", "float sum = 0.0f;")
    originals = {"tile16.cu": bench.outputs("tile16.cu", TILE)}
    caught, equivalent = bench.judge_all([race, same], originals, jobs=2)
    assert (caught.outcome, caught.kind, equivalent.outcome) == (CAUGHT, "race", EQUIVALENT)
    assert mutants.counts([caught, equivalent])[CAUGHT] == 1


def test_a_kernel_that_is_wrong_itself_is_refused() -> None:
    bench = MutantBench(EXERCISE, 1, lambda: executors.open_cpu(workers=1))
    with pytest.raises(ValueError, match=r"tile16\.cu is not a correct kernel: compile"):
        bench.outputs("tile16.cu", TILE.replace("grouped_gemm_kernel", "another_kernel"))

"""What a student has not written yet is no mistake; what has changed comes first."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from grader.exercise import catalog
from grader.exercise.definitions import Definitions
from grader.grading.written import FIRST, LAST, LATER, Written
from grader.model.details import Detail
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Status

EXERCISES = Path(__file__).parents[2] / "exercises"
SCALE, RETURNED = "{ return 1.0f; }", "{ return amax / 448.0f; }"


@cache
def exercise(number: str) -> Exercise:
    return catalog.find(number, EXERCISES)


def starter(number: str) -> str:
    return exercise(number).starter.read_text()


def written(number: str, text: str, before: str | None = None) -> Written:
    return Written(exercise(number), text, lambda: starter(number), lambda: before)


def wrong(kernel: str, output: str, cause: str = "", mistake: str = "") -> Check:
    finding = Finding(
        "wrong-values", "starter.cu", 5, "wrong", kernel=kernel, output=output, cause=cause, mistake=mistake
    )
    return Check("correct[uniform]", Status.FAILED, "wrong", case="uniform", findings=(finding,))


@pytest.mark.parametrize("text", ["{}", "// mine\n{}", "{}\n\n/* TODO */"])
def test_a_starter_is_untouched_whatever_its_comments_are(text: str) -> None:
    (finding,) = written("1", text.format(starter("1"))).told(wrong("grouped_gemm_kernel", "C_concat")).findings
    assert finding.detail == Detail.UNTOUCHED
    assert [one.name for one in finding.related] == [f"TODO {n}" for n in range(1, 5)]
    line = text.format(starter("1")).split("\n")[finding.line - 1]
    assert "TODO 1:" in line


@pytest.mark.parametrize(
    ("kernel", "output", "steps"),
    [
        ("encode_e4m3_kernel", "e4m3", ["TODO 2"]),
        ("decode_e5m2_kernel", "from_e5m2", []),
        ("encode_e4m3_stochastic_kernel", "by_chance", ["TODO 3"]),
    ],
)
def test_a_kernel_is_written_once_all_is_that_it_calls(kernel: str, output: str, steps: list[str]) -> None:
    done = written("2", starter("2").replace("return 0.0f;", "return 1.0f;"))
    (finding,) = done.told(wrong(kernel, output)).findings
    assert [one.name for one in finding.related] == steps
    assert finding.unwritten == bool(steps)


def test_an_output_waits_for_every_kernel_that_makes_it() -> None:
    """per_tensor_quantize_kernel is there from the start; what it reads is not."""
    done = written("3", starter("3").replace(SCALE, RETURNED))
    steps = {name: [step.name for step in done.steps_of(name)] for name in ("per_tensor_q", "per_channel_scale")}
    assert steps == {"per_tensor_q": ["TODO 2", "TODO 3"], "per_channel_scale": ["TODO 2", "TODO 4"]}


def test_a_helper_that_nothing_uses_yet_is_a_step_of_what_comes_after_it() -> None:
    done = written("3", starter("3").replace(SCALE, RETURNED).replace("return shared[threadIdx.x];", "return 1.0f;"))
    assert [step.name for step in done.steps_of("per_channel_q")] == ["TODO 4"]


def test_a_step_left_of_a_kernel_that_was_begun() -> None:
    begun = starter("1").replace("A_tile[ty][tx] = 0.0f;", "A_tile[ty][tx] = A_concat[k0];")
    (finding,) = written("1", begun).told(wrong("grouped_gemm_kernel", "C_concat")).findings
    assert (finding.detail, [one.name for one in finding.related]) == (
        Detail.STEP_LEFT,
        ["TODO 1", "TODO 3", "TODO 4"],
    )
    (finding,) = written("1", begun).told(wrong("grouped_gemm_kernel", "C_concat", "a known mistake")).findings
    assert finding.detail == ""
    assert finding.notes == ("TODO 4 on line 49 is still as in the starter",)


@pytest.mark.parametrize("mistake", ["zero", "one-product-of-16"])
def test_what_a_missing_step_gives_is_no_mistake(mistake: str) -> None:
    begun = starter("1").replace("    float* C = C_concat", "    const float* A = A_concat;\n    float* C = C_concat")
    check = wrong("grouped_gemm_kernel", "C_concat", "a known mistake", mistake)
    (finding,) = written("1", begun).told(check).findings
    assert (finding.detail, finding.cause, finding.mistake) == (Detail.STEP_LEFT, "", "")
    assert [one.name for one in finding.related] == ["TODO 2", "TODO 3", "TODO 4"]


def test_a_step_without_code_of_its_own_may_be_done_elsewhere() -> None:
    """The barriers may stand before the comment that asks for them."""
    done = starter("1").replace("    float* C = C_concat", "    const float* A = A_concat;\n    float* C = C_concat")
    done = done.replace("A_tile[ty][tx] = 0.0f;", "A_tile[ty][tx] = A[k0];").replace(
        "_tile[ty][tx];", "_tile[tx][ty];"
    )
    (finding,) = written("1", done).told(wrong("grouped_gemm_kernel", "C_concat", "nothing", "zero")).findings
    assert (finding.detail, finding.mistake) == ("", "zero")


def test_nothing_is_said_where_the_starter_is_not_known() -> None:
    nobody = Written(exercise("1"), starter("1"))
    assert nobody.told(wrong("grouped_gemm_kernel", "C_concat")) == wrong("grouped_gemm_kernel", "C_concat")
    assert not nobody.untouched


def test_what_changed_comes_first_and_what_is_not_written_last() -> None:
    before = starter("3").replace(SCALE, RETURNED)
    now = before.replace("    float amax = 0.0f;\n", "    float amax = x[first];\n", 1)
    done = written("3", now, before)
    outputs = ("per_channel_q", "fine_grained_q", "per_tensor_q")
    assert [done.order(name) for name in outputs] == [FIRST, LAST, LAST]
    assert written("3", now).order("per_channel_q") == LATER
    (finding,) = done.told(wrong("per_channel_kernel", "per_channel_q")).findings
    assert finding.changed


def test_a_change_to_all_kernels_puts_none_of_them_first() -> None:
    now = starter("2").replace("blockDim.x + threadIdx.x;", "blockDim.x;")
    assert written("2", now, starter("2")).changed == frozenset()


def test_a_fault_is_placed_in_the_kernel_that_it_is_in_alone() -> None:
    text = starter("2")
    lines = {one.name: one.line for one in Definitions(text).all}
    for name, kernel in {"decode_e4m3_kernel": "decode_e4m3_kernel", "decode": ""}.items():
        fault = Finding("race", "starter.cu", lines[name], "")
        (placed,) = written("2", text).placed(Check("memory[x]", Status.FAILED, findings=(fault,))).findings
        assert placed.kernel == kernel


def test_a_grading_elsewhere_is_told_afterwards_what_changed() -> None:
    before = starter("3").replace(SCALE, RETURNED)
    now = written("3", before.replace("    float amax = 0.0f;\n", "    float amax = x[first];\n", 1), before)
    both = [wrong(name.replace("_q", "_kernel"), name) for name in ("per_channel_q", "block_wise_q")]
    assert [now.marked(check).findings[0].changed for check in both] == [True, False]
    assert written("3", before, before).marked(both[0]) is both[0]

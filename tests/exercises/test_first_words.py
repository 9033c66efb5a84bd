"""What a beginner reads first, for the mistakes that beginners make."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from grader import executors
from grader.exercise import catalog, submission
from grader.grading import pipeline
from grader.model.exercise import Exercise
from grader.model.result import Result
from grader.reports.problems import problems
from grader.reports.verdict import words

EXERCISES = Path(__file__).parents[2] / "exercises"

pytestmark = pytest.mark.usefixtures("children_stay_up")

# By exercise: what a beginner writes in place of what the starter has.
WRITTEN = {
    "1": {
        "    float* C = C_concat": "    const float* A = A_concat + (size_t)group_offsets[group] * K;\n"
        "    const float* B = B_concat + (size_t)group * K * N;\n    float* C = C_concat",
        "A_tile[ty][tx] = 0.0f": "A_tile[ty][tx] = row < M ? A[(size_t)row * K + k0 + tx] : 0.0f",
        "B_tile[ty][tx] = 0.0f;": "B_tile[ty][tx] = B[(size_t)(k0 + ty) * N + col];\n        __syncthreads();",
        "        sum += A_tile[ty][tx] * B_tile[ty][tx];": "        for (int k = 0; k < TILE; ++k)\n"
        "            sum += A_tile[ty][k] * B_tile[k][tx];\n        __syncthreads();",
    },
    "3": {
        "{ return 1.0f; }": "{ return fmaxf(amax, 1e-6f) / 448.0f; }",
        "    shared[threadIdx.x] = value;\n": "    shared[threadIdx.x] = value;\n"
        "    for (int half = THREADS / 2; half > 0; half /= 2) {\n        __syncthreads();\n"
        "        if (threadIdx.x < half) value = shared[threadIdx.x] = fmaxf(value, shared[threadIdx.x + half]);\n"
        "    }\n    __syncthreads();\n    value = shared[0];\n    __syncthreads();\n    return value;\n",
    },
}

REST_OF_3 = {  # all but TODO 6
    "Why not for negative ones?\n": "Why not for negative ones?\n    float amax = 0.0f;\n"
    "    for (int col = threadIdx.x; col < cols; col += THREADS)\n"
    "        amax = fmaxf(amax, fabsf(x[(size_t)blockIdx.x * cols + col]));\n    amax = block_max(amax);\n"
    "    if (threadIdx.x == 0) atomicMax((unsigned*)workspace, __float_as_uint(amax));\n",
    "    float amax = 0.0f;\n\n    const float own": "    float amax = 0.0f;\n"
    "    for (int row = 0; row < rows; ++row) amax = fmaxf(amax, fabsf(x[first + (size_t)row * cols]));\n"
    "    const float own",
    "        float amax = 0.0f;\n\n        const float own": "        const float amax = "
    "block_max(col < cols ? fabsf(x[at]) : 0.0f);\n        const float own",
}


@cache
def exercise(number: str) -> Exercise:
    return catalog.find(number, EXERCISES)


def starter(number: str, *, written: bool = True, **_: str) -> str:
    text = exercise(number).starter.read_text()
    for was, now in WRITTEN[number].items() if written else ():
        assert was in text
        text = text.replace(was, now, 1)
    return text


def graded(number: str, text: str, case: str, before: str | None = None) -> Result:
    source = submission.of(Path("mine/starter.cu"), text.encode())
    return pipeline.grade(
        exercise(number), source, seed=7, open_executor=executors.open_cpu, only=case, before=lambda: before
    )


def first(result: Result) -> tuple[str, str, str]:
    """Headline, title and next step."""
    found = problems(result)
    return words(result, found).headline, found[0].title, found[0].next_step


def test_the_starter_as_it_came() -> None:
    result = graded("1", starter("1", written=False), "narrow")
    said = words(result, problems(result))
    assert said.headline == "Not written yet"
    assert said.sentence.startswith("This is the unchanged starter. Begin with TODO 1 on line 34; ")


@pytest.mark.parametrize(
    ("was", "now", "case", "title", "step"),
    [
        ("(k0 + ty) * N", "(k0 + ty) * K", "one-row", "Wrong result", "That mistake would produce exactly these"),
        ("dim3(TILE, TILE)", "dim3(TILE * TILE)", "narrow", "Block of one dimension", "Launch a two-dimensional"),
        ("k0 += TILE", "k0 + TILE", "narrow", "Never finishes", "k + 1 computes a number and drops it"),
        ("float sum = 0.0f;", "float sum;", "narrow", "A variable was never set", "Give the variable a value"),
        ("] = sum;", "] += sum;", "narrow", "Uninitialised read", "Outputs start out uninitialised"),
        ("N / TILE,", "N / TILE / 4,", "narrow", "Invalid launch", "Round up when you count tiles"),
    ],
)
def test_a_mistake_has_its_own_next_step(was: str, now: str, case: str, title: str, step: str) -> None:
    text = starter("1")
    assert was in text
    headline, told, next_step = first(graded("1", text.replace(was, now), case))
    assert (headline, told) == ("Not correct yet", title)
    assert next_step.startswith(step)


def test_a_sum_in_an_int_is_named() -> None:
    result = graded("1", starter("1").replace("float sum = 0.0f;", "int sum = 0;"), "narrow")
    message = problems(result)[0].first.message
    assert message.startswith(
        "sum on line 40 is an int: each product loses its fraction when it is added. First wrong "
    )


def test_dynamic_shared_memory_that_was_not_asked_for() -> None:
    text = starter("1").replace(
        "    __shared__ float A_tile[TILE][TILE];", "    extern __shared__ float A_tile[][TILE];"
    )
    _, title, next_step = first(graded("1", text, "narrow"))
    assert title == "No dynamic shared memory requested"
    assert next_step.startswith("launch->shared_bytes is 0. Set it")


def test_a_fault_in_what_is_written_leads_over_what_is_not() -> None:
    """TODO 5 reads past the end of a row; TODO 3, 4 and 6 are not written."""
    at = "        float amax = 0.0f;\n\n        const float own"
    text = starter("3")
    assert at in text
    result = graded("3", text.replace(at, at.replace("0.0f", "block_max(fabsf(x[at]))")), "ragged", starter("3"))
    found = problems(result)
    assert (found[0].title, found[0].first.kernel, found[0].first.changed) == (
        "Out of bounds",
        "fine_grained_kernel",
        True,
    )
    assert not any(problem.unwritten for problem in found[:-1])


def test_what_is_right_is_not_called_wrong_for_what_is_not_written() -> None:
    result = graded("3", starter("3"), "ragged")
    (left,) = problems(result)
    assert [step.name for step in left.steps] == ["TODO 3", "TODO 4", "TODO 5", "TODO 6"]
    assert words(result, (left,)).sentence.startswith("Go on with TODO 3 on line ")


def test_one_step_is_left() -> None:
    text = starter("3")
    for was, now in REST_OF_3.items():
        assert was in text
        text = text.replace(was, now, 1)
    result = graded("3", text, "ragged")
    (left,) = problems(result)
    assert [step.name for step in left.steps] == ["TODO 6"]
    assert words(result, (left,)).sentence == f"Go on with TODO 6 on line {left.steps[0].line}."

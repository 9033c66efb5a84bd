"""Sources as definitions, as far as can be told without a compiler."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from grader.compile import brackets
from grader.exercise.definitions import Definitions, same

STARTERS = sorted((Path(__file__).parents[2] / "exercises").glob("*/starter.cu"))

SOURCE = """
#include "grader.cuh"
#define TWICE(x) (2 * (x))
namespace detail {
struct Format { static constexpr int bits = 3; };
}
extern "C" {
__constant__ float table[2] = {1.0f, 2.0f};
}
// TODO 1: halve it, as in `int f() { return 0; }`.
template <class T>
__device__ T half_of(T x) { return x; }

__device__ float unused(float x) { return half_of(x); }

extern "C" __global__ void __launch_bounds__(128) one_kernel(const float* x, float* y) {
    // TODO 2: see
    // TODO 1 of the others
    y[0] = TWICE(x[0]) + table[0];  // {
    const char* text = "}";
}
extern "C" __global__ void other_kernel(float* y) { y[1] = half_of<float>(Format::bits); }
"""


def test_each_definition_is_known_by_its_name() -> None:
    names = [one.name for one in Definitions(SOURCE).all]
    assert names == ["TWICE", "Format", "table", "half_of", "unused", "one_kernel", "other_kernel"]


def test_what_a_kernel_uses() -> None:
    found = Definitions(SOURCE)
    assert found.reach("one_kernel") == {"one_kernel", "TWICE", "table"}
    assert found.reach("other_kernel") == {"other_kernel", "half_of", "Format"}
    assert found.reaches(["one_kernel", "other_kernel"], 12) == {"other_kernel"}
    assert found.reach("no_kernel") == frozenset()


def test_a_step_is_a_comment_that_begins_with_it() -> None:
    steps = {one.name: [(todo.name, todo.line, todo.inside) for todo in one.todos] for one in Definitions(SOURCE).all}
    assert {name: found for name, found in steps.items() if found} == {
        "half_of": [("TODO 1", 10, False)],
        "one_kernel": [("TODO 2", 17, True)],
    }


def test_comments_and_blanks_are_no_change() -> None:
    before, after = Definitions(SOURCE), Definitions(SOURCE.replace("return x;", "\n  return x; // x\n"))
    assert same(before, after, "other_kernel")
    changed = Definitions(SOURCE.replace("return x;", "return x / 2;"))
    assert not same(before, changed, "other_kernel")
    assert same(before, changed, "one_kernel")


def test_a_directive_within_a_function_is_a_change() -> None:
    text = "void f() {\n#pragma unroll\nfor (;;) g();\n}"
    before = Definitions(text)
    assert same(before, Definitions(text.replace("unroll", "unroll  // it\r")), "f")
    assert not same(before, Definitions(text.replace("#pragma unroll", "#define g() h()")), "f")


@pytest.mark.parametrize(
    "text", ["", "}", "(((", '"', "/*", "= {}{}{}", "extern", "struct", "int f(", "#define", "\0"]
)
def test_what_is_no_source_defines_nothing(text: str) -> None:
    assert Definitions(text).all == ()


@pytest.mark.parametrize(
    "text",
    [
        "int x = " + "{}" * 200_000,
        "x " * 100_000 + "{}" * 100_000,
        "/**/" * 100_000 + "{}" * 100_000,
        '"\\' * 200_000,
        "'\\" * 200_000,
        "//TODO:\n" * 50_000 + "= {",
    ],
)
def test_a_source_made_to_be_slow_takes_no_time(text: str) -> None:
    began = time.process_time()
    assert Definitions(text).all == ()
    brackets.guilty(text)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("starter", STARTERS, ids=lambda file: file.parent.name)
def test_every_step_of_a_starter_belongs_to_a_definition(starter: Path) -> None:
    text = starter.read_text()
    numbers = [todo.number for one in Definitions(text).all for todo in one.todos]
    assert numbers == [str(n) for n in range(1, len(numbers) + 1)]
    assert len(numbers) == sum("TODO" in line and ":" in line.partition("TODO")[2][:4] for line in text.split("\n"))

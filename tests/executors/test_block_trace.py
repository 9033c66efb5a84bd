"""The clocks that show how blocks share the work."""

from __future__ import annotations

import numpy as np
import pytest

from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.executors import block_trace
from grader.executors.block_trace import ROW
from grader.ptx import parse

KERNEL = """
extern "C" __global__ void count_kernel(float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    out[i] = 1.0f;
}
"""


def rows(*blocks: tuple[int, int, int]) -> np.ndarray:
    return np.array(list(blocks), ROW)


def test_two_blocks_after_one_another_are_one_at_a_time() -> None:
    found = block_trace.balance(rows((1000, 2000, 40), (2000, 3000, 40)), 80, 4)
    assert found is not None
    assert (found.most_busy, found.busy_share, found.span_us, found.elements) == (1, 1.0, 2.0, (10, 10.0, 10))


def test_the_tail_is_the_time_with_fewer_than_half_of_the_blocks() -> None:
    found = block_trace.balance(rows((1000, 2000, 4), (1000, 2000, 4), (1000, 2000, 4), (1000, 5000, 28)), 40, 4)
    assert found is not None
    assert (found.most_busy, found.tail_us, found.busy_share) == (4, 3.0, 7 / 16)
    assert found.elements == (1, 2.5, 7)
    assert found.busy[0] == pytest.approx(4)
    assert found.busy[-1] == pytest.approx(1)


def test_sums_that_are_added_to_the_output_twice_say_nothing_about_work() -> None:
    found = block_trace.balance(rows((1000, 2000, 40), (1000, 2000, 40)), 40, 4)
    assert found is not None
    assert found.elements is None


def test_a_clock_that_did_not_tick_gives_nothing() -> None:
    assert block_trace.balance(rows((1000, 1000, 4)), 4, 4) is None


def test_the_kernel_with_clocks_is_ptx_and_keeps_its_instructions() -> None:
    ptx = compile_text(KERNEL, PTX_ARCH).ptx
    text = block_trace.with_clocks(ptx, "count_kernel")
    assert text is not None
    assert "ret;" not in text.split("$grader_leaves:")[0]
    assert text.count("st.global") == ptx.count("st.global") + 1
    parse(text)


def test_what_cannot_be_read_is_left_alone() -> None:
    assert block_trace.with_clocks(compile_text(KERNEL, PTX_ARCH).ptx, "another_kernel") is None
    assert block_trace.with_clocks("no PTX", "count_kernel") is None

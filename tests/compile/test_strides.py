"""Neighbouring threads that access elements a row apart."""

from __future__ import annotations

import pytest

from grader.compile import strides
from grader.compile.compiler import compile_text
from grader.model.execution import UNCOALESCED
from grader.ptx.parsing.module import parse

KERNEL = """
extern "C" __global__ void kernel(const float* a, float* c, const int* sizes, int rows, int cols) {
    const int x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 16 + threadIdx.y;
    float sum = 0.0f;
    BODY
    if (y < rows && x < cols) c[(size_t)y * cols + x] = sum;
}
"""


def lines(body: str) -> list[tuple[int, int]]:
    compilation = compile_text(KERNEL.replace("BODY", body)).compilation
    assert compilation.ok, compilation.log
    return [(one.line, one.count) for one in compilation.findings if one.kind == UNCOALESCED]


@pytest.mark.parametrize(
    "body",
    [
        "sum = a[(size_t)x * rows + y];",
        "for (int k = 0; k < cols; ++k) sum += a[(size_t)x * cols + k];",
        "const float* row = a + (size_t)threadIdx.x * cols; while (rows-- > 0) sum += *row++;",
    ],
)
def test_a_row_for_each_thread_is_named(body: str) -> None:
    assert lines(body) == [(5, 1)]


@pytest.mark.parametrize(
    "body",
    [
        "sum = a[(size_t)y * cols + x];",
        "for (int k = 0; k < rows; ++k) sum += a[(size_t)k * cols + x] * a[(size_t)y * rows + k];",
        "sum = a[(size_t)(threadIdx.x / 16) * cols + threadIdx.x % 16];",
        "sum = a[(size_t)sizes[blockIdx.x] * cols + x];",
        "sum = a[(size_t)sizes[threadIdx.x] * cols];",
        "sum = a[4 * x];",
        "__shared__ float t[16][17]; t[threadIdx.x][threadIdx.y] = a[x]; __syncthreads(); sum = t[threadIdx.y][3];",
    ],
)
def test_what_is_along_a_row_or_cannot_be_told_is_not(body: str) -> None:
    assert lines(body) == []


@pytest.mark.parametrize(
    "growing", ["shl.b64 %x, %x, 4000000000;", "mul.lo.s64 %x, %x, 9223372036854775807;\n" * 5000]
)
def test_numbers_that_inline_ptx_makes_huge_are_given_up(growing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One instruction may multiply what is bounded by a 64-bit number; no number grows beyond that."""
    bits: list[int] = []
    bounded = strides._bounded

    def noting(growth: strides.Growth) -> strides.Growth:
        bits.append(growth.bit_length() if isinstance(growth, int) else 0)
        return bounded(growth)

    monkeypatch.setattr(strides, "_bounded", noting)
    head = ".version 8.5\n.target sm_90a\n.address_size 64\n.visible .entry k()\n{\n.reg .b64 %x;\n"
    assert strides.findings(parse(f"{head}mov.u64 %x, %tid.x;\n{growing}\nret;\n}}\n"), "a.cu") == ()
    assert max(bits) <= strides.MOST.bit_length() + 64

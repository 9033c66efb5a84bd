"""Offsets in 32 bits that span groups get a warning of ours, which costs nothing; others get none."""

from __future__ import annotations

import pytest

from grader.compile import offsets
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH

KERNEL = """extern "C" __global__ void k(const float* A, float* C, const int* offsets, int K, int N) {{
    const int g = blockIdx.z, row = blockIdx.y * blockDim.y + threadIdx.y, col = blockIdx.x * 16 + threadIdx.x;
    (void)g; (void)row; (void)col;
    {body}
}}
"""
WRAPS = {
    "of a group's first row": "C[offsets[g] * K + col] = 1;",
    "of a group's matrix": "const float* B = A + g * K * N; C[col] = B[col];",
    "the other way round": "C[K * N * g + col] = 1;",
    "of a row of all groups": "C[(g * K + row) * N + col] = 1;",
    "unsigned": "C[(unsigned)g * K * N + col] = 1;",
    "converted too late": "C[(size_t)(g * K * N) + col] = 1;",
    "through a variable": "int at = offsets[g]; at *= N; at += row; C[at] = 1;",
}
FINE = {
    "in 64 bits": "C[(size_t)offsets[g] * K + (size_t)g * K * N + col] = 1;",
    "within a matrix": "C[row * N + col] = A[row * K + col];",
    "of tiles": "const int across = (N + 15) / 16, down = (K + 15) / 16; C[g * across * down + col] = 1;",
    "of blocks": "C[(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = 1;",
    "no address": "if (g * K * N > 100) C[col] = g * K * N;",
    "of a constant": "C[offsets[g] * 16 + col] = 1;",
}


def lines(body: str) -> list[int]:
    compiled = compile_text(KERNEL.format(body=body), PTX_ARCH)
    assert compiled.compilation.ok
    assert all(found.kind == offsets.KIND for found in compiled.compilation.findings)
    return [found.line for found in compiled.compilation.findings]


@pytest.mark.parametrize("name", WRAPS)
def test_a_product_that_spans_groups_is_named(name: str) -> None:
    assert lines(WRAPS[name]) == [4]


@pytest.mark.parametrize("name", FINE)
def test_other_products_are_not(name: str) -> None:
    assert lines(FINE[name]) == []

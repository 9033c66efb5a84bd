"""What warps do, counted: against numbers counted by hand, and the fast rules against the slow ones."""

from __future__ import annotations

import re
from collections import Counter as Tally
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.ptx.counting import EVERYTHING, Counted, Counter, Sample, hardware

HERE = Path(__file__).parents[1] / "kernels" / "counted"
SAID = re.compile(r"(sectors|wavefronts): (\d+), at best (\d+)")
UNITS = {"global": "sectors", "local": "sectors"}  # of others, wavefronts
ELEMENTS = 1 << 16

HEAD = '#include "grader.cuh"\n'
TILED = (
    HEAD
    + """
extern "C" __global__ void tiled(const float* x, float* y) {
  __shared__ float tile[32][32];
  const int t = threadIdx.x, b = blockIdx.x;
  for (int i = 0; i < 32; ++i) tile[i][t] = x[(b * 32 + i) * 32 + t];
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < b + 1; ++i) sum += tile[t][i];
  y[b * 32 + t] = sum;
  if (t < 8) atomicAdd(y + 4096, sum);
}
"""
)


@cache
def module(text: str) -> ptx.Module:
    return ptx.parse(compile_text(text, PTX_ARCH).ptx)


def count(text: str, kernel: str = "counted", blocks: int = 1, threads: int = 32, **how: Any) -> Counted:
    kind = np.float32 if "float* x" in text else np.uint32
    x, y = (np.arange(ELEMENTS) % 97).astype(kind), np.zeros(ELEMENTS, kind)
    arguments = [ptx.Buffer("x", x), ptx.Buffer("y", y, writable=True)]
    grid, block = (blocks, 1, 1), (threads, 1, 1)
    return Counter(module(text)).count(
        kernel, grid=grid, block=block, arguments=arguments, **{"sample": EVERYTHING, **how}
    )


@pytest.mark.parametrize("file", sorted(HERE.glob("*.cu")), ids=lambda file: file.stem)
def test_each_line_costs_what_stands_behind_it(file: Path) -> None:
    text = file.read_text()
    expected = {
        (number, unit): (int(moved), int(least))
        for number, line in enumerate(text.splitlines(), 1)
        for unit, moved, least in SAID.findall(line)
    }
    assert expected
    moved: Tally[tuple[int, str]] = Tally()
    least: Tally[tuple[int, str]] = Tally()
    for one in count(text).counts:
        if one.memory:
            key = (one.location.line, UNITS.get(one.memory, "wavefronts"))
            moved[key] += one.moved
            least[key] += one.least
    assert {key: (moved[key], least[key]) for key in moved} == expected


def test_warps_and_lanes_of_every_instruction() -> None:
    found = count(TILED, "tiled", blocks=3)
    assert (found.blocks, sorted(found.work)) == (3, [0, 1, 2])
    loads = [one for one in found.counts if one.location.line == 9 and one.memory == "shared"]
    assert sum(one.warps for one in loads) == 1 + 2 + 3
    assert sum(one.moved for one in loads) == 32 * 6  # a column: all lanes in one bank
    assert sum(one.least for one in loads) == 6
    stores = [one for one in found.counts if one.location.line == 10 and one.memory == "global"]
    assert [(one.warps, one.lanes, one.moved) for one in stores] == [(3, 96, 12)]
    (update,) = (one for one in found.counts if one.location.line == 11 and one.memory)
    assert (update.warps, update.lanes, update.moved, update.busiest) == (3, 24, 3, 24)


def test_a_sample_is_spread_over_the_blocks_and_says_so() -> None:
    alone = TILED.replace("if (t < 8) atomicAdd", "// ")
    found = count(alone, "tiled", blocks=48, sample=Sample(blocks=8))
    assert (found.blocks, found.warps, found.counted, len(found.work)) == (48, 48, 8, 8)
    assert max(found.work) > 30
    assert found.work[max(found.work)] > found.work[min(found.work)]


def test_the_lanes_of_the_last_warp_that_do_not_exist_are_no_lanes() -> None:
    found = count(TILED.replace("tile[t][i]", "tile[i][t % 32]"), "tiled", threads=20)
    stores = [one for one in found.counts if one.location.line == 10 and one.memory == "global"]
    assert [(one.warps, one.lanes) for one in stores] == [(1, 20)]


def test_generic_pointers_cost_what_they_point_at() -> None:
    text = (
        HEAD
        + """
    __device__ __noinline__ float first(const float* p, int step) { return p[threadIdx.x * step]; }
    extern "C" __global__ void counted(const float* x, float* y) {
      __shared__ float s[1024];
      for (int i = threadIdx.x; i < 1024; i += 32) s[i] = x[i];
      __syncthreads();
      const float* either = y[0] > 1 ? x : s;
      y[threadIdx.x] = first(either, 32);
    }
    """
    )
    loads = [one for one in count(text).counts if one.opcode == "ld.f32" and one.memory]
    assert [(one.memory, one.moved, one.least) for one in loads] == [("shared", 32, 1)]


def test_neighbouring_loads_become_wide_ones_as_ptxas_makes_them() -> None:
    text = (
        HEAD
        + """
    extern "C" __global__ void counted(const float* x, float* y) {
      __shared__ float a[16][16], b[16][16];
      const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
      a[ty][tx] = x[threadIdx.x];
      b[ty][tx] = x[256 + threadIdx.x];
      __syncthreads();
      float sum = 0;
      for (int k = 0; k < 16; ++k)
        sum += a[ty][k] * b[k][tx];
      y[threadIdx.x] = sum;
    }
    """
    )
    loads = [one for one in count(text, threads=256).counts if one.memory == "shared" and one.opcode.startswith("ld")]
    assert sum(one.warps for one in loads) == 8 * (4 + 16)
    assert sum(one.moved for one in loads) == 8 * (4 * 2 + 16)  # as on an H200


addresses = st.lists(st.one_of(st.none(), st.integers(0, 63)), min_size=32, max_size=32).filter(any)


@given(st.lists(addresses, min_size=1, max_size=4), st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([1, 8, 32]))
def test_the_fast_rules_are_the_slow_ones(rows: list[list[int | None]], width: int, step: int) -> None:
    lanes = [{lane: at * step * width for lane, at in enumerate(row) if at is not None} for row in rows]
    active = np.array([[at is not None for at in row] for row in rows])
    at = np.array([[(at or 0) * step * width for at in row] for row in rows])
    assert hardware.sectors(at, active, width).tolist() == [
        hardware.slow_sectors(list(row.values()), width) for row in lanes
    ]
    for load in (False, True):
        assert hardware.wavefronts(at, active, width, load=load).tolist() == [
            hardware.slow_wavefronts(row, width, load=load) for row in lanes
        ]
    assert hardware.updates(at, active).tolist() == [hardware.slow_updates(row) for row in lanes]

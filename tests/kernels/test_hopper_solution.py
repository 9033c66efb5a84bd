"""Exercise 05's solution for Hopper: every tile on sizes that fit none, and as Python launches it."""

from __future__ import annotations

from functools import cache

import pytest

from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.launching.plan import H200, DeviceLimits
from grader.model.execution import LaunchConfig
from grader.model.exercise import Case
from grader.reference_kernels import device, hopper
from grader.reference_kernels import fp8_grouped_gemm_hopper as from_python
from tests.kernels.several import Several
from tests.kernels.test_fp8_correct import EXERCISES

EXERCISE = catalog.read(EXERCISES / "05_fp8_grouped_gemm")
TILES = {"small": from_python.SMALL, "medium": from_python.MEDIUM, "large": from_python.LARGE}
# Rows, K and N that no tile divides; groups without rows. A GPU as large as that takes the tile, and its blocks
# multiply several.
CASES = {
    ("small", "ragged-blocks"): DeviceLimits(sm_count=25, max_shared_bytes=from_python.SMALL.shared_bytes),
    ("small", "empty-groups"): H200,
    ("medium", "ragged-blocks"): DeviceLimits(sm_count=4),
    ("large", "ragged-blocks"): DeviceLimits(sm_count=3),
}


@cache
def submission() -> Several:
    return Several(EXERCISE, (EXERCISE.folder / "solution_hopper.cu").read_text(encoding="utf-8"))


@cache
def oracle() -> Oracle:
    return Oracle(EXERCISE)


@cache
def case_of(name: str) -> Case:
    return next(case for case in oracle().cases(seed=7) if case.name == name)


@pytest.mark.parametrize(("tile", "name"), CASES)
def test_it_is_right_and_has_no_finding(tile: str, name: str) -> None:
    case, limits = case_of(name), CASES[tile, name]
    assert launch_of(case, limits).variant == list(TILES).index(tile)
    findings, outputs = submission().run(case, limits=limits)
    assert [(f.kind, f.line, f.message) for f in findings] == []
    judged = oracle().judge(case, outputs, oracle().expected(case))
    assert judged is not None
    assert [one.sentence for one in judged if one.wrong.any()] == []


@pytest.mark.parametrize("tile", TILES)
def test_python_launches_it_as_the_launch_function_does(tile: str) -> None:
    known = TILES[tile]
    asked = launch_of(case_of("ragged-blocks"), CASES[tile, "ragged-blocks"])
    assert EXERCISE.kernels[0].variant_name(asked.variant) == known.kernel
    assert asked.block == (known.threads, 1, 1)
    assert asked.shared_bytes == known.shared_bytes
    a, b = asked.tensor_maps
    assert a.box[:3] == (from_python.STEP, known.rows, 1)
    assert b.box[:3] == (from_python.STEP, known.cols, 1)
    assert {one.swizzle for one in asked.tensor_maps} == {hopper.SWIZZLE_128B}


def launch_of(case: Case, limits: DeviceLimits) -> LaunchConfig:
    return submission().config(EXERCISE.kernels[0], case, limits)


def test_python_takes_the_kernels_alone() -> None:
    source = from_python.source()
    assert "Launch" not in source
    assert all(f"{tile.kernel}(" in source for tile in TILES.values())
    assert device.compiled_text(source, from_python.file(), hopper.ARCHITECTURE)


@pytest.mark.parametrize(
    ("rows", "columns", "groups", "tile"),
    [(8 * 2048, 2048, 8, "large"), (1111, 1024, 4, "medium"), (288, 128, 16, "small"), (0, 4096, 4, "small")],
)
def test_the_tile_depends_on_how_much_there_is_to_do(rows: int, columns: int, groups: int, tile: str) -> None:
    assert from_python.tile_of(rows, columns, groups, sm_count=132) == TILES[tile]

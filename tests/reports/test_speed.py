"""What the chart, the roofline and the advice make of a case's measurements."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from grader.model.measurements import LaunchedKernel, plain, read
from grader.model.result import Result
from grader.reports import occupancy, render, roofline, speed
from grader.reports.cases import Cell, tables
from grader.reports.problems import problems
from grader.reports.verdict import words
from tests.reports import samples

# As an H200 says of kernels whose limits are plain: blocks_per_sm, occupancy, registers, static shared memory.
LAUNCHES = [
    ((8, 0.5, 64, 17408), "registers"),
    ((4, 0.25, 119, 16896), "registers"),
    ((8, 1.0, 32, 2048), "registers and threads"),
    ((4, 0.5, 32, 49152), "shared memory"),
    ((2, 0.25, 32, 1024), "shared memory"),  # asked for at the launch, so not declared
    ((32, 0.5, 16, 0), "blocks"),
    ((8, 1.0, 24, 0), "threads"),
]


@pytest.mark.parametrize(("figures", "limit"), LAUNCHES)
def test_what_keeps_more_blocks_out(figures: tuple[int, float, int, int], limit: str) -> None:
    names = ("blocks_per_sm", "occupancy", "registers", "shared_bytes")
    launch = LaunchedKernel(**dict(zip(names, figures, strict=True)))
    assert occupancy.limit(launch, "9.0") == limit


@pytest.mark.parametrize("launch", [{}, {"blocks_per_sm": 0}, {"registers": None}, {"shared_bytes": -1024}])
def test_what_was_not_measured_is_not_guessed(launch: dict[str, Any]) -> None:
    whole = LaunchedKernel(blocks_per_sm=8, occupancy=1.0, registers=32, shared_bytes=0)
    launch = msgspec.structs.replace(whole, **launch) if launch else LaunchedKernel()
    assert occupancy.limit(launch, "9.0") == ""
    assert occupancy.limit(whole, "77.0") == ""


def slow(**changes: Any) -> dict[str, Any]:
    launch = {"grid_blocks": 4096, "occupancy": 1.0, "spill_bytes": 0}
    return {"roof_share": 0.1, "roof": "compute", "launches": [launch | changes.pop("launch", {})]} | changes


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        (slow(), "FP32 units are 10% busy"),
        (slow(launch={"spill_bytes": 64}), "spilled"),
        (slow(launch={"grid_blocks": 32}), "32 blocks for 132 multiprocessors"),
        (slow(launch={"occupancy": 0.125}), "Only 12% of a multiprocessor"),
        (slow(roof="memory"), "10% of the memory bandwidth"),
        (slow(roof_share=0.9), ""),
        ({}, ""),
        ({"launches": "x", "roof_share": 0.1}, ""),
    ],
)
def test_the_advice_begins_with_what_is_unused(measured: dict[str, Any], says: str) -> None:
    said = speed.advice(read(measured), {"gpu": {"multiprocessors": 132}})
    assert said.count(says) and bool(said) == bool(says)


def changed(**measured: object) -> Result:
    result = samples.on_h200("solution")
    checks = (
        msgspec.structs.replace(c, measurements=read(plain(c.measurements) | measured)) if c.family == "speed" else c
        for c in result.checks
    )
    return msgspec.structs.replace(result, checks=tuple(checks))


def test_bars_are_as_long_as_fast() -> None:
    for chart in speed.charts(samples.on_h200("solution")):
        lengths = {bar.length / bar.ratio for bar in chart.bars}
        assert max(lengths) - min(lengths) < 0.5  # of percent, rounding
        assert max(bar.length for bar in chart.bars) <= 100
        assert chart.threshold == pytest.approx(0.6 * chart.bars[1].length, abs=0.02)
        assert chart.bars[0].low <= chart.bars[0].length <= chart.bars[0].high


@pytest.mark.parametrize("value", [None, "NaN", "Infinity", 0, -1.0, "x", [1]])
@pytest.mark.parametrize("key", ["time_us", "baseline_us", "intensity", "tflops", "roof_share", "routes_us", "ratio"])
def test_figures_that_are_none_are_not_drawn(key: str, value: object) -> None:
    result = changed(**{key: value})
    speed.charts(result)
    speed.launched(result)
    roofline.make(result)
    if key in ("time_us", "baseline_us"):
        assert speed.charts(result) == ()


def test_the_peak_is_drawn_where_a_case_tells_it() -> None:
    whole = roofline.make(samples.on_h200("solution"))
    assert whole is not None
    assert whole.peak == pytest.approx(66.9, abs=0.1)
    ridge, (x1, y1, x2, y2) = whole.compute[:2], whole.memory
    assert (x2, y2) == ridge
    assert x1 < x2 and y1 > y2
    memory_only = roofline.make(changed(roof="memory"))
    assert memory_only is not None
    assert memory_only.peak is memory_only.compute is None


def test_points_lie_below_the_roof_and_inside() -> None:
    whole = roofline.make(samples.on_h200("tile16"))
    assert whole is not None
    assert [point.letter for point in whole.points] == ["A", "B", "C", "D"]
    for point in whole.points:
        assert roofline.LEFT < point.x < roofline.WIDTH - roofline.RIGHT
        assert whole.compute[1] < point.y < roofline.HEIGHT - roofline.BOTTOM
    assert len(whole.x_ticks) >= 3
    assert len(whole.y_ticks) >= 3


def floors(ratio: float) -> list[dict[str, object]]:
    label = "cuBLAS, all groups padded to the longest"
    passed = ratio >= 1.3
    return [{"route": "padded", "label": label, "ratio": ratio, "low": ratio, "high": ratio, "required": 1.3}
            | {"passed": passed}]  # fmt: skip


def test_a_further_requirement_is_shown_and_limits_the_time() -> None:
    reached = "1.20 of cuBLAS, all groups padded to the longest, 1.30 required"
    result = changed(floors=floors(1.2))
    for chart, check in zip(speed.charts(result), speed.timed(result), strict=True):
        own, base = check.measurements.time_us, check.measurements.baseline_us
        assert chart.floors == (reached,)
        assert chart.allowed_us == pytest.approx(min(base / 0.6, own * 1.2 / 1.3))
        assert f"It reaches {reached}." in speed.slow("variable", check.measurements)
    assert reached in render(result)
    assert {cell.ratio.split("; ")[1] for cell in speed_cells(result)} == {"padded 1.20"}


def test_a_further_requirement_that_is_met_allows_what_the_gate_allows() -> None:
    result = changed(floors=floors(9.0))
    plain_charts = speed.charts(samples.on_h200("solution"))
    assert [c.allowed_us for c in speed.charts(result)] == [c.allowed_us for c in plain_charts]
    assert "It reaches" not in speed.slow("variable", speed.timed(result)[0].measurements)


def test_the_verdict_names_the_requirement_that_is_missed_most() -> None:
    result = changed(floors=floors(0.5))
    sentence = words(result, problems(result)).sentence
    assert "0.50 of the speed of cuBLAS, all groups padded to the longest; 1.30 is required" in sentence


def speed_cells(result: Result) -> list[Cell]:
    own, _ = tables(result, None)
    return [row.cells["speed"][0] for row in own]


def test_without_a_gpu_nothing_is_drawn() -> None:
    assert speed.charts(samples.right()) == ()
    assert roofline.make(samples.right()) is None

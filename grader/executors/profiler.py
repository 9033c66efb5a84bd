"""Runs ncu on a submission's launches: hardware counters, for information."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

from grader.executors.tools import Staged, StagedRuns, find

NAME = "ncu"
SECONDS = 120.0

# Counters by their name in the Result. All but the last two are percentages.
COUNTERS = {
    "compute_throughput": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "memory_throughput": "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",
    "dram_throughput": "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "warps_active": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "bank_conflicts": "l1tex__data_bank_conflicts_pipe_lsu.sum",
    "nanoseconds": "gpu__time_duration.sum",
}


def profile(
    text: str, runs: Sequence[Staged], variables: Mapping[str, str]
) -> dict[str, list[dict[str, float]]] | None:
    """The counters of each launch, by run; None if ncu is not installed or may not count. Does not change clocks."""
    tool = find(NAME)
    if tool is None:
        return None
    metrics = ",".join(COUNTERS.values())
    command = [tool, "--clock-control", "none", "--csv", "--page", "raw", "--metrics", metrics]
    with StagedRuns(text, runs, variables) as stage:
        rows = parse(stage.run(command, SECONDS))
    launches = [(run.name, invocation.kernel) for run in runs for invocation in run.invocations]
    if len(rows) != len(launches):
        return None
    found: dict[str, list[dict[str, float]]] = {run.name: [] for run in runs}
    for (name, _), row in zip(launches, rows, strict=True):
        found[name].append(row)
    return found


def parse(output: str) -> list[dict[str, float]]:
    """One row per launch, in order. ncu writes a header, a row of units, then the launches.

    The kernel's own output is mixed in and may look like these; then nothing is returned.
    """
    lines = [line for line in output.splitlines() if line.startswith('"')]
    if len(lines) < 3:
        return []
    try:
        rows = [_counters(row) for row in list(csv.DictReader(lines))[1:]]
    except ValueError:
        return []
    return rows if all(rows) else []


def _counters(row: Mapping[str, str | None]) -> dict[str, float]:
    present = ((name, row.get(counter)) for name, counter in COUNTERS.items())
    return {name: float(text.replace(",", "")) for name, text in present if text}

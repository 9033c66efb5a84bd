"""Every cuBLAS route's time, case by case, out of a Result of `grade run --json` on a GPU.

python benchmarks/routes.py benchmarks/results/01_solution.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROUTES = ("grouped", "sequential", "streams", "strided")


def main(file: str) -> None:
    result = json.loads(Path(file).read_text())
    print(f"| case | {' | '.join(ROUTES)} | single matrix | submission | ratio | of single matrix | TFLOPS |")
    print("|---" * (len(ROUTES) + 6) + "|")
    for check in result["checks"]:
        measured = check["measurements"]
        if check["id"].startswith("speed[") and "ratio" in measured:
            print(f"| {check['case']} | {' | '.join(cells(measured))} |")


def cells(measured: dict) -> list[str]:
    times = [shown(route, measured) for route in ROUTES]
    return [
        *times,
        number(measured.get("single_matrix_us"), 1),
        f"{measured['time_us']:.1f}",
        f"{measured['ratio']:.2f} ({measured['ratio_low']:.2f} to {measured['ratio_high']:.2f})",
        number(measured.get("single_matrix_ratio"), 2),
        f"{measured['tflops']:.1f}",
    ]


def number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def shown(route: str, measured: dict) -> str:
    """Bold where it is the baseline."""
    us = measured["routes_us"].get(route)
    if us is None:
        return "–"
    return f"**{us:.1f}**" if route == measured["route"] else f"{us:.1f}"


if __name__ == "__main__":
    main(sys.argv[1])

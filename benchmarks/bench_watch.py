"""From a save to the lines that grade watch shows for it: ten saves of a 16x16-tile kernel, in a terminal.

    python benchmarks/bench_watch.py [--saves N] [KERNEL.cu]

Every save changes the file, so that no compilation is kept; by turns the file is replaced and written in place. The
clock starts before the save and stops when the line can be read on the terminal; the pause before a save is that of a
student who thinks. Prints the median and the slowest of each line.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from grader import machine  # noqa: E402
from tests.pseudo_terminal import PseudoTerminal  # noqa: E402

EXERCISE = ROOT / "exercises" / "01_simple_grouped_gemm"
KERNEL = ROOT / "tests" / "kernels" / "correct" / "tile16.cu"
PAUSE_SECONDS = 3.0

# What a line begins with; the third is the first that says something about results.
LINES = {
    "compiled": "ok     compile",
    "launched": "ok     launch",
    "first case right": "clean, right",
    "case small right": "ok     small",
    "the whole verdict": "Waiting for the next save",
}


def save(file: Path, text: str, *, replace: bool) -> None:
    if not replace:
        file.write_text(text)
        return
    fresh = file.with_name("4913")
    fresh.write_text(text)
    fresh.replace(file)


def measure(kernel: Path, saves: int, folder: Path) -> dict[str, list[float]]:
    """Seconds from each save to each line."""
    shutil.copytree(EXERCISE, folder / "exercises" / EXERCISE.name, ignore=shutil.ignore_patterns("wrong"))
    starter = folder / "exercises" / EXERCISE.name / "starter.cu"
    environment = os.environ | {"XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [str(Path(sys.executable).with_name("grade")), "watch", "1", "--device", "cpu"]
    taken: dict[str, list[float]] = {name: [] for name in LINES}
    with PseudoTerminal(command, cwd=folder, env=environment) as terminal:
        terminal.shows(LINES["the whole verdict"])
        for number in range(saves):
            time.sleep(PAUSE_SECONDS)
            began = time.monotonic()
            save(starter, f"{kernel.read_text()}\n// save {number}\n", replace=number % 2 == 0)
            for name, line in LINES.items():
                terminal.shows(line)
                taken[name].append(time.monotonic() - began)
        terminal.press("q")
        terminal.ends()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernel", metavar="KERNEL.cu", nargs="?", type=Path, default=KERNEL)
    parser.add_argument("--saves", metavar="N", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        taken = measure(given.kernel, given.saves, Path(folder))
    print(f"{given.kernel.name}, {given.saves} saves, {machine.cores()} cores, {machine.cpu_model()}\n")
    print("| from the save to | median, s | slowest, s |\n|---|---|---|")
    for name, seconds in taken.items():
        print(f"| {name} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |")


if __name__ == "__main__":
    main()

"""A class of generated submissions on one GPU and on more: how many a minute, and how busy the GPUs are.

python benchmarks/bench_batch_gpu.py 100 --gpus 1 2 --alone 4

Then some of the right ones alone, by grade run with the same seed: their ratios beside those within the batch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from bench_batch import ROOT, command, environment, make_class

EVERY_SECONDS = 0.25


class Busy(threading.Thread):
    """The share of time in which each GPU ran a kernel, as the driver samples it."""

    def __init__(self, gpus: int) -> None:
        super().__init__(daemon=True)
        self._gpus, self._over, self.samples = gpus, threading.Event(), [[] for _ in range(gpus)]

    def run(self) -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self._over.wait(EVERY_SECONDS):
            found = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
            for samples, value in zip(self.samples, found, strict=False):
                if value.isdecimal():
                    samples.append(int(value))

    def stop(self) -> str:
        self._over.set()
        self.join()
        return " ".join(f"{statistics.mean(samples):.0f}%" if samples else "?" for samples in self.samples)


def batch(submissions: Path, out: Path, gpus: int, seed: int, more: list[str]) -> tuple[float, str]:
    numbers = [word for gpu in range(gpus) for word in ("--gpu", str(gpu))]
    busy = Busy(gpus)
    busy.start()
    began = time.monotonic()
    process = subprocess.run(
        command(submissions, out, seed, *numbers, *more),
        env=environment(out.with_name(f"{out.name}-cache")),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if process.returncode:
        print(process.stdout[-3000:], process.stderr[-3000:])
    return seconds, busy.stop()


def measured(result: Path) -> dict[str, tuple[float, float, float]]:
    """By case: ratio, microseconds of the submission, of the baseline."""
    checks = json.loads(result.read_bytes())["checks"]
    timed = {c["case"]: c["measurements"] for c in checks if "ratio" in c["measurements"]}
    return {case: (m["ratio"], m["time_us"], m["baseline_us"]) for case, m in timed.items()}


def compare(submissions: Path, out: Path, seed: int, count: int) -> None:
    """The same file alone and within the batch."""
    timed = [file for file in sorted((out / "results").glob("*.json")) if measured(file)][:count]
    print("\n| submission | case | ratio within the batch | alone | difference | of its own time | of cuBLAS's |")
    print("|---|---|---|---|---|---|---|")
    for file in timed:
        source = next((submissions / file.stem).iterdir())
        alone = out / "alone.json"
        grade = [sys.executable, "-m", "grader", "run", "1", str(source), "--exercises", str(ROOT / "exercises")]
        subprocess.run(
            [*grade, "--device", "cuda", "--seed", str(seed), "--json", str(alone)],
            env=environment(out.with_name("alone-cache")),
            capture_output=True,
            check=False,
        )
        by_case = measured(alone)
        for case, within in measured(file).items():
            if case in by_case:
                differences = [f"{a / b - 1:+.2%}" for a, b in zip(within, by_case[case], strict=True)]
                row = (file.stem, case, f"{within[0]:.3f}", f"{by_case[case][0]:.3f}", *differences)
                print(f"| {' | '.join(row)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=100)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1])
    parser.add_argument("--alone", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    arguments, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        submissions = Path(folder) / "submissions"
        make_class(submissions, arguments.count)
        print("| GPUs | seconds | per minute | speedup | GPU busy | verdicts |\n|---|---|---|---|---|---|")
        first, out = 0.0, Path(folder)
        for gpus in arguments.gpus:
            out = Path(folder) / f"out{gpus}"
            seconds, busy = batch(submissions, out, gpus, arguments.seed, more)
            first = first or seconds
            verdicts = Counter(json.loads(file.read_bytes())["verdict"] for file in (out / "results").glob("*.json"))
            shown = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
            row = (
                gpus,
                f"{seconds:.0f}",
                f"{60 * arguments.count / seconds:.1f}",
                f"{first / seconds:.2f}",
                busy,
                shown,
            )
            print(f"| {' | '.join(map(str, row))} |", flush=True)
        compare(submissions, out, arguments.seed, arguments.alone)


if __name__ == "__main__":
    main()

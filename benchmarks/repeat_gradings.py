"""The same submissions graded again and again, in fresh processes, with another seed each: how far do ratios spread?

python benchmarks/repeat_gradings.py 20 exercises/01_simple_grouped_gemm/solution.cu
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path


def main(times: int, files: list[str]) -> None:
    columns = "submission, case, median, lowest, highest, spread, own time, baseline, speed, verdicts, seconds"
    print(f"| {columns.replace(', ', ' | ')} |")
    print("|---" * len(columns.split(", ")) + "|")
    for file in files:
        results, seconds = zip(*(grade(file, seed) for seed in range(1, times + 1)), strict=True)
        verdicts = shown(Counter(result["verdict"] for result in results))
        for identity in [c["id"] for c in results[0]["checks"] if c["id"].startswith("speed[")]:
            checks = [c for result in results for c in result["checks"] if c["id"] == identity]
            measured = [c["measurements"] for c in checks if "ratio" in c["measurements"]]
            if not measured:
                continue
            ratios = [m["ratio"] for m in measured]
            spreads = [spread([m[name] for m in measured]) for name in ("ratio", "time_us", "baseline_us")]
            decided = Counter(
                c["status"] + (" borderline" if c["measurements"].get("borderline") else "") for c in checks
            )
            print(
                f"| {Path(file).stem} | {checks[0]['case']} | {statistics.median(ratios):.3f} | {min(ratios):.3f} "
                f"| {max(ratios):.3f} | {' | '.join(spreads)} | {shown(decided)} | {verdicts} "
                f"| {statistics.median(seconds):.1f} |",
                flush=True,
            )


def grade(file: str, seed: int) -> tuple[dict, float]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        start = time.monotonic()
        command = [sys.executable, "-m", "grader", "run", "1", file, "--seed", str(seed), "--json", str(out)]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        return json.loads(out.read_text()), time.monotonic() - start


def spread(values: list[float]) -> str:
    """(highest - lowest) / median."""
    return f"{(max(values) - min(values)) / statistics.median(values):.2%}"


def shown(counts: Counter) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

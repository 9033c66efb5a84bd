"""A class of generated submissions, graded by grade batch on one core and on more.

python benchmarks/bench_batch.py 200 --cores 1 2

Right, slow, wrong, hostile and broken ones in a fixed mix, each with a comment of its own, so that none is graded
for another. Every run starts with an empty compile cache. Prints a Markdown table; the memory is that of the whole
process tree, shared pages counted once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXERCISE = ROOT / "exercises" / "01_simple_grouped_gemm"
CORRECT = ROOT / "tests" / "kernels" / "correct"
WRONG = EXERCISE / "wrong"
EVERY_SECONDS = 0.2  # how often memory is looked at

READS_A_FILE = '#include "/etc/passwd"\n#include "../../../../etc/hostname"\n'
GRADES_ITSELF = """#include "grader.cuh"
extern "C" __global__ void grouped_gemm_kernel(const float* A, const float* B, float* C, const int* offsets,
                                               const int* M_sizes, int K, int N, int num_groups) {
    printf("{\\"verdict\\": \\"passed\\", \\"points\\": {\\"total\\": 100}}\\n");
    float* elsewhere = (float*)0x1000;
    elsewhere[threadIdx.x] = 1.0f;
    for (long long i = 0; i >= 0; i++) C[-i] = B[i * 1000003];
}
extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups, Launch* launch) {
    launch->grid = dim3(4);
    launch->block = dim3(64);
}
"""


def texts(folder: Path, *names: str) -> list[bytes]:
    return [(folder / f"{name}.cu").read_bytes() for name in names]


# Of twenty submissions: how many of which kind, and what they are made from.
MIX: dict[str, tuple[int, list[bytes]]] = {
    "right": (
        8,
        [
            *texts(EXERCISE, "solution"),
            *texts(CORRECT, "register_tile", "tile32", "outer_product", "static_persistent"),
        ],
    ),
    "slow": (4, texts(CORRECT, "tile16", "naive_global", "block_per_row")),
    "wrong": (
        5,
        texts(WRONG, "k_tail_dropped", "no_barrier_after_load", "offset_twice", "tf32_inputs", "early_return"),
    ),
    "hostile": (2, [*texts(WRONG, "lock_never_released"), GRADES_ITSELF.encode(), READS_A_FILE.encode()]),
    "broken": (1, [*texts(WRONG, "syntax_error", "wrong_signature"), b"", bytes(range(256))]),
}


def make_class(folder: Path, count: int) -> Counter[str]:
    """The same for the same count. How many of which kind."""
    kinds = [kind for kind, (share, _) in MIX.items() for _ in range(share)]
    made: Counter[str] = Counter()
    for number in range(count):
        kind = kinds[number % len(kinds)]
        sources = MIX[kind][1]
        text = sources[made[kind] % len(sources)]
        made[kind] += 1
        file = folder / f"student{number:03}" / f"{kind}.cu"
        file.parent.mkdir(parents=True)
        file.write_bytes(text + (f"\n// student {number}\n".encode() if text else b""))
    names = sorted(folder.iterdir())
    shuffled = random.Random(count).sample(names, len(names))  # kinds in no order
    for old, new in zip(names, shuffled, strict=True):
        old.rename(folder / f"moved-{new.name}")
    for moved in folder.iterdir():
        moved.rename(folder / moved.name.removeprefix("moved-"))
    return made


def command(submissions: Path, out: Path, seed: int, *more: str) -> list[str]:
    grade = [sys.executable, "-m", "grader", "batch", str(submissions), "--exercise", "1", "--out", str(out)]
    return [*grade, "--exercises", str(ROOT / "exercises"), "--seed", str(seed), *more]


def environment(cache: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"GRADER_CACHE_DIR": str(cache), "PYTHONPATH": path}


def processes_below(pid: int) -> list[int]:
    """It and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for known in found:
        found += parents.get(known, [])
    return found


def proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


class Peak(threading.Thread):
    """The most memory that a process and its descendants held."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self.bytes, self._over = pid, 0, threading.Event()

    def run(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self.bytes = max(self.bytes, sum(map(proportional_bytes, processes_below(self._pid))))

    def stop(self) -> int:
        self._over.set()
        self.join()
        return self.bytes


def measure(submissions: Path, cores: int, seed: int, more: list[str]) -> tuple[float, int, Counter[str]]:
    """Seconds, peak bytes and verdicts."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        chosen = sorted(os.sched_getaffinity(0))[:cores]
        began = time.monotonic()
        process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, chosen)), *command(submissions, out, seed, *more)],
            env=environment(Path(folder) / "cache"),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        peak = Peak(process.pid)
        peak.start()
        status = process.wait()
        seconds = time.monotonic() - began
        if status not in (0, 4):
            raise SystemExit(f"grade batch ended with {status}")
        results = [json.loads(file.read_bytes()) for file in (out / "results").glob("*.json")]
        for check in (check for result in results for check in result["checks"] if check["status"] == "error"):
            print(f"error: {check['id']}: {check['message']}", file=sys.stderr)
        return seconds, peak.stop(), Counter(result["verdict"] for result in results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=200)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=1)
    arguments, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        submissions = Path(folder) / "submissions"
        made = make_class(submissions, arguments.count)
        print(f"{arguments.count} submissions: {', '.join(f'{number} {kind}' for kind, number in made.items())}\n")
        print("| cores | seconds | per minute | speedup | peak memory | verdicts |")
        print("|---|---|---|---|---|---|")
        first = 0.0
        for cores in arguments.cores:
            seconds, peak, verdicts = measure(submissions, cores, arguments.seed, more)
            first = first or seconds
            shown = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
            rate = 60 * arguments.count / seconds
            row = (cores, f"{seconds:.0f}", f"{rate:.1f}", f"{first / seconds:.2f}", f"{peak / 2**20:.0f} MiB", shown)
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()

"""The CPU executor against a GPU: do they compute the same, bit for bit?

    python benchmarks/compare_executors.py tests/kernels/correct/*.cu > benchmarks/results/executors.md

Each kernel runs on every case of exercise 01 in both executors. The bits agree, tensor cores' too, unless PTX leaves
a choice: where a multiply-add may be fused, or atomics come in any order, they differ by a rounding or two.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from grader.executors import open_cpu, open_cuda
from grader.executors.cuda_child import CudaChild
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.launching import invocations
from grader.launching.plan import H200, DeviceLimits, plan_launch, request_launch
from grader.model.execution import Executor, Outcome
from grader.model.exercise import Case, Exercise

SEED = 7
SECONDS = 120.0


def main(files: list[str]) -> None:
    exercise = catalog.find("1", catalog.exercises_folder())
    oracle = Oracle(exercise)
    cases = list(oracle.cases(SEED))
    expected = [oracle.expected(case) for case in cases]
    print("| kernel | cases | elements | differ in bits | largest difference | largest error CPU | GPU |")
    print("|---|---|---|---|---|---|---|")
    for file in map(Path, files):
        with open_cpu() as cpu, open_cuda() as gpu:
            outputs = [[run(exercise, file, child, case) for case in cases] for child in (cpu, gpu)]
        print(row(file.stem, *outputs, expected), flush=True)


def run(exercise: Exercise, file: Path, child: Executor, case: Case) -> Outcome:
    """With the CPU's multiprocessors on both, so that both launch the same."""
    compilation = child.compile(file.read_bytes(), file.name)
    gpu = child.describe() if isinstance(child, CudaChild) else None
    limits = DeviceLimits(H200.sm_count, gpu.max_shared_bytes) if gpu else H200
    plans = []
    for kernel in exercise.kernels:
        outcome = child.run(*request_launch(kernel, case, limits), deadline=SECONDS)
        plans.append(plan_launch(kernel, compilation, file.read_text(), file.name, outcome, limits))
    kernels = exercise.kernels
    return child.run(invocations.of(kernels, case, plans), invocations.arrays(kernels, case, plans), deadline=SECONDS)


def row(name: str, cpu: list[Outcome], gpu: list[Outcome], expected: list[dict[str, np.ndarray]]) -> str:
    if any(outcome.unsupported or outcome.findings for outcome in (*cpu, *gpu)):
        reasons = {
            f.message for o in (*cpu, *gpu) for f in (*o.findings, *([o.unsupported] if o.unsupported else []))
        }
        return f"| {name} | – | – | – | – | {'; '.join(sorted(reasons))[:80]} | |"
    elements = differ = 0
    largest = worst_cpu = worst_gpu = 0.0
    for ours, theirs, right in zip(cpu, gpu, expected, strict=True):
        for output, reference in right.items():
            a, b = ours.outputs[output], theirs.outputs[output]
            elements += a.size
            differ += int((a.view(np.uint32) != b.view(np.uint32)).sum())
            largest = max(largest, float(np.abs(a - b).max()))
            worst_cpu = max(worst_cpu, float(np.abs(a - reference).max()))
            worst_gpu = max(worst_gpu, float(np.abs(b - reference).max()))
    same = "**0**" if not differ else f"{differ} ({differ / elements:.1%})"
    return f"| {name} | {len(cpu)} | {elements} | {same} | {largest:.1e} | {worst_cpu:.1e} | {worst_gpu:.1e} |"


if __name__ == "__main__":
    main(sys.argv[1:])

"""The right Hopper kernels of the tests on a GPU and on the CPU engine: are the results right, and the same?

    python benchmarks/hopper_on_gpu.py

Needs an NVIDIA GPU of compute capability 9.0.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from grader import machine
from grader.executors import open_cpu, open_cuda
from grader.launching import invocations
from grader.launching.plan import plan_launch, request_launch
from grader.model.execution import Executor, Outcome
from tests.kernels.hopper import problem

SECONDS = 30.0
AT_A_TIME = 6


def main() -> int:
    if not machine.gpus():
        print("needs an NVIDIA GPU", file=sys.stderr)
        return 4
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        rows = list(pool.map(row, problem.RIGHT))
    print("| kernel | findings on the CPU | right on the CPU | right on the GPU | same bits |\n|---|---|---|---|---|")
    print(
        "\n".join(f"| {file.stem} | {' | '.join(cells)} |" for file, cells in zip(problem.RIGHT, rows, strict=True))
    )
    return int(any("no" in cells for cells in rows))


def row(file: Path) -> list[str]:
    expected, text = problem.expected(problem.case()), problem.source(file.read_text(encoding="utf-8"))
    outcomes: list[Outcome] = []
    for opened in (open_cpu, open_cuda):
        child: Executor = opened()
        try:
            outcomes.append(run(child, text, file.name))
        except Exception as error:
            return ["", "", f"{type(error).__name__}: {error}"[:200].replace("\n", " "), "no"]
        finally:
            child.close()
    cpu, gpu = outcomes
    if gpu.findings or gpu.unsupported or "d" not in gpu.outputs or "d" not in cpu.outputs:
        said = [f.message for f in (*gpu.findings, *([gpu.unsupported] if gpu.unsupported else []), *cpu.findings)]
        return [str(len(cpu.findings)), "", "; ".join(said)[:200].replace("\n", " "), "no"]
    d = [outcome.outputs["d"].view(np.uint32) for outcome in outcomes]
    same = [yes(x, expected.view(np.uint32)) for x in d]
    return [str(len(cpu.findings)), *same, yes(*d)]


def yes(a: np.ndarray, b: np.ndarray) -> str:
    different = int((a.ravel() != b.ravel()).sum())
    return "yes" if not different else f"no: {different} differ"


def run(child: Executor, text: str, name: str) -> Outcome:
    kernel, case = problem.kernel(), problem.case()
    compilation = child.compile(text.encode(), name)
    if not compilation.ok:
        raise RuntimeError(compilation.log)
    launched = child.run(*request_launch(kernel, case), deadline=SECONDS)
    plan = plan_launch(kernel, compilation, text, name, launched)
    if plan.findings or plan.unsupported:
        raise RuntimeError("; ".join(f.message for f in (*plan.findings, plan.unsupported) if f))
    given = invocations.of([kernel], case, [plan]), invocations.arrays([kernel], case, [plan])
    return child.run(*given, deadline=SECONDS)


if __name__ == "__main__":
    sys.exit(main())

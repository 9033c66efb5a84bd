"""Each wrong kernel before the CPU engine and before compute-sanitizer's four tools: who finds what, one table.

python benchmarks/who_finds_what.py 1

Needs an NVIDIA GPU and compute-sanitizer. Each kernel runs on the case that its first line names, under each tool.
"""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grader import catalog, executors, invocations, submission, verify
from grader.checks import launch
from grader.checks.launch import Limits
from grader.executors import sanitizer, tools
from grader.executors.tools import Stage, Staged
from grader.model.exercise import Case, Exercise
from grader.oracle import Oracle

SEED = 7
SECONDS = 60.0
AT_A_TIME = 3  # wrong kernels; each has four tools at work


def main(which: str) -> None:
    exercise = catalog.find(which, catalog.exercises_folder())
    oracle = Oracle(exercise)
    cases = {case.name: case for case in oracle.cases(SEED)}
    files = sorted((exercise.folder / "wrong").glob("*.cu"))
    promises = [verify.promise_of(file) for file in files]
    wanted = [p for p in promises if p.check.startswith(("memory", "correct"))]
    print(f"| wrong kernel | case | {' | '.join(['this grader', *sanitizer.TOOLS])} |")
    print("|---|---|" + "---|" * (1 + len(sanitizer.TOOLS)))
    caught: Counter[str] = Counter()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for promise, found in zip(wanted, pool.map(lambda p: by_tool(exercise, cases, p), wanted), strict=True):
            caught.update(tool for tool, says in found.items() if says != "–")
            cells = [f"{promise.kind}{lines(promise.lines)}", *found.values()]
            print(f"| {promise.file.stem} | {promise.case} | {' | '.join(cells)} |", flush=True)
    print(f"\nOf {len(wanted)}: this grader {len(wanted)}, " + ", ".join(f"{t} {caught[t]}" for t in sanitizer.TOOLS))


def by_tool(exercise: Exercise, cases: dict[str, Case], promise: verify.Promise) -> dict[str, str]:
    """By tool what it finds, in a word or two."""
    assert promise.case is not None
    case = cases[promise.case]
    run = staged(exercise, case, promise.file)
    if run is None:
        return dict.fromkeys(sanitizer.TOOLS, "does not launch")
    tool = tools.find(sanitizer.NAME)
    if tool is None:
        sys.exit("compute-sanitizer is not installed")
    found = {}
    with Stage(promise.file.read_text(), [run], executors.visible(0)) as stage:
        for name in sanitizer.TOOLS:
            output = stage.run([tool, "--tool", name, "--print-limit", "50"], SECONDS)
            findings = sanitizer.parse(output).get(case.name, ())
            kinds = [f"{f.kind}{lines((f.line,) if f.line else ())}" for f in findings]
            ended = "SUMMARY" in output
            found[name] = ", ".join(dict.fromkeys(kinds)) or ("–" if ended else "did not end")
    return found


def staged(exercise: Exercise, case: Case, file: Path) -> Staged | None:
    """The case as it is launched, the launch functions run on the CPU for an H200."""
    source = submission.read(file)
    with_plans = []
    executor = executors.open_cpu()
    try:
        compilation = executor.compile(source.content, source.name)
        for kernel in exercise.kernels:
            outcome = executor.run(*launch.request(kernel, case, Limits()), deadline=SECONDS)
            with_plans.append(launch.plan(kernel, compilation, source.text, source.name, outcome))
    finally:
        executor.close()
    if any(plan.findings or plan.unsupported for plan in with_plans):
        return None
    kernels = exercise.kernels
    return Staged(
        case.name,
        invocations.of(kernels, case, with_plans),
        invocations.arrays(kernels, case, with_plans),
    )


def lines(numbers: tuple[int, ...]) -> str:
    return f" ({', '.join(map(str, numbers))})" if numbers else ""


if __name__ == "__main__":
    main(sys.argv[1])

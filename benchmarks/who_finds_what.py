"""Each wrong kernel before the CPU engine and before compute-sanitizer's four tools: who finds what, one table.

python benchmarks/who_finds_what.py 1

Needs an NVIDIA GPU and compute-sanitizer. Each kernel runs on the case that its first line names, under each tool.
"""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grader import executors
from grader.authoring import verify
from grader.executors import sanitizer, tools
from grader.executors.tools import Staged, StagedRuns
from grader.exercise import catalog, submission
from grader.exercise.oracle import Oracle
from grader.launching import invocations
from grader.launching.plan import plan_launch, request_launch
from grader.model.exercise import Case, Exercise

SEED = 7
LAUNCH_SECONDS = 60.0
SECONDS = 25.0  # a tool's; where it needs more, the kernel does not end
AT_A_TIME = 12  # tools at work, each over one kernel


def main(which: str) -> None:
    exercise = catalog.find(which, catalog.exercises_folder())
    cases = {case.name: case for case in Oracle(exercise).cases(SEED)}
    promises = [verify.promise_of(file) for file in sorted((exercise.folder / "wrong").glob("*.cu"))]
    wanted = [p for p in promises if p.check.startswith(("memory", "correct"))]
    # Kernels without an end keep the GPU from the others, so they come last.
    queue = sorted(
        ((promise, tool) for promise in wanted for tool in sanitizer.TOOLS),
        key=lambda pair: pair[0].kind == "did-not-finish",
    )
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        said = dict(
            zip(
                ((promise.file, tool) for promise, tool in queue),
                pool.map(lambda pair: by_tool(exercise, cases, *pair), queue),
                strict=True,
            )
        )
    print(f"| wrong kernel | case | {' | '.join(['this grader', *sanitizer.TOOLS])} |")
    print("|---" * (3 + len(sanitizer.TOOLS)) + "|")
    for promise in wanted:
        cells = [f"{promise.kind}{lines(promise.lines)}", *(said[promise.file, tool] for tool in sanitizer.TOOLS)]
        print(f"| {promise.file.stem} | {promise.case} | {' | '.join(cells)} |")
    found = Counter(tool for (_, tool), what in said.items() if what not in SILENT)
    counts = ", ".join(f"{tool} {found[tool]}" for tool in sanitizer.TOOLS)
    print(f"\nOf {len(wanted)}: this grader {len(wanted)}, {counts}.")


NOTHING, NO_END, NO_LAUNCH = "–", "did not end", "does not launch"
SILENT = (NOTHING, NO_END, NO_LAUNCH)


def by_tool(exercise: Exercise, cases: dict[str, Case], promise: verify.Promise, name: str) -> str:
    """What one tool finds, in a word or two."""
    assert promise.case is not None
    case = cases[promise.case]
    run = staged(exercise, case, promise.file)
    tool = tools.find(sanitizer.NAME)
    if run is None:
        return NO_LAUNCH
    if tool is None:
        sys.exit("compute-sanitizer is not installed")
    with StagedRuns(promise.file.read_text(), [run], executors.visible(0)) as stage:
        output = stage.run([tool, "--tool", name, "--print-limit", "50"], SECONDS)
    findings = sanitizer.parse(output).get(case.name, ())
    kinds = [f"{f.kind}{lines((f.line,) if f.line else ())}" for f in findings]
    return ", ".join(dict.fromkeys(kinds)) or (NOTHING if "SUMMARY" in output else NO_END)


def staged(exercise: Exercise, case: Case, file: Path) -> Staged | None:
    """The case as it is launched, the launch functions run on the CPU for an H200."""
    source = submission.read(file)
    with_plans = []
    executor = executors.open_cpu()
    try:
        compilation = executor.compile(source.content, source.name)
        for kernel in exercise.kernels:
            outcome = executor.run(*request_launch(kernel, case), deadline=LAUNCH_SECONDS)
            with_plans.append(plan_launch(kernel, compilation, source.text, source.name, outcome))
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

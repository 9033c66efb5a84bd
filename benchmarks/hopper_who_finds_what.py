"""The wrong Hopper kernels of the tests before the CPU engine and compute-sanitizer's four tools: who finds what.

    python benchmarks/hopper_who_finds_what.py > benchmarks/results/hopper_who_finds_what.md

Needs an NVIDIA GPU of compute capability 9.0 and compute-sanitizer. `--seconds N` starts no more after that. What
this grader finds is what its tests require.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from grader import machine
from grader.executors import sanitizer, tools, visible
from grader.executors.tools import Staged, StagedRuns
from grader.launching import invocations
from grader.launching.plan import Plan
from grader.model.execution import LaunchConfig
from grader.model.result import Finding
from tests.kernels.hopper import problem
from tests.kernels.hopper.mistakes import MISTAKES, Mistake

SECONDS = 8.0  # a tool's; where it needs more, the kernel does not end
AT_A_TIME = 14
NOTHING, NO_END, NOT_RUN, NO_LAUNCH = "–", "did not end", "not run", "does not compile or launch"
WAITING = ("stuck-mbarrier", "cluster-order", "cluster-barrier")  # may never end, so these come last
HEADER_LINES = len(problem.HEADER.read_text(encoding="utf-8").splitlines())


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="then start no more")
    options = parser.parse_args(arguments)
    tool = tools.find(sanitizer.NAME)
    if not machine.gpus() or tool is None:
        print("needs an NVIDIA GPU and compute-sanitizer", file=sys.stderr)
        return 4
    kernels = problem.Kernels([mistake.text for mistake in MISTAKES])
    configs = {mistake.name: kernels.config(number) for number, mistake in enumerate(MISTAKES)}
    end = time.monotonic() + options.seconds
    queue = sorted(
        ((mistake, name) for mistake in MISTAKES for name in sanitizer.TOOLS),
        key=lambda pair: pair[0].detail in WAITING,
    )

    def ask(pair: tuple[Mistake, str]) -> str:
        return NOT_RUN if time.monotonic() > end else said_by(tool, pair[1], pair[0], configs[pair[0].name])

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        answers = pool.map(ask, queue)
        said = {(mistake.name, name): answer for (mistake, name), answer in zip(queue, answers, strict=True)}
    print("\n".join(table(said)))
    return 0


def said_by(tool: str, name: str, mistake: Mistake, config: LaunchConfig) -> str:
    """What one tool finds, in a word or two."""
    kernel, case = problem.kernel(), problem.case()
    plans = [Plan(kernel=kernel.name, config=config)]
    run = Staged(case.name, invocations.of([kernel], case, plans), invocations.arrays([kernel], case, plans))
    try:
        with StagedRuns(problem.source(mistake.text), [run], visible(0)) as stage:
            output = stage.run([tool, "--tool", name, "--print-limit", "50"], SECONDS)
    except OSError as error:
        return str(error)[:60]
    findings = sanitizer.parse(output).get(case.name, ())
    found = ", ".join(dict.fromkeys(f"{f.kind}{place(f)}" for f in findings))
    if found:
        return found
    if "Traceback" in output:
        return NO_LAUNCH
    return NOTHING if "SUMMARY" in output else NO_END


def place(finding: Finding) -> str:
    """The line in the kernel's own text; a tool may stop at one in a helper."""
    if not finding.line:
        return ""
    return f" ({finding.line - HEADER_LINES})" if finding.line > HEADER_LINES else " (in a helper)"


def table(said: dict[tuple[str, str], str]) -> Iterator[str]:
    yield f"| mistake | in | {' | '.join(['this grader', *sanitizer.TOOLS])} |"
    yield "|---" * (3 + len(sanitizer.TOOLS)) + "|"
    for mistake in MISTAKES:
        own = f"{mistake.detail or mistake.kind} ({', '.join(map(str, mistake.guilty))})"
        cells = [own, *(said[mistake.name, name] for name in sanitizer.TOOLS)]
        yield f"| {mistake.name} | {mistake.kernel} | {' | '.join(cells)} |"
    silent = (NOTHING, NO_END, NOT_RUN, NO_LAUNCH)
    found = Counter(name for (_, name), what in said.items() if what not in silent)
    any_tool = {mistake for (mistake, _), what in said.items() if what not in silent}
    counts = ", ".join(f"{name} {found[name]}" for name in sanitizer.TOOLS)
    yield f"\nOf {len(MISTAKES)}: this grader {len(MISTAKES)}; {counts}; any of the four {len(any_tool)}."
    yield f"Not run: {sum(what == NOT_RUN for what in said.values())} of {len(said)}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

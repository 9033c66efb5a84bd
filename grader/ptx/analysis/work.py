"""About how often the instructions of a kernel run: a guess, from its PTX alone."""

from __future__ import annotations

from grader.ptx.opcodes.traits import Flow
from grader.ptx.syntax import Function, Instruction, Label, Symbol

ROUNDS = 32  # of a loop


def times_run(function: Function) -> list[tuple[Instruction, int]]:
    """Each instruction, and how often a thread runs it. What lies in two loops counts for ROUNDS squared."""
    places: dict[str, int] = {}
    heads: dict[int, int] = {}  # where loops begin, and where the last way back to there is
    for place, item in enumerate(function.body):
        if isinstance(item, Label):
            places[item.name] = place
        elif item.traits.branches:
            for name in _targets(function, item):
                if name in places:
                    heads[places[name]] = place
    times = [1] * len(function.body)
    for start, end in heads.items():
        for place in range(start, end + 1):
            times[place] *= ROUNDS
    return [(item, n) for item, n in zip(function.body, times, strict=True) if isinstance(item, Instruction)]


def _targets(function: Function, branch: Instruction) -> tuple[str, ...]:
    """None of a branch in a form that is not known: no thread may get there."""
    target = branch.operands[-1] if branch.operands else None
    if not isinstance(target, Symbol):
        return ()
    return function.tables.get(target.name, ()) if branch.traits.flow is Flow.SWITCH else (target.name,)

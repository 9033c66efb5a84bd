"""Barriers of a cluster of one block: barriers of that block.

`barrier.cluster.arrive` and the `barrier.cluster.wait` right after it become __syncthreads(). If a kernel does
anything in between, the two stay as they are, and are not known.
"""

from __future__ import annotations

from grader.ptx.syntax import Function, Immediate, Instruction, Label

ARRIVE, WAIT = "barrier.cluster.arrive", "barrier.cluster.wait"


def join_cluster_barriers(function: Function) -> None:
    if function.cluster != (1, 1, 1):
        return
    body: list[Instruction | Label] = []
    for item in function.body:
        last = body[-1] if body else None
        if _is(item, WAIT) and _is(last, ARRIVE) and _guard(item) == _guard(last):
            assert isinstance(item, Instruction)
            name = "barrier.sync.aligned" if item.op.is_aligned else "barrier.sync"
            body[-1] = Instruction(name, (Immediate(0),), item.guard, item.guard_negated, item.location)
        else:
            body.append(item)
    function.body = body


def _is(item: Instruction | Label | None, opcode: str) -> bool:
    return isinstance(item, Instruction) and item.opcode.startswith(opcode)


def _guard(item: Instruction | Label | None) -> tuple[str | None, bool]:
    return (item.guard, item.guard_negated) if isinstance(item, Instruction) else (None, False)

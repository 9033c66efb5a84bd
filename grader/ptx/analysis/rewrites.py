"""May a thread read a cell of shared memory and write it later, after other threads have run in between?

Up to a __syncthreads() threads run one after the other, so a thread that overwrites what it read does so before the
next thread reads. A shuffle, a barrier for some threads or a loop that waits lets other threads read first.
"""

from __future__ import annotations

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.suspensions import is_plain_barrier, suspends
from grader.ptx.syntax import Instruction

NOTHING, READ, LET_OTHERS_RUN = range(3)  # what a thread may have done since the last __syncthreads()


def may_rewrite(blocks: list[Block], *, in_cluster: bool = False) -> bool:
    """A fixed point over all paths. In a cluster a __syncthreads() lets other blocks run."""
    if in_cluster:
        return True
    before = [NOTHING] * len(blocks)
    waiting = list(blocks)
    while waiting:
        block = waiting.pop()
        state = before[block.index]
        for ins in block.instructions:
            if state == LET_OTHERS_RUN and ins.traits.writes and _is_shared(ins):
                return True
            state = _after(ins, state)
        if block.yields and state == READ:
            state = LET_OTHERS_RUN
        for target in block.successors:
            if state > before[target]:
                before[target] = state
                waiting.append(blocks[target])
    return False


def _after(ins: Instruction, state: int) -> int:
    if is_plain_barrier(ins):
        return NOTHING
    if suspends(ins):
        return LET_OTHERS_RUN if state else NOTHING
    if ins.traits.reads and not ins.traits.atomic and _is_shared(ins):
        return max(state, READ)
    return state


def _is_shared(ins: Instruction) -> bool:
    """May it access data in shared memory? (The opcode of a cp.async names both of its spaces.)"""
    return ins.traits.asynchronous or (not ins.traits.on_mbarrier and ins.op.space in ("shared", "generic"))

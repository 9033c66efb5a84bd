"""Control flow of a PTX function: basic blocks, liveness, where pointers come from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from grader.ptx.parser import (
    Address,
    Function,
    Immediate,
    Instruction,
    Label,
    Location,
    Operand,
    Pair,
    Register,
    Symbol,
    Vector,
)

COLLECTIVES = {"bar", "barrier", "shfl", "vote", "match", "redux", "activemask", "elect", "mma", "ldmatrix",
               "stmatrix", "movmatrix"}  # fmt: skip
STRONG_LOAD = {"volatile", "relaxed", "acquire", "mmio"}
BUILT_IN_CALLS = {"vprintf", "__assertfail"}
NO_DESTINATION = {"st", "bra", "brx", "ret", "exit", "trap", "bar", "barrier", "membar", "fence", "red", "call",
                  "cp", "deposit", "poll", "prefetch", "prefetchu", "nanosleep", "discard", "brkpt", "applypriority",
                  "pmevent", "stmatrix", "griddepcontrol", "setmaxnreg", "wgmma", "tensormap",
                  "clusterlaunchcontrol", "push", "stack", "aligned"}  # fmt: skip
MAX_INSTRUCTIONS = 200_000


class Unsupported(Exception):  # noqa: N818 - not an error of anybody's
    """An instruction that the engine does not know. `file` and `line` say where it stands."""

    def __init__(self, message: str, location: Location) -> None:
        super().__init__(message)
        self.message, self.location = message, location
        self.file, self.line = location.file, location.line


class OutOfTime(Unsupported):
    """Nothing is unknown, and nothing looks endless: this CPU is too slow for it."""


@dataclass(slots=True)
class Block:
    index: int
    instructions: list[Instruction] = field(default_factory=list)
    successors: list[int] = field(default_factory=list)
    live_in: frozenset[str] = frozenset()
    is_resume: bool = False  # entered after a suspension
    yields: bool = False  # its jump back lets other threads run now and then


SPECIAL = re.compile(
    r"(%(tid|ntid|ctaid|nctaid|clusterid|nclusterid|cluster_ctaid|cluster_nctaid)\.[xyz]|%laneid|%n?warpid|%lanemask_\w\w"
    r"|%n?smid|%gridid|%clock(_hi|64)?|%globaltimer(_lo|_hi)?|%(dynamic|total|aggr)_smem_size|%is_explicit_cluster"
    r"|%cluster_n?ctarank|%envreg\d+|%pm\d+(_64)?|WARP_SZ|_)$"
)


def registers_of(operand: Operand) -> list[str]:
    if isinstance(operand, Register):
        return [] if SPECIAL.match(operand.name) else [operand.name.lstrip("!")]
    if isinstance(operand, Address):
        return registers_of(operand.base)
    if isinstance(operand, Vector):
        return [r for item in operand.items for r in registers_of(item)]
    if isinstance(operand, Pair):
        return [*registers_of(operand.first), *registers_of(operand.second)]
    return []


def defs_and_uses(ins: Instruction) -> tuple[list[str], list[str]]:
    """Registers written and read. A guarded instruction also reads what it may leave unwritten."""
    uses = [ins.guard] if ins.guard else []
    operands = list(ins.operands)
    defs: list[str] = []
    writes = ins.base not in NO_DESTINATION or (ins.base in ("bar", "barrier") and ".red." in ins.opcode)
    if writes and operands and not isinstance(operands[0], Address):
        defs = registers_of(operands.pop(0))
        if ins.guard:
            uses += defs
    for operand in operands:
        uses += registers_of(operand)
    return defs, uses


def is_plain_barrier(ins: Instruction) -> bool:
    """__syncthreads(): barrier 0, for all threads."""
    return bool(re.fullmatch(r"(bar|barrier)(\.cta)?\.sync(\.aligned)?", ins.opcode)) and ins.operands == (
        Immediate(0),
    )


def is_named_barrier(ins: Instruction) -> bool:
    """A barrier of the block with a number other than 0, for some of its threads."""
    if ins.base not in ("bar", "barrier") or ".warp." in ins.opcode:
        return False
    number = ins.operands[1:2] if ".red." in ins.opcode else ins.operands[:1]
    return number != (Immediate(0),)


def is_aligned(barrier: Instruction) -> bool:
    """All threads of a warp must execute this one instruction. `bar` is `barrier.aligned`."""
    return barrier.base == "bar" or "aligned" in barrier.opcode.split(".")


def is_arrive(ins: Instruction) -> bool:
    return ins.base in ("bar", "barrier") and "arrive" in ins.opcode.split(".")


def is_product(ins: Instruction) -> bool:
    """Of matrices. Its deposit reads all that it needs, so that afterwards these registers are free."""
    return ins.base == "mma" or ins.opcode.startswith("wmma.mma")


def is_collective(ins: Instruction) -> bool:
    return (ins.base in COLLECTIVES and not is_arrive(ins)) or is_product(ins)


def operation_of(collective: Instruction) -> tuple[str, int]:
    """Lanes meet that execute the same, wherever it stands; of an aligned one, and activemask, one instruction."""
    in_one_place = collective.base == "activemask" or "aligned" in collective.opcode.split(".")
    return collective.opcode, id(collective) if in_one_place else 0


def is_phase_wait(ins: Instruction) -> bool:
    """A look at the phase of an mbarrier."""
    return ins.opcode.startswith(("mbarrier.test_wait", "mbarrier.try_wait"))


def split_collectives(function: Function) -> None:
    """Put a `deposit` before every collective: there the thread leaves its words and waits; the collective itself
    then reads what all have left. Before a look at an mbarrier stands a `poll`: there the thread lets others run if
    the phase is not complete. A guarded one is branched around."""
    body: list[Instruction | Label] = []
    for item in function.body:
        if isinstance(item, Label) or not (is_collective(item) or is_phase_wait(item)):
            body.append(item)
            continue
        skip = f"skip@{len(body)}"
        if item.guard:
            body.append(Instruction("bra", (Symbol(skip),), item.guard, not item.guard_negated, item.location))
        if is_phase_wait(item):
            body.append(Instruction("poll", item.operands[1:], location=item.location))
        elif not is_plain_barrier(item):
            sources = item.operands[1:] if is_product(item) else ()
            body.append(Instruction("deposit", sources, location=item.location))
        operands = item.operands[:1] if is_product(item) else item.operands
        body.append(replace(item, guard=None, operands=operands))
        if item.guard:
            body.append(Label(skip))
    function.body = body


def suspends(ins: Instruction) -> bool:
    return ins.base in ("deposit", "poll") or is_plain_barrier(ins)


def blocks_of(function: Function) -> list[Block]:
    """Basic blocks in program order, with live registers. A suspension ends its block."""
    blocks = [Block(0)]
    labels: dict[str, int] = {}
    ends = {"bra", "brx", "ret", "exit", "trap"}

    def start() -> Block:
        if blocks[-1].instructions:
            blocks.append(Block(len(blocks)))
        return blocks[-1]

    for item in function.body:
        if isinstance(item, Label):
            labels[item.name] = start().index
            continue
        blocks[-1].instructions.append(item)
        if item.base in ends or suspends(item):
            blocks.append(Block(len(blocks), is_resume=suspends(item)))
    if not blocks[-1].instructions:
        blocks[-1].instructions.append(Instruction("ret", ()))
    for block in blocks:
        last = block.instructions[-1]
        if last.base in {"bra", "brx"}:
            for name in branch_targets(function, last):
                if name not in labels:
                    raise Unsupported(f"branch to an unknown label {name}", last.location)
                block.successors.append(labels[name])
        if last.base not in {"bra", "brx", "ret", "exit", "trap"} or last.guard:
            block.successors.append(block.index + 1)
    _liveness(blocks)
    _let_spinning_loops_yield(blocks)
    return blocks


def _let_spinning_loops_yield(blocks: list[Block]) -> None:
    """A loop that may wait for another thread must let that thread run: its head becomes a place to go on from."""
    for block in blocks:
        for target in block.successors:
            body = [i for b in blocks[target : block.index + 1] for i in b.instructions]
            if target <= block.index and any(map(may_wait, body)) and not any(map(suspends, body)):
                block.yields = True
                blocks[target].is_resume = True


def may_wait(ins: Instruction) -> bool:
    """Does it look at what another thread may change: an atomic, a volatile load, a pause?"""
    return ins.base in ("atom", "nanosleep") or (ins.base == "ld" and bool(STRONG_LOAD & set(ins.opcode.split("."))))


def branch_targets(function: Function, branch: Instruction) -> tuple[str, ...]:
    target = branch.operands[-1]
    assert isinstance(target, Symbol)
    return function.tables[target.name] if branch.base == "brx" else (target.name,)


def _liveness(blocks: list[Block]) -> None:
    use: list[set[str]] = []
    kill: list[set[str]] = []
    for block in blocks:
        used: set[str] = set()
        killed: set[str] = set()
        for ins in block.instructions:
            defs, uses = defs_and_uses(ins)
            used.update(u for u in uses if u not in killed)
            killed.update(defs)
        use.append(used)
        kill.append(killed)
    live = [set(u) for u in use]
    changed = True
    while changed:
        changed = False
        for block in reversed(blocks):
            out = set().union(*(live[s] for s in block.successors)) if block.successors else set()
            new = use[block.index] | (out - kill[block.index])
            if new != live[block.index]:
                live[block.index], changed = new, True
    for block in blocks:
        block.live_in = frozenset(live[block.index])


MANY = -1  # not one parameter's alone
NO_POINTER = -2  # an integer, or an address from elsewhere
OFFSET_OPS = {"add", "sub", "mad", "and"}
MERGE_OPS = {"mov", "cvta", "selp"}


def pointer_origins(function: Function) -> dict[str, int]:
    """Register -> index of the kernel parameter that all its definitions make its address from.

    A fixed point over all definitions, whatever path reaches them. What is missing or MANY must be looked up.
    """
    index = {p.name: i for i, p in enumerate(function.parameters)}
    origin: dict[str, int] = {}
    changed = True
    while changed:
        changed = False
        for ins in function.body:
            if isinstance(ins, Label):
                continue
            found = _origin(ins, origin, index)
            if found is None:
                continue
            for name in defs_and_uses(ins)[0]:
                known = origin.get(name)
                if known is None or known not in (found, MANY):
                    origin[name] = found if known is None else MANY
                    changed = True
    return {name: which for name, which in origin.items() if which >= 0}


def _origin(ins: Instruction, origin: dict[str, int], index: dict[str, int]) -> int | None:
    """What this definition makes; None while an operand is not known yet."""
    if ins.opcode in ("ld.param.u64", "ld.param.b64"):
        address = ins.operands[1]
        if isinstance(address, Address) and isinstance(address.base, Symbol) and address.offset == 0:
            return index.get(address.base.name, NO_POINTER)
        return NO_POINTER
    if ins.base not in OFFSET_OPS | MERGE_OPS:
        return NO_POINTER
    sources = ins.operands[1:3] if ins.base == "selp" else ins.operands[1:]
    found = {origin.get(r) for operand in sources for r in registers_of(operand)}
    found |= {NO_POINTER for operand in sources if not registers_of(operand)}
    if None in found:
        return None
    if ins.base in OFFSET_OPS and len(found) > 1:
        found.discard(NO_POINTER)
    return found.pop() if len(found) == 1 else MANY

"""mbarrier instructions. PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier".

The runtime's part is in phases.py.
"""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.remote import note_remote
from grader.ptx.machine import HEADER, SHARED_WINDOW, kernel_address
from grader.ptx.runtime.phases import BYTES, DROPS, RELEASES, STAYS
from grader.ptx.syntax import Address, Instruction, Operand

SPACES = {"shared", "shared::cta", "shared::cluster"}
SCOPES = {"cta", "cluster"}
ARRIVE = {"release", "relaxed", "noComplete", "expect_tx"}
WAIT = {"acquire", "relaxed", "parity"}


def _modifiers(u: KernelBuilder, ins: Instruction, *known: str) -> set[str]:
    """The modifiers after the operation. Raises Unsupported if one is not `known`."""
    mods = set(ins.modifiers[1:])
    if mods - set(known) - SPACES - SCOPES - {"b64"}:
        raise u.unsupported()
    return mods


def shared_address(u: KernelBuilder, operand: Operand, mods: set[str]) -> Value:
    """The offset in shared memory, of a generic address too."""
    address = address_of(u, operand)
    return address if mods & SPACES else address - kernel_address(SHARED_WINDOW)


def use_of(u: KernelBuilder, ins: Instruction, operand: Operand) -> tuple[Value, Value, Value, Value]:
    """The worker, this thread, the address of an mbarrier, and a site.

    All operations but init may race with each other. A wait after inval is found nevertheless.
    """
    name = ".".join((ins.base, *(m for m in ins.modifiers if m not in (*SPACES, "global"))))
    strong = ins.modifiers[0] != "init"
    site = u.site(BYTES, strong=strong, opcode=f"{name}.shared")
    address = shared_address(u, operand, set(ins.modifiers))
    if ins.op.may_leave_block:
        note_remote(u, "shared", address, BYTES)
    return u.worker, u.me, address, u.f.const("i32", site)


def init(u: KernelBuilder, ins: Instruction) -> None:
    _modifiers(u, ins)
    u.f.call("void", "mbarrier_init", *use_of(u, ins, ins.operands[0]), u.value(ins.operands[1], "u32"))


def inval(u: KernelBuilder, ins: Instruction) -> None:
    _modifiers(u, ins)
    u.f.call("void", "mbarrier_inval", *use_of(u, ins, ins.operands[0]))


def expect(u: KernelBuilder, ins: Instruction) -> None:
    """expect_tx adds to the pending bytes, complete_tx subtracts."""
    _modifiers(u, ins, "relaxed")
    count = u.value(ins.operands[1], "u32")
    more = u.f.const("i32", 0) - count if ins.modifiers[0] == "complete_tx" else count
    u.f.call("void", "mbarrier_expect", *use_of(u, ins, ins.operands[0]), more)


def pending_count(u: KernelBuilder, ins: Instruction) -> None:
    _modifiers(u, ins)
    u.assign(ins.operands[0], (u.value(ins.operands[1], "b64") >> 32).trunc("i32"))


def arrive(u: KernelBuilder, ins: Instruction) -> None:
    """arrive and arrive_drop. Operands: [state,] address[, count or bytes]."""
    mods = _modifiers(u, ins, *ARRIVE)
    f, operands = u.f, list(ins.operands)
    target = None if isinstance(operands[0], Address) else operands.pop(0)
    number = u.value(operands[1], "u32") if len(operands) > 1 else None
    one, zero = f.const("i32", 1), f.const("i32", 0)
    expects = "expect_tx" in mods
    count = one if expects or number is None else number
    flags = (RELEASES if "relaxed" not in mods else 0) | (DROPS if ins.modifiers[0] == "arrive_drop" else 0)
    flags |= STAYS if "noComplete" in mods else 0
    arguments = (count, number if expects and number else zero, f.const("i32", flags))
    state = f.call("i64", "mbarrier_arrive", *use_of(u, ins, operands[0]), *arguments)
    u.passes()
    if target is not None:
        u.assign(target, state)


# Waiting --------------------------------------------------------------------------------------------------------


def _phase(u: KernelBuilder, ins: Instruction, mods: set[str]) -> tuple[Value, Value]:
    """The state or parity operand of a wait, and a flag that says which it is."""
    parity = "parity" in mods
    value = u.value(ins.operands[2], "b32").zext("i64") if parity else u.value(ins.operands[2], "b64")
    return value, u.f.const("i32", int(parity))


def poll(u: KernelBuilder, ins: Instruction) -> Value:
    """Is the phase that `ins` waits for complete? The frame remembers the mbarrier."""
    mods = _modifiers(u, ins, *WAIT)
    address = shared_address(u, ins.operands[1], mods)
    HEADER.set(u.f["frame"], "barrier", address.trunc("i32"))
    return u.f.call("i32", "mbarrier_poll", u.worker, address, *_phase(u, ins, mods)).ne(0)


def wait(u: KernelBuilder, ins: Instruction) -> None:
    """The time limit is ignored. Like a strong load, a wait acquires what fences have released."""
    mods = _modifiers(u, ins, *WAIT)
    u.acquire()
    acquires = u.f.const("i32", int("relaxed" not in mods))
    complete = u.f.call("i32", "mbarrier_wait", *use_of(u, ins, ins.operands[1]), *_phase(u, ins, mods), acquires)
    u.met_others()
    u.assign(ins.operands[0], complete.ne(0))


HANDLERS = {
    "mbarrier.init": init,
    "mbarrier.inval": inval,
    "mbarrier.expect_tx": expect,
    "mbarrier.complete_tx": expect,
    "mbarrier.pending_count": pending_count,
    "mbarrier.arrive": arrive,
    "mbarrier.arrive_drop": arrive,
    "mbarrier.test_wait": wait,
    "mbarrier.try_wait": wait,
}

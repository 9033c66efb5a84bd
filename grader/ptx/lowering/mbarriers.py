"""mbarrier instructions. PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier".

What they do stands in phases.py. `.shared::cluster` is this block's own memory: nothing here gives the address of
another's.
"""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.accesses import address_of
from grader.ptx.lowering.kernel import Kernel
from grader.ptx.machine import HEADER, SHARED_WINDOW, window_base
from grader.ptx.parser import Address, Instruction, Operand
from grader.ptx.runtime.phases import BYTES, DROPS, RELEASES, STAYS

SPACES = {"shared", "shared::cta", "shared::cluster"}
ARRIVE = {"release", "relaxed", "noComplete", "expect_tx"}
WAIT = {"acquire", "relaxed", "parity"}
COUNT = {"relaxed"}
KNOWN = {"init": set(), "inval": set(), "arrive": ARRIVE, "arrive_drop": ARRIVE, "test_wait": WAIT, "try_wait": WAIT,
         "expect_tx": COUNT, "complete_tx": COUNT, "pending_count": set()}  # fmt: skip


def mbarrier(u: Kernel, ins: Instruction) -> None:
    operation, mods = _parts(u, ins)
    if operation == "pending_count":
        u.assign(ins.operands[0], (u.value(ins.operands[1], "b64") >> 32).trunc("i32"))
    elif operation in ("test_wait", "try_wait"):
        _wait(u, ins, mods)
    elif operation in ("arrive", "arrive_drop"):
        _arrive(u, ins, operation, mods)
    elif operation == "init":
        u.f.call("void", "mbarrier_init", *use_of(u, ins, ins.operands[0]), u.value(ins.operands[1], "u32"))
    elif operation == "inval":
        u.f.call("void", "mbarrier_inval", *use_of(u, ins, ins.operands[0]))
    else:
        count = u.value(ins.operands[1], "u32")
        more = u.f.const("i32", 0) - count if operation == "complete_tx" else count
        u.f.call("void", "mbarrier_expect", *use_of(u, ins, ins.operands[0]), more)


def _parts(u: Kernel, ins: Instruction) -> tuple[str, set[str]]:
    operation, *mods = ins.opcode.split(".")[1:]
    if operation not in KNOWN or set(mods) - KNOWN[operation] - SPACES - {"b64", "cta", "cluster"}:
        raise u.unsupported()
    return operation, set(mods)


def shared_address(u: Kernel, operand: Operand, mods: set[str]) -> Value:
    """An offset into shared memory, of a generic address too."""
    address = address_of(u, operand)
    return address if mods & SPACES else address - window_base(SHARED_WINDOW)


def use_of(u: Kernel, ins: Instruction, operand: Operand) -> tuple[Value, Value, Value, Value]:
    """The worker, this thread, the address of an mbarrier, and the place in the source.

    All but init may come close to each other; a wait after inval is found all the same.
    """
    mods = ins.opcode.split(".")
    name = ".".join(m for m in mods if m not in SPACES)
    strong = mods[1] != "init"
    site = u.site(BYTES, strong=strong, opcode=f"{name}.shared")
    return u.worker, u.me, shared_address(u, operand, set(mods)), u.f.const("i32", site)


def _arrive(u: Kernel, ins: Instruction, operation: str, mods: set[str]) -> None:
    """Operands: [state,] address[, count or bytes]."""
    f, operands = u.f, list(ins.operands)
    target = None if isinstance(operands[0], Address) else operands.pop(0)
    number = u.value(operands[1], "u32") if len(operands) > 1 else None
    one, zero = f.const("i32", 1), f.const("i32", 0)
    expects = "expect_tx" in mods
    count = one if expects or number is None else number
    flags = (RELEASES if "relaxed" not in mods else 0) | (DROPS if operation == "arrive_drop" else 0)
    flags |= STAYS if "noComplete" in mods else 0
    arguments = (count, number if expects and number else zero, f.const("i32", flags))
    state = f.call("i64", "mbarrier_arrive", *use_of(u, ins, operands[0]), *arguments)
    u.passes()
    if target is not None:
        u.assign(target, state)


# Waiting --------------------------------------------------------------------------------------------------------


def _phase(u: Kernel, ins: Instruction, mods: set[str]) -> tuple[Value, Value]:
    """The state or the parity that a wait names, and which of the two it is."""
    parity = "parity" in mods
    value = u.value(ins.operands[2], "b32").zext("i64") if parity else u.value(ins.operands[2], "b64")
    return value, u.f.const("i32", int(parity))


def poll(u: Kernel, ins: Instruction) -> Value:
    """Is the phase complete that `ins` waits for? The thread's frame keeps which mbarrier it is."""
    _, mods = _parts(u, ins)
    address = shared_address(u, ins.operands[1], mods)
    HEADER.set(u.f["frame"], "barrier", address.trunc("i32"))
    return u.f.call("i32", "mbarrier_poll", u.worker, address, *_phase(u, ins, mods)).ne(0)


def _wait(u: Kernel, ins: Instruction, mods: set[str]) -> None:
    """A hint for how long to wait changes nothing here. What fences have released a wait acquires as a load does."""
    u.acquire()
    acquires = u.f.const("i32", int("relaxed" not in mods))
    complete = u.f.call("i32", "mbarrier_wait", *use_of(u, ins, ins.operands[1]), *_phase(u, ins, mods), acquires)
    u.met_others()
    u.assign(ins.operands[0], complete.ne(0))


HANDLERS = {"mbarrier": mbarrier}

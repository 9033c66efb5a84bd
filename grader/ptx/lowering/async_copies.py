"""cp.async.bulk, cp.async.mbarrier.arrive and the fence between the two ways to memory.

PTX ISA, "Data Movement and Conversion Instructions: Asynchronous copy" and "Async proxy". What they do stands in
flights.py and bulk_copies.py. Of bulk copies those between global memory and this block's shared memory are known.
"""

from __future__ import annotations

from grader.ptx.analysis.flow import Block
from grader.ptx.lowering.accesses import address_of, copy_async, memory_fence
from grader.ptx.lowering.kernel import Kernel
from grader.ptx.lowering.mbarriers import SPACES, use_of
from grader.ptx.machine import HEADER
from grader.ptx.parser import Instruction
from grader.ptx.runtime.bulk_copies import CHUNK

LOAD = ["global", "mbarrier::complete_tx::bytes"]  # after the space of the target
STORE = ["global", "shared::cta", "bulk_group"]


def is_asynchronous(blocks: list[Block]) -> bool:
    """Does an mbarrier or a group of bulk copies wait for copies of this kernel?"""
    names = ("cp.async.bulk", "cp.async.mbarrier")
    return any(i.opcode.startswith(names) for b in blocks for i in b.instructions)


def copy(u: Kernel, ins: Instruction) -> None:
    mods = ins.opcode.split(".")
    if mods[1:3] == ["async", "bulk"]:
        _bulk(u, ins, mods[3:])
    elif mods[1:4] == ["async", "mbarrier", "arrive"]:
        _arrive(u, ins, mods[4:])
    else:
        if mods[2] in ("wait_group", "wait_all") and is_asynchronous(u.blocks):
            u.f.call("void", "copies_seen", u.worker, u.me)
            u.passes()
        copy_async(u, ins)


def _arrive(u: Kernel, ins: Instruction, mods: list[str]) -> None:
    if set(mods) - SPACES - {"noinc", "b64"}:
        raise u.unsupported()
    more = u.f.const("i32", int("noinc" not in mods))
    u.f.call("void", "copies_arrive", *use_of(u, ins, ins.operands[0]), u.f["frame"], more)
    u.passes()


def _bulk(u: Kernel, ins: Instruction, mods: list[str]) -> None:
    f = u.f
    if mods == ["commit_group"]:
        HEADER.set(f["frame"], "bulk_group", HEADER.get(f["frame"], "bulk_group") + 1)
    elif mods in (["wait_group"], ["wait_group", "read"]):
        f.call("void", "bulk_wait", u.worker, u.me, u.value(ins.operands[0], "u32"), f["frame"])
        u.passes()
    elif mods[:2] != ["prefetch", "L2"]:
        _bulk_copy(u, ins, mods)


def _bulk_copy(u: Kernel, ins: Instruction, mods: list[str]) -> None:
    """Operands: target, source, bytes, and the mbarrier of a load."""
    f, loads = u.f, mods[1:] == LOAD and mods[0] in SPACES
    if not loads and mods != STORE:
        raise u.unsupported()
    size = u.value(ins.operands[2], "u32")
    target, source = (address_of(u, operand) for operand in ins.operands[:2])
    spaces = ("shared", "global") if loads else ("global", "shared")
    opcodes = (f"{verb}.{space}.bulk" for verb, space in zip(("st", "ld"), spaces, strict=True))
    sites = (f.const("i32", u.site(CHUNK, opcode=opcode)) for opcode in opcodes)
    arguments = (u.worker, u.me, target, source, size, *sites)
    if loads:
        *_, mbarrier, site = use_of(u, ins, ins.operands[3])
        f.call("void", "bulk_load", *arguments, mbarrier, site)
    else:
        f.call("void", "bulk_store", *arguments, f["frame"])
    u.passes()


def fence(u: Kernel, ins: Instruction) -> None:
    """That of the async proxy orders nothing for other threads; that of mbarrier.init needs nothing here."""
    if ins.opcode.startswith("fence.proxy.async"):
        u.f.call("void", "bulk_fence", u.worker)
        u.passes()
    elif not ins.opcode.startswith("fence.mbarrier_init"):
        memory_fence(u, ins)


HANDLERS = {"cp": copy, "fence": fence}

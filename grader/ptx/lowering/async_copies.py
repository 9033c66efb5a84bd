"""cp.async, cp.async.bulk, cp.reduce.async.bulk and cp.async.mbarrier.arrive.

PTX ISA, "Data Movement and Conversion Instructions: Asynchronous copy". The runtime's part is in copies.py,
flights.py and bulk_copies.py. Of the bulk copies, those between global and shared memory are supported; of the
reductions, those into global memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from grader.ptx.analysis.flow import Block
from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.arithmetic import llvm_type
from grader.ptx.lowering.atomics import combine
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.mbarriers import SPACES, use_of
from grader.ptx.lowering.remote import in_block, note_remote
from grader.ptx.machine import DROPS, HEADER, WORKER, Kind
from grader.ptx.runtime.bulk_copies import CHUNK
from grader.ptx.syntax import Immediate, Instruction, Operand, Register

LOAD = ("global", "mbarrier::complete_tx::bytes")  # modifiers after the space of the destination
STORE = ("global", "shared::cta", "bulk_group")
MULTICAST = "multicast::cluster"
HINTS = {"L2::cache_hint", "noftz"}  # noftz: of halves, whose subnormals always count here
REDUCTIONS = {"add", "min", "max", "inc", "dec", "and", "or", "xor"}


def is_asynchronous(blocks: list[Block]) -> bool:
    """Does the kernel make copies that complete an mbarrier or a group of bulk copies?"""
    return any(i.traits.arrives_later for b in blocks for i in b.instructions)


def copy(u: KernelBuilder, ins: Instruction) -> None:
    """Operands: destination, source, bytes [, bytes to read from the source]; the rest becomes zero."""
    f, operands = u.f, ins.operands
    if len(operands) not in (3, 4) or not isinstance(operands[2], Immediate):
        raise u.unsupported()
    width = operands[2].bits
    filled = filled_bytes(u, operands[3], width) if len(operands) == 4 else f.const("i32", width)
    source = _copy_source(u, operands[1], width, filled)
    site = f.const("i32", u.site(width, opcode="st.shared"))
    target = address_of(u, operands[0])
    f.call("void", "copy_start", u.worker, u.me, target, f.const("i32", width), site, source, filled, f["frame"])


def commit_group(u: KernelBuilder, _: Instruction) -> None:
    _count_group(u, "group")


def wait_group(u: KernelBuilder, ins: Instruction) -> None:
    """Wait until at most this many groups are pending."""
    _see_copies(u)
    u.f.call("void", "copy_wait", u.worker, u.me, u.value(ins.operands[0], "u32"), u.f["frame"])


def wait_all(u: KernelBuilder, _: Instruction) -> None:
    _see_copies(u)
    _count_group(u, "group")
    u.f.call("void", "copy_wait", u.worker, u.me, u.f.const("i32", 0), u.f["frame"])


def _count_group(u: KernelBuilder, name: str) -> None:
    HEADER.set(u.f["frame"], name, HEADER.get(u.f["frame"], name) + 1)


def _see_copies(u: KernelBuilder) -> None:
    if is_asynchronous(u.blocks):
        u.f.call("void", "copies_seen", u.worker, u.me)
        u.passes()


def filled_bytes(u: KernelBuilder, operand: Operand, width: int) -> Value:
    """Bytes to read from the source: their number is the operand, or zero if the operand is a true predicate."""
    f, whole = u.f, u.f.const("i32", width)
    if isinstance(operand, Register) and u.function.registers.get(operand.name.lstrip("!")) == "pred":
        return f.select(u.value(operand, "pred"), f.const("i32", 0), whole)
    given = u.value(operand, "u32")
    return f.select(given.ult(width), given, whole)


def _copy_source(u: KernelBuilder, operand: Operand, width: int, filled: Value) -> Value:
    """Host address of the bytes to copy. With zero bytes to read, the source address is not checked."""
    f = u.f
    do, skip, after = f.fresh("do"), f.fresh("skip"), f.fresh("source")
    address = address_of(u, operand)  # before the branch: what comes after may use the same register
    f.branch(filled.ne(0), do, skip)
    f.label(do)
    site = f.const("i32", u.site(width, opcode="ld.global"))
    pointer = f.call("ptr", "copy_source", u.worker, u.me, address, f.const("i32", width), site, filled)
    f.jump(after)
    f.label(skip)
    sink = WORKER.get(u.worker, "sink")
    f.jump(after)
    f.label(after)
    return f.emit("ptr", f'phi ptr [ {pointer}, %"{do}" ], [ {sink}, %"{skip}" ]')


def arrive(u: KernelBuilder, ins: Instruction) -> None:
    """cp.async.mbarrier.arrive: an arrival once the copies so far are complete."""
    mods = set(ins.modifiers[3:])
    if mods - SPACES - {"noinc", "b64"}:
        raise u.unsupported()
    more = u.f.const("i32", int("noinc" not in mods))
    u.f.call("void", "copies_arrive", *use_of(u, ins, ins.operands[0]), u.f["frame"], more)
    u.passes()


# Bulk copies ----------------------------------------------------------------------------------------------------


def bulk_commit_group(u: KernelBuilder, _: Instruction) -> None:
    _count_group(u, "bulk_group")


def bulk_wait_group(u: KernelBuilder, ins: Instruction) -> None:
    if ins.modifiers[3:] not in ((), ("read",)):
        raise u.unsupported()
    u.f.call("void", "bulk_wait", u.worker, u.me, u.value(ins.operands[0], "u32"), u.f["frame"])
    u.passes()


def bulk_copy(u: KernelBuilder, ins: Instruction) -> None:
    """Operands: destination, source, bytes [, mbarrier of a load]."""
    f, mods = u.f, ins.modifiers[2:]
    many = mods[-1] == MULTICAST
    mods = mods[:-1] if many else mods
    loads = mods[1:] == LOAD and mods[0] in SPACES
    if not loads and (mods != STORE or many):
        raise u.unsupported()
    size = u.value(ins.operands[2], "u32")
    target, source = (address_of(u, operand) for operand in ins.operands[:2])
    spaces = ("shared", "global") if loads else ("global", "shared")
    opcodes = (f"{verb}.{space}.bulk" for verb, space in zip(("st", "ld"), spaces, strict=True))
    sites = (f.const("i32", u.site(CHUNK, opcode=opcode)) for opcode in opcodes)
    ends = tuple(sites)
    if loads:
        *_, mbarrier, site = use_of(u, ins, ins.operands[3])
        for to, signal in each_target(u, ins.operands[4:], target, mbarrier):
            f.call("void", "bulk_load", u.worker, u.me, to, source, size, *ends, signal, site)
    else:
        f.call("void", "bulk_store", u.worker, u.me, target, source, size, *ends, f["frame"])
    u.passes()


def each_target(
    u: KernelBuilder, mask: tuple[Operand, ...], target: Value, mbarrier: Value
) -> Iterator[tuple[Value, Value]]:
    """Where a load goes, and the mbarrier it completes: with a mask, in each block of the cluster that it names."""
    if not mask:
        note_remote(u, "shared", target, CHUNK)
        yield target, mbarrier
        return
    f, blocks = u.f, u.value(mask[0], "b16").zext("i32")
    with f.when((blocks >> u.shared.blocks).ne(0), likely=False):
        u.fail(Kind.TRAP)
        f.label(f.fresh("dead"))
    for rank in range(u.shared.blocks):
        with f.when(((blocks >> rank) & 1).ne(0)):
            number = f.const("i64", rank)
            to = in_block(u, target, number)
            note_remote(u, "shared", to, CHUNK)
            yield to, in_block(u, mbarrier, number)


def bulk_reduce(u: KernelBuilder, ins: Instruction) -> None:
    """Operands: destination in global memory, source in shared memory, bytes [, cache policy]."""
    f, op, mods = u.f, ins.op, [m for m in ins.modifiers[3:] if m not in HINTS]
    if tuple(mods[:3]) != STORE or len(mods) != 5 or mods[3] not in REDUCTIONS or op.element_bytes not in (2, 4, 8):
        raise u.unsupported()
    size = u.value(ins.operands[2], "u32")
    target, source = (address_of(u, operand) for operand in ins.operands[:2])
    site = f.const("i32", u.site(CHUNK, opcode=f"red.global.{op.type}.bulk", strong=True) | DROPS)
    source_site = f.const("i32", u.site(CHUNK, opcode="ld.shared.bulk"))
    arguments = (u.worker, u.me, target, source, size, site, source_site)
    good = f.call("i32", "bulk_good", *arguments, f.const("i32", 0)).ne(0)
    with f.when(good & size.ne(0)):
        with f.count(size.zext("i64") >> 4) as k:
            at = k << 4
            place = f.call("ptr", "bulk_target", u.worker, u.me, target + at, source + at, *arguments[4:])
            given = u.shared_host.at(source + at)
            for start in range(0, CHUNK, op.element_bytes):
                value = given.at(start).load(llvm_type(op.type), 1)
                combine(u, mods[3], op, target, place.at(start), [value])
        f.call("void", "bulk_reads", *arguments, f["frame"])
    u.passes()


def policy(u: KernelBuilder, ins: Instruction) -> None:
    """createpolicy: cache policies are ignored."""
    u.assign(ins.operands[0], u.f.const("i64", 0))


HANDLERS = {
    "cp.async.ca": copy,
    "cp.async.cg": copy,
    "cp.async.commit_group": commit_group,
    "cp.async.wait_group": wait_group,
    "cp.async.wait_all": wait_all,
    "cp.async.mbarrier.arrive": arrive,
    "cp.async.bulk": bulk_copy,
    "cp.reduce.async.bulk": bulk_reduce,
    "cp.async.bulk.commit_group": bulk_commit_group,
    "cp.async.bulk.wait_group": bulk_wait_group,
    "createpolicy": policy,
}

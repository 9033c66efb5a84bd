"""Loads and stores, and the check of a single access. load_groups.py checks several loads at once."""

from __future__ import annotations

from collections.abc import Sequence

from grader.ptx.analysis.around import WORD, inside
from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import address_of, parameter_pointer
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.remote import note_remote
from grader.ptx.lowering.shared_cells import clamped, larger, reduced, splat
from grader.ptx.machine import BLIND, CHANGES, LOCK_BYTES, LOOKS, WORKER
from grader.ptx.opcodes.opcode import Opcode
from grader.ptx.opcodes.rows import ALIGNED
from grader.ptx.syntax import Address, Immediate, Instruction, Operand, Register, items_of
from grader.ptx.types import is_signed

DISCARDED_BYTES = 128  # the ISA allows no other number
DISCARDED = 0x7F  # the value of each byte afterwards, as in definition/effects.py


def load(u: KernelBuilder, ins: Instruction) -> None:
    op, (destination, source, *_) = ins.op, ins.operands
    if not op.element_bytes:
        raise u.unsupported()
    if op.space == "param" and not (isinstance(source, Address) and isinstance(source.base, Register)):
        pointer = parameter_pointer(u, source, op.bytes)
    else:
        pointer = _load_pointer(u, ins, source)
    for k, item in enumerate(items_of(destination)):
        value = pointer.at(k * op.element_bytes).load(f"i{8 * op.element_bytes}", 1)
        u.assign(item, value, signed=is_signed(op.type))


def _load_pointer(u: KernelBuilder, ins: Instruction, source: Operand) -> Value:
    op, pointer = ins.op, u.loads.pointer(u, ins)
    if pointer is not None:
        return pointer
    if op.space == "local":
        return _local_pointer(u, source, op.bytes)
    looks = u.looks.acquires(ins)
    space = "global" if op.space == "param" else op.space  # a parameter whose address was taken
    meant = inside(ins)
    width = op.bytes if meant is None else 1
    pointer = checked(u, "read", space, meant or source, width, strong=looks or id(ins) in u.looks.guesses)
    if meant is not None:
        pointer = peeked(u, space, address_of(u, source), 1)
    if looks:
        u.acquire()  # after the checks: it orders what follows, and not itself
        if id(ins) not in u.looks.idle:
            pointer = _seen(u, ins, address_of(u, source), pointer)
    return pointer


def _seen(u: KernelBuilder, ins: Instruction, address: Value, pointer: Value) -> Value:
    """Where the value of a look is: in memory, or, of a poll, it may be an earlier one."""
    f, current, meant = u.f, pointer, inside(ins)
    if meant is not None:
        address = address & -WORD  # where the atomics of its word signal
    elif id(ins) in u.looks.waits and ins.op.reaches_other_blocks and ins.op.bytes <= 8:
        pointer = f.call("ptr", "poll_early", u.worker, u.me, address, current)
        with f.when(pointer.eq(current)):
            synchronise(u, ins.op, address, f.const("i32", LOOKS))
        return pointer
    synchronise(u, ins.op, address, f.const("i32", LOOKS))
    return pointer


def peeked(u: KernelBuilder, space: str, address: Value, width: int) -> Value:
    """Host address of an access that is not checked, or is elsewhere; in no array, the sink's."""
    return u.f.call("ptr", f"{space}_peek", u.worker, address, u.f.const("i32", width))


def synchronise(u: KernelBuilder, op: Opcode, address: Value, how: Value) -> None:
    """A strong access was carried out: what it signals to other blocks, or acquires from them."""
    if op.reaches_other_blocks:
        u.f.call("void", "synchronise", u.worker, u.me, address, how)


def aligned(u: KernelBuilder, ins: Instruction) -> None:
    """Check the alignment of a vector load of which only some elements are loaded."""
    (place,), width = ins.operands, ins.op.bytes
    with u.f.when((address_of(u, place) & (width - 1)).ne(0), likely=False):
        checked(u, "read", ins.op.space, place, width)


def checked(
    u: KernelBuilder,
    direction: str,
    space: str,
    operand: Operand,
    width: int,
    *,
    strong: bool = False,
    flags: int = 0,
    values: Sequence[Value] = (),
) -> Value:
    """Host address of one access, checked by the runtime. `values`: what a store writes, if known.

    `direction` is "read", "write" or "update", a write that depends on the old value.
    """
    return checked_at(u, direction, space, address_of(u, operand), width, strong=strong, flags=flags, values=values)


def checked_at(
    u: KernelBuilder,
    direction: str,
    space: str,
    address: Value,
    width: int,
    *,
    strong: bool = False,
    flags: int = 0,
    values: Sequence[Value] = (),
) -> Value:
    site = u.f.const("i32", u.site(width, strong=strong) | flags)
    return check(u, direction, space, address, width, site, values)


def check(
    u: KernelBuilder,
    direction: str,
    space: str,
    address: Value,
    width: int,
    site: Value,
    values: Sequence[Value] = (),
) -> Value:
    """`site`: with its flags, of which some may be known only as it runs."""
    f = u.f
    if u.here.op.may_leave_block:
        note_remote(u, space, address, width)
    arguments = [u.worker, u.me, address, f.const("i32", width), site]
    if direction != "read":
        arguments.append(_in_memory(u, values))
    if space == "shared":
        stamp = (u.me,) if direction != "read" else ()
        ok = f.call("i32", f"shared_{direction}", *arguments, *stamp)
        return f.select(ok.ne(0), u.shared_host.at(address), WORKER.get(u.worker, "sink"))
    if space == "generic":
        return f.call("ptr", f"generic_{direction}", *arguments, f["frame"])
    return f.call("ptr", f"global_{direction}", *arguments)


def _local_pointer(u: KernelBuilder, operand: Operand, width: int) -> Value:
    f = u.f
    address = address_of(u, operand)
    fits = address.ule(max(u.frame.local_bytes - width, 0)) & (address & (width - 1)).eq(0)
    fast, slow, after = f.fresh("fast"), f.fresh("slow"), f.fresh("local")
    f.branch(fits, fast, slow, likely=True)
    f.label(fast)
    inside = f["frame"].at(address + u.frame.local_start)
    f.jump(after)
    f.label(slow)
    site = f.const("i32", u.site(width))
    outside = f.call("ptr", "local_access", u.worker, u.me, address, f.const("i32", width), site, f["frame"])
    f.jump(after)
    f.label(after)
    return f.emit("ptr", f'phi ptr [ {inside}, %"{fast}" ], [ {outside}, %"{slow}" ]')


def store(u: KernelBuilder, ins: Instruction) -> None:
    op, (target, source, *_) = ins.op, ins.operands
    if not op.element_bytes:
        raise u.unsupported()
    values = [u.value(item, f"b{8 * op.element_bytes}") for item in items_of(source)]
    if "release" in op.modifiers:
        u.fence(wide=op.is_wide)
    if op.space == "param":
        pointer = parameter_pointer(u, target, op.bytes, writes=True)
    elif op.space == "local":
        pointer = _local_pointer(u, target, op.bytes)
    elif op.space == "shared" and not op.is_strong and not (u.in_cluster and op.may_leave_block):
        pointer = _shared_store_pointer(u, target, op.bytes, values)
    else:
        flags = BLIND if op.is_strong else 0
        pointer = checked(u, "write", op.space, target, op.bytes, strong=op.is_strong, flags=flags, values=values)
    for k, value in enumerate(values):
        pointer.at(k * op.element_bytes).store(value, 1)
    if op.is_strong:
        synchronise(u, op, address_of(u, target), u.f.const("i32", CHANGES))


def discard(u: KernelBuilder, ins: Instruction) -> None:
    """Unlike other hints it has an effect: a write of unspecified bytes, which can race like any write."""
    f, (place, size) = u.f, ins.operands
    if size != Immediate(DISCARDED_BYTES):
        raise u.unsupported()
    address = address_of(u, place)
    with f.when((address & (DISCARDED_BYTES - 1)).ne(0), likely=False):
        checked_at(u, "write", ins.op.space, address, DISCARDED_BYTES)
    for start in range(0, DISCARDED_BYTES, LOCK_BYTES):
        pointer = checked_at(u, "write", ins.op.space, address + start, LOCK_BYTES)
        f.line(f"call void @llvm.memset.p0.i64(ptr {pointer}, i8 {DISCARDED}, i64 {LOCK_BYTES}, i1 false)")


def _in_memory(u: KernelBuilder, values: Sequence[Value]) -> Value:
    """The address of `values` in memory, one after the other; null if there are none."""
    if not values:
        return u.f.const("ptr", "null")
    size = int(values[0].type[1:]) // 8
    if u.scratch is None:
        u.scratch = u.f.alloca("[64 x i8]", 16)
    for k, value in enumerate(values):
        u.scratch.at(k * size).store(value)
    return u.scratch


def _shared_store_pointer(u: KernelBuilder, operand: Operand, width: int, values: Sequence[Value]) -> Value:
    """Fast if no thread has written or read these cells since the last barrier."""
    f = u.f
    address = address_of(u, operand)
    host, cell = clamped(u, address, width, 0)
    cells = max(width // u.shared.granule, 1)
    vector = f"<{cells} x i32>"
    written = u.shadow.write.at(cell).load(vector, 4)
    read = u.shadow.read.at(cell).load(vector, 4)
    newest = reduced(u, "umax", larger(u, written, read))
    fast, slow, after = f.fresh("fast"), f.fresh("slow"), f.fresh("stored")
    site = u.site(width)
    f.branch(newest.ult(u.barrier_time), fast, slow, likely=True)
    f.label(fast)
    u.shadow.write.at(cell).store(splat(u, u.me, cells), 4)
    u.shadow.write_site.at(cell).store(splat(u, f.const("i32", site), cells), 4)
    f.jump(after)
    f.label(slow)
    given = _in_memory(u, values)
    arguments = (u.worker, u.me, address, f.const("i32", width), f.const("i32", site), given, u.me)
    ok = f.call("i32", "shared_write", *arguments)
    elsewhere = f.select(ok.ne(0), host, WORKER.get(u.worker, "sink"))
    f.jump(after)
    f.label(after)
    return f.emit("ptr", f'phi ptr [ {host}, %"{fast}" ], [ {elsewhere}, %"{slow}" ]')


HANDLERS = {"ld": load, "ldu": load, ALIGNED: aligned, "st": store, "discard": discard}

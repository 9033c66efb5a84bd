"""Calls of built-in functions: vprintf, __assertfail, malloc and free."""

from __future__ import annotations

from grader.ptx.analysis.calls import BUILT_IN_CALLS
from grader.ptx.analysis.flow import Block
from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import parameter_pointer
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.machine import HEAP_ALIGN, HEAP_BYTES, HEAP_WINDOW, LAUNCH, kernel_address
from grader.ptx.opcodes.traits import Flow
from grader.ptx.syntax import Address, Instruction, Symbol, Vector


def call(u: KernelBuilder, ins: Instruction) -> None:
    """vprintf or __assertfail; analysis/calls.py has inlined all others."""
    vectors = [o for o in ins.operands if isinstance(o, Vector)]
    target = next((o for o in ins.operands if isinstance(o, Symbol)), None)
    f = u.f
    if target is None or target.name not in BUILT_IN_CALLS:
        raise u.unsupported(f"a call of {target.name if target else 'a function pointer'}")
    if target.name in ("malloc", "free"):
        if target.name == "malloc":
            _allocate(u, vectors)
        return
    if target.name == "__assertfail":
        u.trap()
        f.label(f.fresh("dead"))
        return
    format_, values = (parameter_pointer(u, Address(a)).load("i64") for a in vectors[-1].items[:2])  # type: ignore[arg-type]
    printed = _printed_before(u)
    with f.when((LAUNCH.get(u.launch, "mute").ne(0) & printed.load("i32").ne(-1)) ^ 1):
        printed.store(_print(u, format_, values))
    if len(vectors) == 2:
        result = parameter_pointer(u, Address(vectors[0].items[0]), 4, writes=True)  # type: ignore[arg-type]
        result.store(printed.load("i32"))


def _printed_before(u: KernelBuilder) -> Value:
    """What this call returned last, or -1: all that it does once enough has been printed."""
    name = f"printed_{len(u.sites)}"
    u.helper(name, f"@{name} = internal global i32 -1")
    return Value(u.f, "ptr", f"@{name}")


def _print(u: KernelBuilder, format_: Value, values: Value) -> Value:
    f = u.f
    u.helper("print_line", "declare i32 @print_line(i64, ptr, i64)")
    no_values, some, after = f.fresh("none"), f.fresh("some"), f.fresh("print")
    f.branch(values.eq(0), no_values, some)
    f.label(some)
    site = f.const("i32", u.site())
    host = f.call("ptr", "generic_read", u.worker, u.me, values, f.const("i32", 1), site, f["frame"])
    room = f.call("i64", "generic_room", u.worker, values)
    f.jump(after)
    f.label(no_values)
    f.jump(after)
    f.label(after)
    pointer = f.emit("ptr", f'phi ptr [ {host}, %"{some}" ], [ null, %"{no_values}" ]')
    bytes_ = f.emit("i64", f'phi i64 [ {room}, %"{some}" ], [ 0, %"{no_values}" ]')
    return f.call("i32", "print_line", format_, pointer, bytes_)


def _allocate(u: KernelBuilder, vectors: list[Vector]) -> None:
    """malloc, and new: from the device heap. Nothing is used again after free, so that its use shows."""
    f = u.f
    result, size = (parameter_pointer(u, Address(v.items[0]), writes=True) for v in vectors)  # type: ignore[arg-type]
    room = (size.load("i64") + (HEAP_ALIGN - 1)) & -HEAP_ALIGN
    room = f.select(room.ule(HEAP_BYTES), room, f.const("i64", HEAP_BYTES + 1))
    at = f.emit("i64", f"atomicrmw add ptr {LAUNCH.at(u.launch, 'heap_used')}, {room.typed} seq_cst")
    with f.when((at + room).ugt(HEAP_BYTES), likely=False):
        u.give_up(u.unsupported(f"more than {HEAP_BYTES >> 20} MiB of malloc in one launch"))
        f.line("unreachable")
        f.label(f.fresh("dead"))
    result.store(at + kernel_address(HEAP_WINDOW))


def allocates(blocks: list[Block]) -> bool:
    calls = (i for b in blocks for i in b.instructions if i.traits.flow is Flow.CALL)
    return any(Symbol("malloc") in call.operands for call in calls)


HANDLERS = {"call": call}

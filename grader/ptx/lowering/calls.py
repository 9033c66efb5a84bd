"""Calls of the two built-in functions: vprintf and __assertfail."""

from __future__ import annotations

from grader.ptx.analysis.calls import BUILT_IN_CALLS
from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import parameter_pointer
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.machine import LAUNCH
from grader.ptx.syntax import Address, Instruction, Symbol, Vector


def call(u: KernelBuilder, ins: Instruction) -> None:
    """vprintf or __assertfail; analysis/calls.py has inlined all others."""
    vectors = [o for o in ins.operands if isinstance(o, Vector)]
    target = next((o for o in ins.operands if isinstance(o, Symbol)), None)
    f = u.f
    if target is None or target.name not in BUILT_IN_CALLS:
        raise u.unsupported(f"a call of {target.name if target else 'a function pointer'}")
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


HANDLERS = {"call": call}

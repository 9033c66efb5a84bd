"""Inline access to shared memory and its shadow cells, without calls or branches."""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.kernel import KernelBuilder


def clamped(u: KernelBuilder, address: Value, width: int, span: int) -> tuple[Value, Value]:
    """(host address, byte offset of its cell) of an access; an invalid one goes to the tail of the arena.

    Rotating the alignment bits to the top makes one comparison find both a misaligned address and one that is
    out of range.
    """
    f = u.f
    shift = width.bit_length() - 1
    index = address
    if shift:
        u.helper("llvm.fshr.i64", "declare i64 @llvm.fshr.i64(i64, i64, i64)")
        index = f.emit("i64", f"call i64 @llvm.fshr.i64(i64 {address}, i64 {address}, i64 {shift})")
    u.helper("llvm.umin.i64", "declare i64 @llvm.umin.i64(i64, i64)")
    last = (u.shared.arena - span - width) >> shift
    index = f.emit("i64", f"call i64 @llvm.umin.i64(i64 {index}, i64 {last})")
    offset = index << shift if shift else index
    scale = (4 // u.shared.granule).bit_length() - 1
    return u.shared_host.at(offset), offset << scale if scale else offset


def larger(u: KernelBuilder, a: Value, b: Value) -> Value:
    name = f"llvm.umax.v{a.type[1:-1].replace(' x ', '')}"
    u.helper(name, f"declare {a.type} @{name}({a.type}, {a.type})")
    return u.f.call(a.type, name, a, b)


def reduced(u: KernelBuilder, op: str, vector: Value) -> Value:
    count = int(vector.type[1:].split()[0])
    if count == 1:
        return u.f.emit("i32", f"extractelement {vector.typed}, i64 0")
    name = f"llvm.vector.reduce.{op}.v{count}i32"
    u.helper(name, f"declare i32 @{name}({vector.type})")
    return u.f.call("i32", name, vector)


def splat(u: KernelBuilder, value: Value, count: int) -> Value:
    kind = f"<{count} x i32>"
    one = u.f.emit(kind, f"insertelement {kind} poison, i32 {value}, i64 0")
    return u.f.emit(kind, f"shufflevector {one.typed}, {kind} poison, <{count} x i32> zeroinitializer")

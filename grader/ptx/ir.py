"""Writes LLVM IR as text: values with operators, structured control flow.

As text, because building IR objects would take longer than LLVM takes to compile them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

COMPARE = ("eq", "ne", "ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge")


class Value:
    """An SSA value or a constant. Its operators append instructions to its function."""

    __slots__ = ("fn", "name", "type")

    def __init__(self, fn: Fn, type_: str, name: str) -> None:
        self.fn, self.type, self.name = fn, type_, name

    def __str__(self) -> str:
        return self.name

    @property
    def typed(self) -> str:
        return f"{self.type} {self.name}"

    def _binary(self, op: str, other: Value | int) -> Value:
        return self.fn.emit(self.type, f"{op} {self.type} {self.name}, {other}")

    def __add__(self, other: Value | int) -> Value:
        return self._binary("add", other)

    def __sub__(self, other: Value | int) -> Value:
        return self._binary("sub", other)

    def __mul__(self, other: Value | int) -> Value:
        return self._binary("mul", other)

    def __and__(self, other: Value | int) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Value | int) -> Value:
        return self._binary("or", other)

    def __xor__(self, other: Value | int) -> Value:
        return self._binary("xor", other)

    def __lshift__(self, other: Value | int) -> Value:
        return self._binary("shl", other)

    def __rshift__(self, other: Value | int) -> Value:
        return self._binary("lshr", other)

    def ashr(self, other: Value | int) -> Value:
        return self._binary("ashr", other)

    def udiv(self, other: Value | int) -> Value:
        return self._binary("udiv", other)

    def urem(self, other: Value | int) -> Value:
        return self._binary("urem", other)

    def icmp(self, relation: str, other: Value | int | str) -> Value:
        return self.fn.emit("i1", f"icmp {relation} {self.type} {self.name}, {other}")

    def eq(self, other: Value | int | str) -> Value:
        return self.icmp("eq", other)

    def ne(self, other: Value | int | str) -> Value:
        return self.icmp("ne", other)

    def ult(self, other: Value | int) -> Value:
        return self.icmp("ult", other)

    def ule(self, other: Value | int) -> Value:
        return self.icmp("ule", other)

    def uge(self, other: Value | int) -> Value:
        return self.icmp("uge", other)

    def ugt(self, other: Value | int) -> Value:
        return self.icmp("ugt", other)

    def cast(self, op: str, to: str) -> Value:
        return self if self.type == to else self.fn.emit(to, f"{op} {self.typed} to {to}")

    def zext(self, to: str) -> Value:
        return self.cast("zext", to)

    def sext(self, to: str) -> Value:
        return self.cast("sext", to)

    def trunc(self, to: str) -> Value:
        return self.cast("trunc", to)

    def bitcast(self, to: str) -> Value:
        return self.cast("bitcast", to)

    def at(self, offset: Value | int) -> Value:
        """This pointer plus `offset` bytes."""
        if isinstance(offset, int):
            return self if offset == 0 else self.fn.emit("ptr", f"getelementptr i8, ptr {self}, i64 {offset}")
        return self.fn.emit("ptr", f"getelementptr i8, ptr {self}, {offset.typed}")

    def index(self, type_: str, i: Value | int) -> Value:
        """The address of element `i` of an array of `type_` at this pointer."""
        at = i.typed if isinstance(i, Value) else f"i64 {i}"
        return self.fn.emit("ptr", f"getelementptr {type_}, ptr {self}, {at}")

    def load(self, type_: str, align: int | None = None) -> Value:
        suffix = f", align {align}" if align else ""
        return self.fn.emit(type_, f"load {type_}, ptr {self}{suffix}")

    def store(self, value: Value, align: int | None = None) -> None:
        suffix = f", align {align}" if align else ""
        self.fn.line(f"store {value.typed}, ptr {self}{suffix}")


class Fn:
    """One LLVM function under construction."""

    def __init__(self, name: str, result: str, parameters: dict[str, str], attributes: str = "") -> None:
        self.name, self.result, self.attributes = name, result, attributes
        self.parameters = {n: Value(self, t, f"%{n}") for n, t in parameters.items()}
        self.allocas: list[str] = []
        self.lines: list[str] = []
        self.counter = 0

    def __getitem__(self, name: str) -> Value:
        return self.parameters[name]

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def emit(self, type_: str, text: str) -> Value:
        self.counter += 1
        name = f"%v{self.counter}"
        self.lines.append(f"  {name} = {text}")
        return Value(self, type_, name)

    def const(self, type_: str, value: int | str) -> Value:
        return Value(self, type_, str(value))

    def fresh(self, hint: str = "L") -> str:
        self.counter += 1
        return f"{hint}.{self.counter}"

    def label(self, name: str) -> None:
        self.lines.append(f'"{name}":')

    def jump(self, name: str) -> None:
        self.line(f'br label %"{name}"')

    def branch(self, condition: Value, yes: str, no: str, *, likely: bool | None = None) -> None:
        weights = "" if likely is None else f", !prof !{0 if likely else 1}"
        self.line(f'br i1 {condition}, label %"{yes}", label %"{no}"{weights}')

    def ret(self, value: Value | None = None) -> None:
        self.line("ret void" if value is None else f"ret {value.typed}")

    def alloca(self, type_: str, align: int | None = None) -> Value:
        self.counter += 1
        name = f"%a{self.counter}"
        suffix = f", align {align}" if align else ""
        self.allocas.append(f"  {name} = alloca {type_}{suffix}")
        return Value(self, "ptr", name)

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        return self.emit(yes.type, f"select i1 {condition}, {yes.typed}, {no.typed}")

    def call(self, result: str, name: str, *arguments: Value, attributes: str = "") -> Value:
        text = f"call {result} @{name}({', '.join(a.typed for a in arguments)}){attributes}"
        if result == "void":
            self.line(text)
            return Value(self, "void", "")
        return self.emit(result, text)

    def call_pointer(self, result: str, function: Value, *arguments: Value) -> Value:
        return self.emit(result, f"call {result} {function}({', '.join(a.typed for a in arguments)})")

    def declaration(self) -> str:
        """For modules that call this function without containing it."""
        return f"declare {self.result} @{self.name}({', '.join(v.type for v in self.parameters.values())})"

    @contextmanager
    def when(self, condition: Value, *, likely: bool | None = None) -> Iterator[None]:
        yes, after = self.fresh("then"), self.fresh("after")
        self.branch(condition, yes, after, likely=likely)
        self.label(yes)
        yield
        self.jump(after)
        self.label(after)

    @contextmanager
    def loop(self) -> Iterator[str]:
        """An endless loop; leave it with `stop_when(label, …)` and the label that it yields."""
        head, after = self.fresh("loop"), self.fresh("done")
        self.jump(head)
        self.label(head)
        yield after
        self.jump(head)
        self.label(after)

    @contextmanager
    def count(self, limit: Value) -> Iterator[Value]:
        """for i in range(limit)"""
        variable = self.alloca(limit.type)
        variable.store(self.const(limit.type, 0))
        with self.loop() as done:
            i = variable.load(limit.type)
            self.stop_when(done, i.uge(limit))
            yield i
            variable.store(i + 1)

    def stop_when(self, label: str, condition: Value) -> None:
        go_on = self.fresh("on")
        self.branch(condition, label, go_on)
        self.label(go_on)

    def text(self) -> str:
        parameters = ", ".join(v.typed for v in self.parameters.values())
        head = f"define {self.result} @{self.name}({parameters}) {self.attributes} {{\nentry:\n"
        return head + "\n".join(self.allocas) + "\n" + "\n".join(self.lines) + "\n}\n"


class Layout:
    """A struct that generated code and Python share: field names to byte offsets."""

    SIZES: ClassVar[dict[str, int]] = {"i32": 4, "i64": 8, "ptr": 8}

    def __init__(self, **fields: str) -> None:
        self.offset: dict[str, int] = {}
        self.type = fields
        at = 0
        for name, type_ in fields.items():
            size = self.SIZES[type_]
            at = (at + size - 1) // size * size
            self.offset[name] = at
            at += size
        self.size = (at + 7) // 8 * 8

    def at(self, pointer: Value, name: str) -> Value:
        return pointer.at(self.offset[name])

    def get(self, pointer: Value, name: str) -> Value:
        return self.at(pointer, name).load(self.type[name])

    def set(self, pointer: Value, name: str, value: Value) -> None:
        self.at(pointer, name).store(value)

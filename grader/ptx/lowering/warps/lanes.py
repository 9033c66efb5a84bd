"""Writes LLVM IR for all lanes of a warp: scalar instructions, widened where their operands differ between lanes.

So the lowering of arithmetic is written once. A value keeps the type of an element; this function knows which are
vectors. What cannot be widened raises NotTaken.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from grader.ptx.ir import Fn, Value

LANES = 32
NAME = re.compile(r"%[\w.]+")
BINARY = re.compile(r"((?:[a-z]+ )+)(i\d+|float|double) (\S+), (\S+)$")
SELECT = re.compile(r"select i1 (\S+), (\S+) (\S+), (\S+) (\S+)$")
CAST = re.compile(r"(zext|sext|trunc|bitcast|fpext|fptrunc|sitofp|uitofp|fptosi|fptoui) (\S+) (\S+) to (\S+)$")
UNARY = re.compile(r"fneg (\S+) (\S+)$")
CALL = re.compile(r"call (\S+) @([\w.]+)\((.*)\)$")
OPERATIONS = set(
    "add sub mul and or xor shl lshr ashr udiv sdiv urem srem fadd fsub fmul fdiv frem icmp fcmp".split()
)
SHORT = {"float": "f32", "double": "f64"}
# Intrinsics with a vector form in which only the types in their names change; the last operand of some is a flag.
VECTOR_INTRINSICS = set(
    "fma sqrt fabs copysign minnum maxnum floor ceil trunc rint nearbyint roundeven smax smin umax umin ctpop ctlz "
    "cttz bitreverse bswap fshl fshr sadd.sat ssub.sat uadd.sat usub.sat fptosi.sat fptoui.sat abs".split()
)


class NotTaken(Exception):  # noqa: N818 - no error: the scalar engine takes the kernel
    """The kernel is not run warp by warp."""


def wide(type_: str) -> str:
    return f"<{LANES} x {type_}>"


class LaneFn(Fn):
    def __init__(
        self, name: str, result: str, parameters: dict[str, str], declare: Callable[[str, str], None]
    ) -> None:
        """`declare` adds a declaration to the module, by the function's name."""
        super().__init__(name, result, parameters, 'nounwind "min-legal-vector-width"="512"')
        self._declare = declare
        self._varying: set[str] = set()
        self._splats: dict[str, str] = {}  # since the last label
        self.named: dict[str, Value] = {}  # values that are asked for like parameters

    def __getitem__(self, name: str) -> Value:
        return self.named[name] if name in self.named else super().__getitem__(name)

    def varies(self, value: Value) -> bool:
        return value.name in self._varying

    # Writing ----------------------------------------------------------------------------------------------------

    def emit(self, type_: str, text: str) -> Value:
        if self._varying.isdisjoint(NAME.findall(text)):
            return super().emit(type_, text)
        return self._widened(type_, text)

    def line(self, text: str) -> None:
        if not self._varying.isdisjoint(NAME.findall(text)):
            raise NotTaken(text)
        super().line(text)

    def label(self, name: str) -> None:
        super().label(name)
        self._splats = {}

    def lanes(self, type_: str, text: str) -> Value:
        """Emit an instruction as it stands, with a vector of `type_` as its result."""
        value = super().emit(type_, text)
        self._varying.add(value.name)
        return value

    def scalar(self, type_: str, text: str) -> Value:
        """Emit an instruction as it stands, whose result is the same for all lanes."""
        return super().emit(type_, text)

    def raw(self, text: str) -> None:
        """As it stands."""
        super().line(text)

    def vector(self, value: Value) -> str:
        """Its name as a vector operand."""
        return self._vector(value.name, value.type)

    def wide_typed(self, value: Value) -> str:
        return f"{wide(value.type)} {self.vector(value)}"

    def splat(self, value: Value) -> Value:
        """The value as a vector."""
        if self.varies(value):
            return value
        name = self.vector(value)
        if not name.startswith("%"):
            return self.lanes(value.type, f"bitcast {wide(value.type)} {name} to {wide(value.type)}")
        self._varying.add(name)
        return Value(self, value.type, name)

    def _vector(self, name: str, type_: str) -> str:
        if name in self._varying:
            return name
        if not name.startswith("%"):
            return f"splat ({type_} {name})"
        if name not in self._splats:
            kind = wide(type_)
            one = super().emit(kind, f"insertelement {kind} poison, {type_} {name}, i64 0")
            many = super().emit(kind, f"shufflevector {kind} {one}, {kind} poison, <{LANES} x i32> zeroinitializer")
            self._splats[name] = many.name
        return self._splats[name]

    # Widening ---------------------------------------------------------------------------------------------------

    def _widened(self, type_: str, text: str) -> Value:
        if match := SELECT.match(text):
            return self._widened_select(*match.groups())
        if match := CAST.match(text):
            op, source, name, to = match.groups()
            return self.lanes(to, f"{op} {wide(source)} {self._vector(name, source)} to {wide(to)}")
        if match := UNARY.match(text):
            source, name = match.groups()
            return self.lanes(type_, f"fneg {wide(source)} {self._vector(name, source)}")
        if match := CALL.match(text):
            return self._widened_call(*match.groups())
        match = BINARY.match(text)
        if match is None or match[1].split()[0] not in OPERATIONS:
            raise NotTaken(text)
        head, source, a, b = match.groups()
        return self.lanes(type_, f"{head}{wide(source)} {self._vector(a, source)}, {self._vector(b, source)}")

    def _widened_select(self, condition: str, type_: str, yes: str, _: str, no: str) -> Value:
        kind = "i1" if condition not in self._varying else wide("i1")
        a, b = self._vector(yes, type_), self._vector(no, type_)
        return self.lanes(type_, f"select {kind} {condition}, {wide(type_)} {a}, {wide(type_)} {b}")

    def _widened_call(self, result: str, name: str, text: str) -> Value:
        arguments = [tuple(part.split(" ")) for part in text.split(", ")]
        if any(len(argument) != 2 for argument in arguments):
            raise NotTaken(name)
        parts = name.split(".")
        short = set(SHORT.values())
        types = [p for p in parts[1:] if p in short or re.fullmatch(r"i\d+", p)]
        if parts[0] == "llvm" and ".".join(parts[1 : len(parts) - len(types)]) in VECTOR_INTRINSICS:
            return self._vector_intrinsic(result, ".".join(parts[: len(parts) - len(types)]), types, arguments)
        if parts[0] == "llvm":
            raise NotTaken(name)
        return self._lane_by_lane(result, name, arguments)

    def _vector_intrinsic(self, result: str, base: str, types: list[str], arguments: list[tuple[str, ...]]) -> Value:
        full = ".".join([base, *(f"v{LANES}{t}" for t in types)])
        kinds = [t if t == "i1" else wide(t) for t, _ in arguments]
        given = ", ".join(
            f"{kind} {value if kind == 'i1' else self._vector(value, type_)}"
            for kind, (type_, value) in zip(kinds, arguments, strict=True)
        )
        self._declare(full, f"declare {wide(result)} @{full}({', '.join(kinds)})")
        return self.lanes(result, f"call {wide(result)} @{full}({given})")

    def _lane_by_lane(self, result: str, name: str, arguments: list[tuple[str, ...]]) -> Value:
        """A function that computes, with no vector form."""
        whole = f"{wide(result)} poison"
        for lane in range(LANES):
            given = []
            for type_, value in arguments:
                if value in self._varying:
                    value = super().emit(type_, f"extractelement {wide(type_)} {value}, i64 {lane}").name
                given.append(f"{type_} {value}")
            one = super().emit(result, f"call {result} @{name}({', '.join(given)})")
            more = super().emit(result, f"insertelement {whole}, {one.typed}, i64 {lane}")
            whole = f"{wide(result)} {more}"
        self._varying.add(more.name)
        return more

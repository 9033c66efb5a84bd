"""PTX text, as NVRTC prints it, into a Module.

Grammar: PTX ISA, sections "Syntax", "State Spaces, Types, and Variables" and "Directives".
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field


class PtxError(Exception):
    """PTX that cannot be read. The grader's fault or inline PTX gone wrong; never a student's loss."""


@dataclass(frozen=True, slots=True)
class Location:
    """A source position; `inlined_at` is the call site that an inlined function's line stands for."""

    file: str
    line: int
    column: int
    inlined_at: Location | None = None

    def frames(self) -> list[Location]:
        """This position, then its callers, innermost first."""
        frames, at = [self], self.inlined_at
        while at is not None and len(frames) < 32:
            frames.append(at)
            at = at.inlined_at
        return frames


NOWHERE = Location("", 0, 0)


@dataclass(frozen=True, slots=True)
class Register:
    name: str  # with a leading "!" where a predicate is read negated


@dataclass(frozen=True, slots=True)
class Immediate:
    """`bits` as written: an integer literal (may be negative), or the bits of a 0f/0d literal."""

    bits: int
    float_width: int = 0  # 32 or 64 for 0f… and 0d… literals


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable, a function or a label."""

    name: str


@dataclass(frozen=True, slots=True)
class Address:
    base: Register | Symbol | Immediate
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Vector:
    items: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two destinations of one instruction, `%p1|%p2`."""

    first: Register
    second: Register


Operand = Register | Immediate | Symbol | Address | Vector | Pair


@dataclass(slots=True)
class Instruction:
    opcode: str  # all of it: "mad.lo.s32"
    operands: tuple[Operand, ...]
    guard: str | None = None  # predicate register
    guard_negated: bool = False
    location: Location = NOWHERE

    @property
    def base(self) -> str:
        return self.opcode.split(".", 1)[0]


@dataclass(slots=True)
class Label:
    name: str


@dataclass(frozen=True, slots=True)
class Param:
    name: str
    bytes: int
    align: int = 0
    is_array: bool = False  # a struct passed by value


@dataclass(frozen=True, slots=True)
class Variable:
    """A .shared, .local, .global, .const or .param variable. `size` 0: extern shared (dynamic)."""

    name: str
    space: str
    size: int
    align: int
    data: bytes | None = None  # initialiser
    relocations: tuple[tuple[int, str, int], ...] = ()  # (offset, symbol, addend): addresses in it


@dataclass(slots=True)
class Function:
    name: str
    is_entry: bool
    parameters: tuple[Param, ...]
    results: tuple[Param, ...] = ()
    registers: dict[str, str] = field(default_factory=dict)  # name -> type ("pred", "b32", "f32", …)
    variables: dict[str, Variable] = field(default_factory=dict)
    body: list[Instruction | Label] = field(default_factory=list)
    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)  # .branchtargets
    max_threads: int | None = None
    has_cluster: bool = False
    line: int = 0


@dataclass(slots=True)
class Module:
    functions: dict[str, Function]
    variables: dict[str, Variable]
    files: dict[int, str]

    @property
    def kernels(self) -> dict[str, Function]:
        return {name: f for name, f in self.functions.items() if f.is_entry}


CACHE_HINT = ".L2::cache_hint"
TYPE_BYTES = {"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2, "b32": 4,
              "u32": 4, "s32": 4, "f32": 4, "f16x2": 4, "bf16x2": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8,
              "b128": 16, "pred": 1}  # fmt: skip

COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\])*")', re.DOTALL)
MODULE_ITEM = re.compile(
    r"\s*(?:(?P<line>\.(?:version|target|address_size|file)\b[^\n]*)"
    r"|(?P<section>\.section\b[^{]*\{[^}]*\})"
    r"|(?P<alias>\.alias\b[^;]*;)"
    r"|(?P<function>(?:\.(?:visible|extern|weak|common)\s+)*\.(?:entry|func)\b[^{;]*[{;])"
    r"|(?P<pragma>\.pragma[^;]*;)"
    r"|(?P<variable>\.[^;]*;))"
)
BODY_ITEM = re.compile(
    r"\s*(?:(?P<loc>\.loc\b[^\n]*)"
    r"|(?P<open>\{)"
    r"|(?P<close>\})"
    r"|(?P<label>[\w$%]+)\s*:(?!:)"
    r'|(?P<statement>(?:[^;{}"]|\{[^{}]*\}|"(?:\\.|[^"\\])*")+);)'
)
VARIABLE = re.compile(
    r"(?:\.(?:visible|extern|weak|common)\s+)*\.(?P<space>shared|global|const|local|param|tex)\b\s*"
    r"(?P<modifiers>(?:\.(?:align\s+\d+|attribute\s*\([^)]*\)|ptr|unified)\s+)*)"
    r"(?P<type>\.(?:v[24]\s+\.)?[a-z]\w*)\s+(?P<declarators>.*)",
    re.DOTALL,
)
PARAM = re.compile(
    r"\.(?:param|reg)\s+(?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)(?:\s+\.ptr[^,]*?)?\s+(?P<name>[\w$%]+)"
    r"(?:\[(?P<count>\d*)\])?"
)
LOC = re.compile(
    r"\.loc\s+(\d+)\s+(\d+)\s+(\d+)(?:\s*,\s*function_name\s+[^,]+,\s*inlined_at\s+(\d+)\s+(\d+)\s+(\d+))?"
)


def parse(text: str) -> Module:
    """Read a PTX module. Raises PtxError with the line of `text` where it stops making sense."""
    text = COMMENT.sub(lambda m: m.group(1) or _same_lines(m.group(0)), text)
    module = Module({}, {}, dict(_files(text)))
    at = 0
    while match := MODULE_ITEM.match(text, at):
        at = match.end()
        if match.lastgroup == "function":
            at = _function(module, match.group("function"), text, at)
        elif match.lastgroup == "variable":
            for variable in _variables(match.group("variable").rstrip(";")):
                module.variables[variable.name] = variable
    if text[at:].strip():
        raise PtxError(f"PTX line {text.count(chr(10), 0, at) + 1}: not understood: {text[at : at + 60].strip()!r}")
    return module


def _same_lines(comment: str) -> str:
    return "\n" * comment.count("\n") or " "


def _files(text: str) -> list[tuple[int, str]]:
    return [(int(n), name) for n, name in re.findall(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', text, re.MULTILINE)]


def _function(module: Module, header: str, text: str, at: int) -> int:
    is_entry = re.search(r"\.entry\b", header) is not None
    match = re.search(
        r"\.(?:entry|func)\s*(?:\((?P<results>[^)]*)\)\s*)?(?P<name>[\w$]+)\s*(?:\((?P<params>[^)]*)\))?(?P<rest>.*)",
        header,
        re.DOTALL,
    )
    if match is None:
        raise PtxError(f"function header not understood: {header[:80]!r}")
    name, rest = match.group("name"), match.group("rest") or ""
    if header.endswith(";"):  # a declaration; the definition follows, or it is a built-in such as vprintf
        return at
    function = Function(
        name,
        is_entry,
        _params(match.group("params") or ""),
        _params(match.group("results") or ""),
        max_threads=_max_threads(rest),
        has_cluster="cluster" in rest,
    )
    for param in (*function.parameters, *function.results):  # .func parameters may be registers
        if param.name.startswith("%"):
            raise PtxError(f"function {name}: register parameters are not supported")
    module.functions[name] = function
    return _Body(module, function).read(text, at)


def _max_threads(rest: str) -> int | None:
    match = re.search(r"\.(?:maxntid|reqntid)\s+([\d\s,]+)", rest)
    if match is None:
        return None
    product = 1
    for dimension in match.group(1).replace(",", " ").split():
        product *= int(dimension)
    return product


def _params(text: str) -> tuple[Param, ...]:
    params = []
    for match in PARAM.finditer(text):
        size = TYPE_BYTES[match.group("type")]
        is_array = match.group("count") is not None
        if is_array:
            size *= int(match.group("count") or 0)
        params.append(Param(match.group("name"), size, int(match.group("align") or 0), is_array))
    return tuple(params)


class _Body:
    """Reads one function's body: declarations by scope, labels, instructions, their locations."""

    def __init__(self, module: Module, function: Function) -> None:
        self.module, self.function = module, function
        self.scopes: list[dict[str, str]] = [{}]
        self.scope_count = 0
        self.location = NOWHERE
        self.called_from: dict[tuple[int, int, int], Location] = {}
        self.operands: dict[str, Operand] = {}

    def read(self, text: str, at: int) -> int:
        while match := BODY_ITEM.match(text, at):
            at = match.end()
            kind = match.lastgroup
            if kind == "statement":
                self._statement(match.group("statement").strip())
            elif kind == "loc":
                self._loc(match.group("loc"))
            elif kind == "label":
                self.function.body.append(Label(self._renamed(match.group("label"))))
            elif kind == "open":
                self.scope_count += 1
                self.scopes.append({})
                self._declare_labels(text, at)
                self.operands.clear()
            else:
                self.scopes.pop()
                self.operands.clear()
                if not self.scopes:
                    return at
        line = text.count("\n", 0, at) + 1
        raise PtxError(f"PTX line {line}: not understood: {text[at : at + 60].strip()!r}")

    def _declare_labels(self, text: str, at: int) -> None:
        """Inline assembly may name a label twice in two scopes, so labels of inner scopes are renamed."""
        depth, end = 1, at
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        for name in re.findall(r"^\s*([\w$]+)\s*:(?!:)", text[at:end], re.MULTILINE):
            self.scopes[-1].setdefault(name, f"{name}@{self.scope_count}")

    def _renamed(self, name: str) -> str:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return name

    def _loc(self, text: str) -> None:
        match = LOC.match(text)
        if match is None:
            raise PtxError(f"not understood: {text!r}")
        key = (int(match.group(1)), int(match.group(2)), int(match.group(3)))
        if key[1] == 0:  # line 0: code of the compiler's own; the last real line explains it best
            return
        caller = None
        if match.group(4):
            at = (int(match.group(4)), int(match.group(5)), int(match.group(6)))
            caller = self.called_from.get(at) or Location(self.module.files.get(at[0], ""), at[1], at[2])
        self.location = Location(self.module.files.get(key[0], ""), key[1], key[2], caller)
        self.called_from[key] = self.location
        if self.function.line == 0:
            self.function.line = self.location.frames()[-1].line

    def _statement(self, text: str) -> None:
        if text.startswith(".reg"):
            self._registers(text)
        elif text.startswith((".shared", ".local", ".param", ".global", ".const")):
            for variable in _variables(text):
                renamed = self._declare(variable.name)
                self.function.variables[renamed] = Variable(
                    renamed, variable.space, variable.size, variable.align, variable.data, variable.relocations
                )
        elif text.startswith(".pragma"):
            return
        elif text.startswith(".branchtargets"):
            label = self.function.body.pop()
            assert isinstance(label, Label)
            targets = (self._renamed(t.strip()) for t in text.removeprefix(".branchtargets").split(","))
            self.function.tables[label.name] = tuple(targets)
        elif text.startswith(".callprototype"):
            self.function.body.pop()  # its label
        elif text.startswith("."):
            raise PtxError(f"directive not understood: {text[:60]!r}")
        else:
            self._instruction(text)

    def _registers(self, text: str) -> None:
        match = re.match(r"\.reg\s*(?:\.v[24]\s*)?\.(\w+)\s+(.*)", text, re.DOTALL)
        if match is None:
            raise PtxError(f"register declaration not understood: {text[:60]!r}")
        kind = match.group(1)
        for name in match.group(2).split(","):
            name = name.strip()
            many = re.match(r"(.*)<(\d+)>$", name)
            names = [f"{many.group(1)}{i}" for i in range(int(many.group(2)))] if many else [name]
            for each in names:
                self.function.registers[self._declare(each)] = kind

    def _declare(self, name: str) -> str:
        if len(self.scopes) == 1:
            return name
        renamed = f"{name}@{self.scope_count}"
        self.scopes[-1][name] = renamed
        self.operands.clear()
        return renamed

    def _instruction(self, text: str) -> None:
        guard, negated = None, False
        if text.startswith("@"):
            word, text = text[1:].split(None, 1)
            negated = word.startswith("!")
            guard = self._renamed(word.lstrip("!"))
        parts = text.split(None, 1)
        opcode = parts[0]
        operands: tuple[Operand, ...] = ()
        if len(parts) == 2:
            operands = tuple(self._operand(o) for o in _split_operands(parts[1]))
        if CACHE_HINT in opcode:  # it changes no result; its policy is the last operand
            opcode, operands = opcode.replace(CACHE_HINT, ""), operands[:-1]
        self.function.body.append(Instruction(opcode, operands, guard, negated, self.location))

    def _operand(self, text: str) -> Operand:
        known = self.operands.get(text)
        if known is None:
            known = self.operands[text] = self._parse_operand(text)
        return known

    def _parse_operand(self, text: str) -> Operand:
        first = text[0]
        if first == "[":
            return self._address(text[1:-1].strip())
        if first in "{(":
            inner = text[1:-1].strip()
            return Vector(tuple(self._operand(o) for o in _split_operands(inner)) if inner else ())
        if first == "!":
            return Register("!" + self._renamed(text[1:].strip()))
        if "|" in text:
            a, b = (self._operand(t.strip()) for t in text.split("|"))
            assert isinstance(a, Register) and isinstance(b, Register)
            return Pair(a, b)
        if first.isdigit() or first == "-":
            return _immediate(text)
        name = self._renamed(text)
        if (
            name in self.function.registers
            or (first == "%" and name not in self.function.variables)
            or text in ("_", "WARP_SZ")
        ):
            return Register(name)
        return self._symbol_or_sum(name)

    def _symbol_or_sum(self, name: str) -> Operand:
        match = re.match(r"([\w$%@.]+)\s*\+\s*(-?\w+)$", name)
        if match:
            return Address(Symbol(self._renamed(match.group(1))), int(match.group(2), 0))
        return Symbol(name)

    def _address(self, text: str) -> Operand:
        if "," in text:  # tensor coordinates: nothing here executes them, but they must parse
            return Vector(tuple(self._operand(o) for o in _split_operands(text)))
        match = re.match(r"([%$\w@.]+)\s*(?:\+\s*(-?\w+))?$", text)
        if match is None:
            raise PtxError(f"address not understood: [{text}]")
        base = self._operand(match.group(1))
        assert isinstance(base, Register | Symbol | Immediate)
        return Address(base, int(match.group(2), 0) if match.group(2) else 0)


def _split_operands(text: str) -> list[str]:
    """Split at commas outside brackets, braces and parentheses."""
    if not any(c in text for c in "[{("):
        return [part.strip() for part in text.split(",")]
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        if c in "[{(":
            depth += 1
        elif c in "]})":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    parts.append(text[start:].strip())
    return parts


def _immediate(text: str) -> Immediate:
    if text[:2] in ("0f", "0F"):
        return Immediate(int(text[2:], 16), 32)
    if text[:2] in ("0d", "0D"):
        return Immediate(int(text[2:], 16), 64)
    if re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", text) and ("." in text or "e" in text):
        return Immediate(int.from_bytes(struct.pack("<d", float(text)), "little"), 64)
    return Immediate(_integer(text))


def _integer(text: str) -> int:
    text = text.strip().rstrip("U")
    if re.fullmatch(r"-?0[0-7]+", text):
        return int(text, 8)
    return int(text, 0)


def _variables(text: str) -> list[Variable]:
    match = VARIABLE.match(text)
    if match is None:
        raise PtxError(f"declaration not understood: {text[:80]!r}")
    align = re.search(r"\.align\s+(\d+)", match.group("modifiers"))
    kind = match.group("type").lstrip(".")
    vector = re.match(r"v([24])\s+\.(\w+)", kind)
    element = TYPE_BYTES[vector.group(2)] * int(vector.group(1)) if vector else TYPE_BYTES.get(kind, 8)
    variables = []
    for declarator in _split_operands(match.group("declarators")):
        name, _, initialiser = (part.strip() for part in declarator.partition("="))
        dimensions = re.findall(r"\[(\d*)\]", name)
        name = name.split("[")[0].strip()
        size = element
        for dimension in dimensions:
            size *= int(dimension) if dimension else 0
        data, relocations = _initialiser(initialiser, element) if initialiser else (None, ())
        if data is not None:
            size = max(size, len(data))
            data = data.ljust(size, b"\0")
        variables.append(
            Variable(name, match.group("space"), size, int(align.group(1)) if align else element, data, relocations)
        )
    return variables


def _initialiser(text: str, width: int) -> tuple[bytes, tuple[tuple[int, str, int], ...]]:
    """The bytes of `{1, 0f3F800000, generic(symbol)+4}`; addresses are left to be filled in by the loader."""
    data, relocations = bytearray(), []
    for item in _split_operands(text.replace("{", "").replace("}", "")):
        symbol = re.match(r"(?:generic\()?([A-Za-z_$][\w$]*)\)?\s*(?:\+\s*(\d+))?$", item)
        if symbol and item[:2].lower() not in ("0f", "0d"):
            relocations.append((len(data), symbol.group(1), int(symbol.group(2) or 0)))
            data += bytes(8)
        elif item:
            value = _immediate(item)
            bits = value.bits
            if value.float_width == 64 and width == 4:
                bits = int.from_bytes(struct.pack("<f", struct.unpack("<d", bits.to_bytes(8, "little"))[0]), "little")
            data += (bits & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(data), tuple(relocations)

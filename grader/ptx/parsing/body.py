"""The body of a function: scoped declarations, labels, and instructions with their source locations."""

from __future__ import annotations

import re

from grader.ptx.parsing.errors import PtxError
from grader.ptx.parsing.operands import immediate, split_operands
from grader.ptx.parsing.variables import variables_of
from grader.ptx.syntax import (
    NOWHERE,
    Address,
    Function,
    Immediate,
    Instruction,
    Label,
    Location,
    Module,
    Operand,
    Pair,
    Register,
    Symbol,
    Variable,
    Vector,
)

CACHE_HINT = ".L2::cache_hint"
BODY_ITEM = re.compile(
    r"\s*(?:(?P<loc>\.loc\b[^\n]*)"
    r"|(?P<open>\{)"
    r"|(?P<close>\})"
    r"|(?P<label>[\w$%]+)\s*:(?!:)"
    r'|(?P<statement>(?:[^;{}"]|\{[^{}]*\}|"(?:\\.|[^"\\])*")+);)'
)
LOC = re.compile(
    r"\.loc\s+(\d+)\s+(\d+)\s+(\d+)(?:\s*,\s*function_name\s+[^,]+,\s*inlined_at\s+(\d+)\s+(\d+)\s+(\d+))?"
)


class BodyReader:
    """Reads the body of one function."""

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
        """Inline assembly may use a label again in another scope, so labels of inner scopes are renamed."""
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
        if key[1] == 0:  # line 0: compiler-generated code; the previous real line explains it best
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
            for variable in variables_of(text):
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
            operands = tuple(self._operand(o) for o in split_operands(parts[1]))
        if CACHE_HINT in opcode:  # affects no result; the last operand is the policy
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
            return Vector(tuple(self._operand(o) for o in split_operands(inner)) if inner else ())
        if first == "!":
            return Register("!" + self._renamed(text[1:].strip()))
        if "|" in text:
            a, b = (self._operand(t.strip()) for t in text.split("|"))
            assert isinstance(a, Register) and isinstance(b, Register)
            return Pair(a, b)
        if first.isdigit() or first == "-":
            return immediate(text)
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
        if "," in text:  # tensor coordinates: they must parse, even if nothing executes them
            return Vector(tuple(self._operand(o) for o in split_operands(text)))
        match = re.match(r"([%$\w@.]+)\s*(?:\+\s*(-?\w+))?$", text)
        if match is None:
            raise PtxError(f"address not understood: [{text}]")
        base = self._operand(match.group(1))
        assert isinstance(base, Register | Symbol | Immediate)
        return Address(base, int(match.group(2), 0) if match.group(2) else 0)

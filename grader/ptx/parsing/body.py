"""The body of a function: scoped declarations, labels, and instructions with their source locations."""

from __future__ import annotations

import re
from dataclasses import replace

from grader.ptx.opcodes.opcode import read_opcode
from grader.ptx.opcodes.traits import Flow
from grader.ptx.parsing import statements
from grader.ptx.parsing.errors import PtxError
from grader.ptx.parsing.operands import OperandReader, split_operands
from grader.ptx.parsing.statements import WORD, Brace, Directive, InstructionText, LabelText, Loc, Statement
from grader.ptx.parsing.variables import variables_of
from grader.ptx.syntax import NOWHERE, Function, Instruction, Label, Location, Module, Operand, Unread, Vector

CACHE_HINT = ".L2::cache_hint"
REGISTERS = re.compile(r"\.reg\s*(?:\.v([248])\s*)?\.(\w+)\s+(.*)", re.DOTALL)
REGISTER = re.compile(rf"({WORD})\s*(?:<\s*(\d{{1,9}})\s*>)?$")
TARGETS = re.compile(rf"\.branchtargets\s+({WORD}(?:\s*,\s*{WORD})*)\s*$")
VARIABLES = (".shared", ".local", ".param", ".global", ".const")
MOST_REGISTERS = 1_000_000


class BodyReader:
    """Reads the body of one function."""

    def __init__(self, module: Module, function: Function) -> None:
        self.module, self.function = module, function
        self.scopes: list[dict[str, str]] = [{}]
        self.scope_count = 0
        self.location = NOWHERE
        self.called_from: dict[tuple[int, int, int], Location] = {}
        self.vectors: dict[str, tuple[str, ...]] = {}
        self.operands = OperandReader(self._renamed, function.registers, self.vectors, self._element_bytes)

    def read(self, text: str, at: int) -> int:
        """Reads up to the closing brace. Returns the position behind it."""
        body = list(statements.body(text, at))
        labels = _labels_by_scope([statement for statement, _ in body])
        before = at
        for statement, after in body:
            try:
                self._statement(statement, labels)
            except PtxError as error:
                raise self._placed(error, text, before) from error
            before = after
        return before

    def _placed(self, error: PtxError, text: str, at: int) -> PtxError:
        """The error with its line in the PTX and in the submission."""
        words = str(error)
        if not words.startswith("PTX line"):
            at += len(text[at:]) - len(text[at:].lstrip())
            words = f"PTX line {text.count(chr(10), 0, at) + 1}: {words}"
        placed = PtxError(words)
        own = self.location.frames()[-1]
        placed.file, placed.line = own.file, own.line
        return placed

    def _statement(self, statement: Statement, labels: list[list[str]]) -> None:
        if isinstance(statement, InstructionText):  # most are
            self._instruction(statement)
            return
        match statement:
            case Loc():
                self._loc(statement)
            case LabelText(name):
                self.function.body.append(Label(self._renamed(name)))
            case Directive(text):
                self._directive(text)
            case Brace(opens=True):
                # Inline assembly may use a label again in another scope, so labels of inner scopes are renamed.
                self.scope_count += 1
                self.scopes.append({name: f"{name}@{self.scope_count}" for name in labels[self.scope_count]})
                self.operands.forget()
            case Brace():
                self.scopes.pop()
                self.operands.forget()

    def _renamed(self, name: str) -> str:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return name

    def _element_bytes(self, name: str) -> int | None:
        variable = self.function.variables.get(name) or self.module.variables.get(name)
        return variable.element if variable else None

    def _loc(self, loc: Loc) -> None:
        file, line, column = loc.at
        if line == 0:  # compiler-generated code; the previous real line explains it best
            return
        caller = None
        if loc.caller:
            at = loc.caller
            caller = self.called_from.get(at) or Location(self.module.files.get(at[0], ""), at[1], at[2])
        self.location = Location(self.module.files.get(file, ""), line, column, caller)
        self.called_from[loc.at] = self.location
        if self.function.line == 0:
            self.function.line = self.location.frames()[-1].line

    def _directive(self, text: str) -> None:
        if text.startswith(".reg"):
            self._registers(text)
        elif text.startswith(VARIABLES):
            for variable in variables_of(text):
                if variable.space in ("global", "const"):
                    renamed = self.scopes[-1][variable.name] = (
                        f"{variable.name}@{self.function.name}.{self.scope_count}"
                    )
                    self.operands.forget()
                    self.module.variables[renamed] = replace(variable, name=renamed)
                else:
                    renamed = self._declare(variable.name)
                    self.function.variables[renamed] = replace(variable, name=renamed)
        elif text.startswith(".branchtargets"):
            self._branch_targets(text)
        elif text.startswith(".callprototype"):
            self._pop_label(text)
        elif not text.startswith(".pragma"):
            raise PtxError(f"directive not understood: {text[:60]!r}")

    def _branch_targets(self, text: str) -> None:
        match = TARGETS.match(text)
        if match is None:
            raise PtxError(f"directive not understood: {text[:60]!r}")
        names = tuple(self._renamed(target.strip()) for target in match[1].split(","))
        self.function.tables[self._pop_label(text)] = names

    def _pop_label(self, text: str) -> str:
        """The label of a directive, which no branch goes to."""
        label = self.function.body.pop() if self.function.body else None
        if not isinstance(label, Label):
            raise PtxError(f"directive not understood: {text[:60]!r}")
        return label.name

    def _registers(self, text: str) -> None:
        match = REGISTERS.match(text)
        if match is None:
            raise PtxError(f"register declaration not understood: {text[:60]!r}")
        count, kind, declared = match.groups()
        for part in declared.split(","):
            name = REGISTER.match(part.strip())
            if name is None or int(name[2] or 0) > MOST_REGISTERS:
                raise PtxError(f"register declaration not understood: {text[:60]!r}")
            for each in [f"{name[1]}{i}" for i in range(int(name[2]))] if name[2] else [name[1]]:
                renamed = self._declare(each)
                if count:
                    self.vectors[renamed] = tuple(f"{renamed}.{axis}" for axis in "xyzwabcd"[: int(count)])
                for element in self.vectors[renamed] if count else (renamed,):
                    self.function.registers[element] = kind

    def _declare(self, name: str) -> str:
        if len(self.scopes) == 1:
            return name
        renamed = f"{name}@{self.scope_count}"
        self.scopes[-1][name] = renamed
        self.operands.forget()
        return renamed

    def _instruction(self, text: InstructionText) -> None:
        guard = self._renamed(text.guard) if text.guard else None
        if guard and guard not in self.function.registers:
            raise PtxError(f"not a predicate: {text.guard!r}")
        opcode, operands = text.opcode, self._read(text)
        if CACHE_HINT in opcode:  # affects no result; the last operand is the policy
            opcode, operands = opcode.replace(CACHE_HINT, ""), operands[:-1]
        self.function.body.append(Instruction(opcode, operands, guard, text.negated, self.location))

    def _read(self, text: InstructionText) -> tuple[Operand, ...]:
        if not text.operands:
            return ()
        flow = read_opcode(text.opcode).traits.flow
        parts = split_operands(text.operands)
        if flow is Flow.CALL:
            return tuple(Vector(self.operands.list(p)) if p[:1] == "(" else self.operands.read(p) for p in parts)
        operands = tuple(self.operands.read(part) for part in parts)
        if flow is not None and any(isinstance(operand, Unread) for operand in operands):
            raise PtxError(f"not understood: {text.opcode} {text.operands[:60]!r}")
        return operands


def _labels_by_scope(body: list[Statement]) -> list[list[str]]:
    """For each scope, in the order in which they open: the labels in it, but not in scopes within it."""
    labels: list[list[str]] = [[]]
    open_scopes = [0]
    for statement in body[:-1]:
        match statement:
            case Brace(opens=True):
                labels.append([])
                open_scopes.append(len(labels) - 1)
            case Brace():
                open_scopes.pop()
            case LabelText(name):
                labels[open_scopes[-1]].append(name)
    return labels

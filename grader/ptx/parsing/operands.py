"""Operands: registers, variables, addresses, vectors, constants."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from grader.ptx.parsing.constants import constant, integer
from grader.ptx.parsing.errors import PtxError
from grader.ptx.parsing.statements import WORD
from grader.ptx.syntax import Address, Immediate, Operand, Pair, Register, Symbol, Unread, Vector

SINK = "_"
CONSTANT = "WARP_SZ"
SELECTORS = {"x": 0, "y": 1, "z": 2, "w": 3, "r": 0, "g": 1, "b": 2, "a": 3}
_NAMED = re.compile(rf"({WORD})\s*(?:\.([xyzwrgba])(?!\w))?\s*(?:\+\s*(.+))?$", re.DOTALL)
_INDEXED = re.compile(rf"({WORD})\s*\[([^\[\]]+)\]$")
_PAIR = re.compile(r"([^|]+)\|([^|]+)$")


def split_operands(text: str) -> list[str]:
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


class OperandReader:
    """Reads operands where `renamed` gives the full names of what is declared in the scopes around.

    `registers` are those declared so far, `vectors` the elements of those that are vectors, and `size_of` gives the
    bytes of a variable's element.
    """

    def __init__(
        self,
        renamed: Callable[[str], str],
        registers: Mapping[str, str],
        vectors: Mapping[str, tuple[str, ...]],
        variables: Callable[[str], int | None],
    ) -> None:
        self._renamed, self._registers, self._vectors = renamed, registers, vectors
        self._element_bytes = variables
        self._known: dict[str, Operand] = {}

    def forget(self) -> None:
        """Names mean something else from here on."""
        self._known.clear()

    def read(self, text: str) -> Operand:
        """`Unread` if this is no operand that the engine knows."""
        known = self._known.get(text)
        if known is None:
            try:
                known = self._read(text)
            except PtxError:
                known = Unread(text)
            self._known[text] = known
        return known

    def list(self, text: str) -> tuple[Operand, ...]:
        """What stands in parentheses or braces."""
        inner = text[1:-1].strip()
        return tuple(self.read(o) for o in split_operands(inner)) if inner else ()

    def _read(self, text: str) -> Operand:
        first = text[:1]
        if first == "[" and text[-1] == "]":
            return self._address(text[1:-1].strip())
        if first == "{" and text[-1] == "}":
            return _whole(Vector(self.list(text)))
        if first == "!" and (operand := self._register(text[1:].strip())):
            return Register("!" + operand.name, operand.is_special)
        if (match := _PAIR.match(text)) and (pair := self._pair(match)):
            return pair
        if match := _NAMED.match(text):
            return self._named(*match.groups()) if match[1] != CONSTANT else constant(text)
        if match := _INDEXED.match(text):
            return self._element(match)
        return constant(text)

    def _pair(self, match: re.Match[str]) -> Pair | None:
        first, second = (self._register(side.strip()) for side in match.groups())
        return Pair(first, second) if first and second else None

    def _register(self, text: str) -> Register | None:
        match = _NAMED.match(text)
        operand = self._named(*match.groups()) if match else None
        return operand if isinstance(operand, Register) else None

    def _named(self, name: str, selector: str | None, addend: str | None) -> Operand:
        full = self._renamed(name)
        if full in self._vectors:
            elements = self._vectors[full]
            if addend or (selector and SELECTORS[selector] >= len(elements)):
                raise PtxError(f"operand not understood: {name}")
            if not selector:
                return Vector(tuple(map(Register, elements)))
            return Register(elements[SELECTORS[selector]])
        is_variable = self._element_bytes(full) is not None
        if full in self._registers or (not is_variable and (name[0] == "%" or name == SINK)):
            if addend:
                raise PtxError(f"operand not understood: {name} + {addend}")
            is_special = full not in self._registers
            suffix = f".{'xyzw'[SELECTORS[selector]]}" if selector else ""
            if suffix and not is_special:
                raise PtxError(f"operand not understood: {name}{suffix}")
            return Register(full + suffix, is_special)
        if selector:
            raise PtxError(f"operand not understood: {name}.{selector}")
        return Address(Symbol(full), integer(addend)) if addend else Symbol(full)

    def _element(self, match: re.Match[str]) -> Operand:
        full = self._renamed(match[1])
        size = self._element_bytes(full)
        if size is None:
            raise PtxError(f"operand not understood: {match[0]}")
        return Address(Symbol(full), size * integer(match[2]))

    def _address(self, text: str) -> Operand:
        if "," in text:  # tensor coordinates: they must parse, even if nothing executes them
            return _whole(Vector(tuple(self.read(o) for o in split_operands(text))))
        match = _NAMED.match(text)
        if match is None or match[1] == CONSTANT:
            return Address(Immediate(integer(text)), 0)
        base = self._named(match[1], match[2], None)
        if not isinstance(base, Register | Symbol) or (isinstance(base, Register) and base.is_special):
            raise PtxError(f"address not understood: [{text}]")
        return Address(base, integer(match[3]) if match[3] else 0)


def _whole(vector: Vector) -> Operand:
    for item in vector.items:
        if isinstance(item, Unread):
            raise PtxError(f"operand not understood: {item.text}")
    return vector

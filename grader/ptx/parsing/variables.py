"""Declarations of variables and their initialisers."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from math import prod

from grader.ptx.parsing.constants import constant, integer
from grader.ptx.parsing.errors import PtxError
from grader.ptx.parsing.operands import split_operands
from grader.ptx.parsing.statements import WORD
from grader.ptx.syntax import Variable
from grader.ptx.types import BYTES

VARIABLE = re.compile(
    r"(?:\.(?:visible|extern|weak|common)\s*)*\.(?P<space>shared|global|const|local|param|tex)\b\s*"
    r"(?P<modifiers>(?:\.(?:align\s+\w+|attribute\s*\([^)]*\)|ptr|unified)\s*)*)"
    r"(?P<type>\.(?:v[248]\s*\.)?[a-z]\w*)\s+(?P<declarators>.*)",
    re.DOTALL,
)
DECLARATOR = re.compile(rf"({WORD})\s*((?:\[\s*\w*\s*\]\s*)*)(?:<\s*(\d+)\s*>\s*)?(?:=\s*(.*))?$", re.DOTALL)
_ADDRESS = re.compile(rf"(generic\s*\(\s*)?({WORD})\s*(?:\+\s*(\w+)\s*)?(\)\s*)?(?:\+\s*(.+))?$", re.DOTALL)
MOST_BYTES = 1 << 40  # far more than any memory; keeps numbers readable
Relocations = tuple[tuple[int, str, int], ...]


def variables_of(text: str) -> list[Variable]:
    match = VARIABLE.match(text)
    if match is None:
        raise PtxError(f"declaration not understood: {text[:80]!r}")
    align = re.search(r"\.align\s+(\w+)", match["modifiers"])
    kind = match["type"].lstrip(".")
    vector = re.match(r"v([248])\s*\.(\w+)", kind)
    width = BYTES.get(vector[2] if vector else kind, 8)
    element = width * int(vector[1]) if vector else width
    variables = []
    for declarator in split_operands(match["declarators"]):
        parts = DECLARATOR.match(declarator)
        if parts is None or parts[3]:
            raise PtxError(f"declaration not understood: {text[:80]!r}")
        sizes = re.findall(r"\[\s*(\w*)\s*\]", parts[2])
        dimensions = [integer(size) if size else 0 for size in sizes]
        bounds = (*dimensions, int(vector[1])) if vector else tuple(dimensions)
        data, relocations = _initialiser(parts[4], width, bounds) if parts[4] else (None, ())
        size = element * prod(dimensions)
        if not 0 <= size <= MOST_BYTES:
            raise PtxError(f"declaration not understood: {text[:80]!r}")
        size = max(size, len(data or b""))
        alignment = integer(align[1]) if align else element
        variables.append(Variable(parts[1], match["space"], size, alignment, data, relocations, width))
    return variables


def _initialiser(text: str, width: int, dimensions: tuple[int, ...]) -> tuple[bytes, Relocations]:
    """The bytes of `{1, 0f3F800000, generic(symbol)+4}`, and the places of addresses in them."""
    data, relocations = bytearray(), []
    for at, item in _items(text.strip(), width, dimensions, 0):
        data.extend(bytes(max(at + width - len(data), 0)))
        symbol = _ADDRESS.match(item)
        if symbol and item[:2].lower() not in ("0f", "0d"):
            if width != 8 or bool(symbol[1]) != bool(symbol[4]):
                raise PtxError(f"initialiser not understood: {item[:60]!r}")
            addend = sum(integer(part) for part in (symbol[3], symbol[5]) if part)
            relocations.append((at, symbol[2], addend))
        else:
            value = constant(item)
            bits = value.bits
            if value.float_width == 64 and width == 4:
                bits = int.from_bytes(struct.pack("<f", struct.unpack("<d", bits.to_bytes(8, "little"))[0]), "little")
            data[at : at + width] = (bits & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(data), tuple(relocations)


def _items(text: str, width: int, dimensions: tuple[int, ...], at: int) -> Iterator[tuple[int, str]]:
    """Each scalar with its offset. Braces may leave out the last elements of every dimension, or be left out."""
    if not text.startswith("{"):
        yield at, text
        return
    step = width * prod(dimensions[1:])
    for part in split_operands(text[1:-1]):
        if part.startswith("{"):
            yield from _items(part, width, dimensions[1:], at)
            at += step
        elif part:
            yield at, part
            at += width

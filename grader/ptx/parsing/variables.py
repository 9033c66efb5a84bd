"""Declarations of variables and their initialisers."""

from __future__ import annotations

import re
import struct

from grader.ptx.parsing.errors import PtxError
from grader.ptx.parsing.operands import immediate, split_operands
from grader.ptx.syntax import Variable
from grader.ptx.types import BYTES

VARIABLE = re.compile(
    r"(?:\.(?:visible|extern|weak|common)\s+)*\.(?P<space>shared|global|const|local|param|tex)\b\s*"
    r"(?P<modifiers>(?:\.(?:align\s+\d+|attribute\s*\([^)]*\)|ptr|unified)\s+)*)"
    r"(?P<type>\.(?:v[24]\s+\.)?[a-z]\w*)\s+(?P<declarators>.*)",
    re.DOTALL,
)


def variables_of(text: str) -> list[Variable]:
    match = VARIABLE.match(text)
    if match is None:
        raise PtxError(f"declaration not understood: {text[:80]!r}")
    align = re.search(r"\.align\s+(\d+)", match.group("modifiers"))
    kind = match.group("type").lstrip(".")
    vector = re.match(r"v([24])\s+\.(\w+)", kind)
    element = BYTES[vector.group(2)] * int(vector.group(1)) if vector else BYTES.get(kind, 8)
    variables = []
    for declarator in split_operands(match.group("declarators")):
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
    """The bytes of `{1, 0f3F800000, generic(symbol)+4}`; addresses become relocations."""
    data, relocations = bytearray(), []
    for item in split_operands(text.replace("{", "").replace("}", "")):
        symbol = re.match(r"(?:generic\()?([A-Za-z_$][\w$]*)\)?\s*(?:\+\s*(\d+))?$", item)
        if symbol and item[:2].lower() not in ("0f", "0d"):
            relocations.append((len(data), symbol.group(1), int(symbol.group(2) or 0)))
            data += bytes(8)
        elif item:
            value = immediate(item)
            bits = value.bits
            if value.float_width == 64 and width == 4:
                bits = int.from_bytes(struct.pack("<f", struct.unpack("<d", bits.to_bytes(8, "little"))[0]), "little")
            data += (bits & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(data), tuple(relocations)

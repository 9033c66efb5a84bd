"""Splitting operands, and reading literals."""

from __future__ import annotations

import re
import struct

from grader.ptx.syntax import Immediate


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


def immediate(text: str) -> Immediate:
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

"""A kernel's printf: formats lines from the arguments that the kernel stored, up to a limit."""

from __future__ import annotations

import ctypes
import re
import struct
import threading
from collections.abc import Callable

import numpy as np

from grader.ptx.machine import kernel_address
from grader.ptx.syntax import Variable

MAX_CHARACTERS = 64 * 1024
MAX_ARGUMENT_BYTES = 32 * 8
MAX_FIELD = 1000  # characters of one number or string
SPECIFIER = re.compile(r"%([-+ #0]*)(\d+|\*)?(?:\.(\d*|\*))?(hh|h|ll|l|z|t|j)?([diouxXeEfFgGaAcsp%])")


class Printer:
    """Collects the output of one launch. Worker threads share it. Calls `full` when it takes no more."""

    def __init__(
        self, variables: dict[str, tuple[int, np.ndarray, Variable]], full: Callable[[], None] = lambda: None
    ) -> None:
        self._full = full
        self._strings = {kernel_address(window): data for window, data, _ in variables.values()}
        self._templates: dict[int, str | None] = {}  # by address: a kernel may print millions of lines
        self._parts: list[str] = []
        self._size = 0
        self._lock = threading.Lock()

    def line(self, format_address: int, values: int, room: int) -> int:
        """`values`: host address of the arguments, of which `room` bytes may be read."""
        if format_address not in self._templates:
            self._templates[format_address] = self._string(format_address)
        template = self._templates[format_address]
        if template is None:
            return -1
        if self._size <= MAX_CHARACTERS:  # one that goes beyond shows that there was more
            text = self._format(template, values, room)
            with self._lock:
                self._parts.append(text)
                self._size += len(text)
        else:
            self._full()
        return template.count("%")

    def text(self) -> str:
        whole = "".join(self._parts)
        return whole if len(whole) <= MAX_CHARACTERS else whole[:MAX_CHARACTERS] + "\n… (more was printed)\n"

    def _string(self, address: int) -> str | None:
        for base, data in self._strings.items():
            if base <= address < base + len(data):
                raw = data[address - base :].tobytes()
                return raw.split(b"\0", 1)[0].decode("utf-8", "replace")
        return None

    def _format(self, template: str, values: int, room: int) -> str:
        raw = ctypes.string_at(values, min(room, _argument_bytes(template)))
        at = 0

        def take(size: int) -> bytes:
            nonlocal at
            start = (at + size - 1) // size * size
            at = start + size
            return raw[start:at].ljust(size, b"\0")

        def one(match: re.Match[str]) -> str:
            flags, width, precision, length, kind = match.groups()
            if kind == "%":
                return "%"
            if width == "*":
                width = str(int.from_bytes(take(4), "little", signed=True))
                flags, width = (flags + "-", width[1:]) if width[0] == "-" else (flags, width)
            if precision == "*":
                precision = str(max(int.from_bytes(take(4), "little", signed=True), 0))
            wide = kind in "eEfFgGaAsp" or length in ("l", "ll", "z", "t", "j")
            return _one(flags, _bounded(width), _bounded(precision), kind, take(8 if wide else 4), self._string)

        return SPECIFIER.sub(one, template)


def _argument_bytes(template: str) -> int:
    return min(8 * (template.count("%") + template.count("*")), MAX_ARGUMENT_BYTES)


def _bounded(digits: str | None) -> str | None:
    """A width or precision that cannot fill the memory."""
    return digits and str(min(int(digits[:9]), MAX_FIELD))


def _one(
    flags: str, width: str | None, precision: str | None, kind: str, piece: bytes, string: Callable[[int], str | None]
) -> str:
    number = int.from_bytes(piece, "little")
    layout = f"%{flags}{width or ''}{'' if precision is None else '.' + precision}"
    if kind in "di":
        return (layout + "d") % int.from_bytes(piece, "little", signed=True)
    if kind == "u":
        return (layout + "d") % number
    if kind in "oxX":
        return (layout + kind) % number
    if kind == "c":
        return chr(number & 255)
    if kind == "s":
        return (layout + "s") % (string(number) or "(null)")
    if kind == "p":
        return f"0x{number:x}"
    (real,) = struct.unpack("<d", piece)
    return str((layout + ("e" if kind in "aA" else kind)) % real)

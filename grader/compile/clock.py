"""The compiler's clock stands still: __DATE__ and __TIME__ are the same for every compilation, on every machine.

A kernel could tell one run or one executor from another by them, and would be graded differently each time. NVRTC
lets neither be defined, by an option or by a source, and macros can paste the names together. So the library's call
of time() is turned to a function of ours, in the table that the loader has filled (ELF's procedure linkage table).
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator

STANDS_AT = 0  # seconds since 1970, in UTC: "Jan  1 1970", "00:00:00"

# Entries of a dynamic section, of its tables, and of a symbol.
_STRINGS, _SYMBOLS, _JUMPS, _JUMPS_SIZE = 5, 6, 23, 2
_END = 0
_POINTER = ctypes.sizeof(ctypes.c_void_p)
_READ, _WRITE = 1, 2

_Time = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.POINTER(ctypes.c_long))


class _LinkMap(ctypes.Structure):
    _fields_ = (("base", ctypes.c_size_t), ("name", ctypes.c_char_p), ("dynamic", ctypes.c_size_t))


class _Entry(ctypes.Structure):
    _fields_ = (("tag", ctypes.c_int64), ("value", ctypes.c_size_t))


class _Relocation(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_size_t), ("info", ctypes.c_uint64), ("addend", ctypes.c_int64))


class _Symbol(ctypes.Structure):
    _fields_ = (
        *(
            ("name", ctypes.c_uint32),
            ("info", ctypes.c_uint8),
            ("other", ctypes.c_uint8),
            ("section", ctypes.c_uint16),
        ),
        *(("value", ctypes.c_size_t), ("size", ctypes.c_uint64)),
    )


def _stopped(result: ctypes._Pointer[ctypes.c_long]) -> int:
    if result:
        result[0] = STANDS_AT
    return STANDS_AT


_TIME = _Time(_stopped)  # for as long as the process lives


def stop(library: str) -> bool:
    """For a library that this process has loaded. False if it does not ask for the time at all. Raises OSError."""
    loaded = ctypes.CDLL(library, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    where = _LinkMap.from_address(loaded._handle)
    ours = ctypes.cast(_TIME, ctypes.c_void_p).value or 0
    slots = [where.base + relocation.offset for relocation in _relocations(where, b"time")]
    for slot in slots:
        _make_writable(slot)
        ctypes.c_size_t.from_address(slot).value = ours
    return bool(slots)


def _relocations(where: _LinkMap, wanted: bytes) -> Iterator[_Relocation]:
    """Of the symbol of this name."""
    entries = dict(_dynamic(where.dynamic))
    size = ctypes.sizeof(_Relocation)
    for number in range(entries.get(_JUMPS_SIZE, 0) // size):
        relocation = _Relocation.from_address(_absolute(entries[_JUMPS], where) + number * size)
        symbol = relocation.info >> 32
        if symbol and _name(symbol, entries, where) == wanted:
            yield relocation


def _name(symbol: int, entries: dict[int, int], where: _LinkMap) -> bytes:
    start = _absolute(entries[_SYMBOLS], where) + symbol * ctypes.sizeof(_Symbol)
    return ctypes.string_at(_absolute(entries[_STRINGS], where) + _Symbol.from_address(start).name)


def _dynamic(at: int) -> Iterator[tuple[int, int]]:
    while (entry := _Entry.from_address(at)).tag != _END:
        yield entry.tag, entry.value
        at += ctypes.sizeof(_Entry)


def _absolute(value: int, where: _LinkMap) -> int:
    """The loader has added the base already, on most machines."""
    return value if value >= where.base else value + where.base


def _make_writable(slot: int) -> None:
    """Loaders protect the table once it is filled."""
    page = slot & -mmap.PAGESIZE
    length = slot + _POINTER - page
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(length), _READ | _WRITE)

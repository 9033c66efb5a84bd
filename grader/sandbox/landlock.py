"""Landlock, through its three system calls: a process irreversibly gives up files, TCP and control over others.

It needs no privileges and applies to root too. Before version 3, a readable file can still be truncated by opening
it. Kernel documentation: userspace-api/landlock.
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
from collections.abc import Mapping
from functools import cache
from pathlib import Path

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_REGULAR, _TRUNCATE, _IOCTL_DEVICE = 1 << 5, 1 << 8, 1 << 14, 1 << 15

READ = READ_FILE | READ_DIR
WRITE = WRITE_FILE | _TRUNCATE
DEVICE = READ_FILE | WRITE_FILE | _IOCTL_DEVICE
SCRATCH = READ | WRITE | _MAKE_REGULAR | _REMOVE_FILE
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE | _IOCTL_DEVICE  # rights that a rule for a file may have

# The number of rights each version of the interface knows; all are refused except where a rule allows them.
_FILES_SINCE = {1: 13, 2: 14, 3: 15, 5: 16}
_TCP_SINCE, _TCP = 4, 0b11  # bind, connect
_SCOPES_SINCE, _SCOPES = 6, 0b11  # abstract sockets of and signals to other processes

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def abi() -> int:
    """The version that this kernel supports; 0 if none, or if it is disabled."""
    if platform.system() != "Linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def restrict(allowed: Mapping[Path, int]) -> None:
    """Restrict the calling thread, and everything it starts, to these rights below these paths.

    Paths that do not exist are skipped. Requires no_new_privs. Raises OSError; then nothing is restricted.
    """
    version = abi()
    files = max((1 << bits) - 1 for since, bits in _FILES_SINCE.items() if since <= max(version, 1))
    tcp = _TCP if version >= _TCP_SINCE else 0
    ruleset = _Ruleset(files, tcp, _SCOPES if version >= _SCOPES_SINCE else 0)
    descriptor = _call(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    try:
        for path, rights in allowed.items():
            _allow(descriptor, path, rights & files)
        _call(_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # missing, or not accessible anyway
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_FILES
        rule = _PathBeneath(rights, descriptor)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_libc().syscall(ctypes.c_long(number), *wide))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)

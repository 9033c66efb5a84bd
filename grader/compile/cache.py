"""A cache of compilations on disk, keyed by the content they were made from.

Only the parent process reads and writes it. The child, which runs untrusted code, does not know about it. What
is stored under a source's key is the child's answer before it ran any of that source; a compiler
subverted by a source can corrupt only that source's own entry.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from pathlib import Path

import msgspec

from grader.compile.compiled import Compiled
from grader.files import publish

LIMIT_BYTES = 256 << 20
MAX_ENTRY_BYTES = 16 << 20  # unpacked; PTX of that size would take the CPU executor minutes anyway
_SUFFIX = ".compiled"
_DIGEST_BYTES = 32


def default_folder() -> Path | None:
    """GRADER_CACHE_DIR if set (empty: no cache), otherwise the platform's cache folder for this user."""
    chosen = os.environ.get("GRADER_CACHE_DIR")
    if chosen is not None:
        return Path(chosen) if chosen else None
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with contextlib.suppress(RuntimeError):  # no home folder
        return Path(base).expanduser() / "grader"
    return None


class Cache:
    """A folder that may fail in any way (read-only, full, corrupt); then there silently is no cache."""

    def __init__(self, folder: Path | None, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder / "compile" if folder else None
        self.limit_bytes = limit_bytes

    def get(self, key: str) -> Compiled | None:
        if self.folder is None:
            return None
        path = self.folder / (key + _SUFFIX)
        try:
            packed = path.read_bytes()
            os.utime(path)  # least recently used first
        except OSError:
            return None
        return _unpack(packed)

    def put(self, key: str, compiled: Compiled) -> None:
        """Published by rename: a reader sees a complete entry or none."""
        if self.folder is None:
            return
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            publish(self.folder / (key + _SUFFIX), _pack(compiled), durable=False)
            self._shrink()

    def _shrink(self) -> None:
        """Remove least recently used entries until the rest fits the limit."""
        assert self.folder is not None
        entries = []
        for entry in os.scandir(self.folder):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                status = entry.stat()
                entries.append((status.st_mtime_ns, status.st_size, entry.path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.limit_bytes:
                return
            Path(path).unlink(missing_ok=True)
            total -= size


def _pack(compiled: Compiled) -> bytes:
    body = zlib.compress(msgspec.msgpack.encode(compiled), 1)
    return hashlib.sha256(body).digest() + body


def _unpack(packed: bytes) -> Compiled | None:
    digest, body = packed[:_DIGEST_BYTES], packed[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        return None
    unpacker = zlib.decompressobj()
    try:
        return msgspec.msgpack.decode(unpacker.decompress(body, MAX_ENTRY_BYTES), type=Compiled)
    except (zlib.error, msgspec.DecodeError):
        return None

"""Files that nobody may open, watched through inotify: whoever opens one is noticed, whatever becomes of it."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPENED = 0x20  # IN_OPEN
_EVENT = struct.Struct("iIII")

NAME = "canary"
WORDS = "what_only_the_canary_says"


class Canaries:
    """`files`: by where each lies."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files
        libc = ctypes.CDLL(None, use_errno=True)
        self._watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._names = {libc.inotify_add_watch(self._watch, bytes(f), _OPENED): where for where, f in files.items()}
        assert self._watch >= 0
        assert -1 not in self._names

    def opened(self) -> set[str]:
        """Where those lie that were opened since this was last asked."""
        found = set()
        try:
            data = os.read(self._watch, 1 << 16)
        except BlockingIOError:
            return set()
        while data:
            watch, _, _, length = _EVENT.unpack_from(data)
            found.add(self._names[watch])
            data = data[_EVENT.size + length :]
        return found

    def close(self) -> None:
        os.close(self._watch)


@contextmanager
def laid_out(beside: Path, home: Path, temporary: Path) -> Iterator[Canaries]:
    """Each in a folder of its own, but for the one beside the submission."""
    files = {
        "beside": beside / "canary.cuh",
        "home": home / f".{NAME}-{os.getpid()}.h",
        "tmp": temporary / f"{NAME}-{os.getpid()}.h",
    }
    try:
        for file in files.values():
            file.write_text(f"#error {WORDS}\n")
        canaries = Canaries(files)
        try:
            yield canaries
        finally:
            canaries.close()
    finally:
        for file in files.values():
            file.unlink(missing_ok=True)

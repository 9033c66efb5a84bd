"""Machine code in a file, for other processes on the same kind of processor: compiling it takes far longer."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import llvmlite.binding as llvm

DIGEST = hashlib.sha256().digest_size


def read(file: Path, text: str) -> bytes | None:
    """What was compiled from this IR, here; None if the file holds anything else, or part of it."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    made_from, digest, code = content[:DIGEST], content[DIGEST : 2 * DIGEST], content[2 * DIGEST :]
    return code if made_from == _origin(text) and digest == hashlib.sha256(code).digest() else None


def write(file: Path, text: str, code: bytes) -> None:
    """By rename, so that a reader never sees half of it. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(_origin(text) + hashlib.sha256(code).digest() + code)
            os.fchmod(descriptor, 0o644)
        Path(temporary).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def _origin(text: str) -> bytes:
    """All that machine code follows from: the IR, the compiler, the processor."""
    compiler = (llvm.__name__, *llvm.llvm_version_info, llvm.get_default_triple())
    processor = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return hashlib.sha256("\n".join(map(str, (*compiler, *processor, text))).encode()).digest()

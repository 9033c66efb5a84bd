"""The student's file: its bytes, its hash, and what prevents it from being compiled."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from grader import files
from grader.errors import UsageError
from grader.model.result import Finding

# Even a large kernel file is about 50 kB; much more is an attempt to exhaust the compiler.
MAX_BYTES = 1 << 20

UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how such text begins

_TEXT_CONTROLS = frozenset(b"\t\n\v\f\r")
_CONTROLS = bytes(sorted(set(range(32)) - _TEXT_CONTROLS))


class Source(msgspec.Struct, frozen=True):
    """`problem` says why the file is not source text; None if it may go to the compiler."""

    path: Path
    content: bytes
    sha256: str
    problem: Finding | None = None

    @property
    def name(self) -> str:
        """The file's name as shown in messages."""
        return self.path.name.encode(errors="replace").decode()

    @property
    def printable_path(self) -> str:
        """File names may contain bytes that JSON text cannot."""
        return str(self.path).encode(errors="replace").decode()

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")


def read(path: Path) -> Source:
    """Raises UsageError if there is no readable file; bad content makes the student's `compile` check fail."""
    try:
        if not path.is_file():
            raise UsageError(f"{path} {_instead(path)}")
        content = files.start(path, MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    return of(path, content)


def of(path: Path, content: bytes) -> Source:
    """A file that holds `content`; of one that is too large, the first MAX_BYTES and one more are enough."""
    source = Source(path, content, hashlib.sha256(content).hexdigest())
    message = _problem(content)
    if message is None:
        return source
    finding = Finding("compile-error", source.name, 0, f"{source.name} {message}")
    return msgspec.structs.replace(source, content=b"", problem=finding)


def _instead(path: Path) -> str:
    if path.is_dir():
        return "is a folder, not a .cu file"
    return "is not a regular file" if path.exists() else "does not exist"


def lines(text: str) -> list[str]:
    """Lines as the compiler counts them: unlike with str.splitlines, a form feed does not end a line."""
    return text.replace("\r\n", "\n").split("\n")


def _problem(content: bytes) -> str | None:
    if len(content) > MAX_BYTES:
        return f"is larger than {MAX_BYTES >> 20} MiB; a submission is a single CUDA source file"
    if not content.strip():
        return "is empty; it must contain the kernel and its launch function"
    if content.startswith(UTF_16):
        return "is UTF-16 text; save it as UTF-8"
    if content.translate(None, _CONTROLS) != content:
        return "is binary, not text; a submission is a single CUDA source file"
    return None

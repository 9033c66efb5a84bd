"""Submissions in a zip. Only the one file that is graded is unpacked for each student.

Names in the zip never become paths: files are written under names generated here. So a name that points outside the
folder has no effect, and a zip bomb is read no further than the maximum size of a submission.
"""

from __future__ import annotations

import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO

from grader.batch import filenames
from grader.batch.found import Found, Unreadable, is_litter
from grader.errors import GraderError, UsageError
from grader.exercise import submission

# A class of a thousand with fifty files each; no learning platform exports more than this.
MAX_MEMBERS = 50_000

# The most that all students' files together may take when unpacked.
MAX_UNPACKED = 1 << 30

# This flag marks names as UTF-8; many programs write UTF-8 without setting it.
_UTF8 = 0x800
_ENCRYPTED = 0x1

# Some programs of Windows write a backslash between folders. In a name of an unknown encoding it is none behind a
# character that is not ASCII: in Shift-JIS it is the second byte of many.
_BETWEEN_FOLDERS = re.compile(r"(?<![^\x00-\x7f])\\")

_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, OSError, ValueError, MemoryError),
)


class Archive:
    """A zip file; the students' files are written below `unpacked`. `name`: what errors call it."""

    def __init__(self, file: Path | IO[bytes], unpacked: Path, name: str = "") -> None:
        self._unpacked = unpacked
        self._written = 0
        try:
            self._zip = zipfile.ZipFile(file)
        except _BROKEN as error:
            raise UsageError(f"{name or file} is not a readable zip: {_reason(error)}; download it again") from None
        self._members = self._zip.infolist()
        if len(self._members) > MAX_MEMBERS:
            raise UsageError(f"{name or file} contains {len(self._members):,} files; the limit is {MAX_MEMBERS:,}")

    def list(self) -> Sequence[Found]:
        """In path order; folders that exist only as part of a file's path are not listed."""
        found = [self._found(number, member) for number, member in enumerate(self._members)]
        return sorted((one for one in found if not is_litter(one.place)), key=lambda one: one.place)

    def read(self, found: Found, limit: int) -> bytes:
        member = self._members[found.member]
        if member.flag_bits & _ENCRYPTED:
            raise Unreadable(f"{found.place.name} is encrypted")
        try:
            with self._zip.open(member) as stream:
                return stream.read(limit + 1)
        except _BROKEN as error:
            raise Unreadable(f"{found.place.name} cannot be read from the zip: {_reason(error)}") from None

    def modified(self, found: Found) -> float:
        """A zip's own clock has no time zone; only the order counts."""
        try:
            return datetime(*self._members[found.member].date_time).timestamp()
        except (ValueError, OverflowError):
            return 0.0

    def fetch(self, found: Found, student: str, name: str) -> Path:
        content = self.read(found, submission.MAX_BYTES)  # one byte more is enough to know that it is too large
        self._written += len(content)
        if self._written > MAX_UNPACKED:
            raise Unreadable(f"the zip unpacks to more than {MAX_UNPACKED >> 30} GiB; {name} was not unpacked")
        return keep(content, self._unpacked, student, name)

    def _found(self, number: int, member: zipfile.ZipInfo) -> Found:
        name = _name(member)
        parts = [part for part in name.split("/") if part not in ("", ".")]
        kept = [part for part in parts if part != ".." and not part.endswith(":")]
        place = PurePosixPath(*kept) if kept else PurePosixPath("unnamed")
        problem, kind = "", stat.S_IFMT(member.external_attr >> 16)
        if name.startswith("/") or kept != parts:
            problem = f"its name in the zip, {name!r}, leads out of the folder"
        elif kind == stat.S_IFLNK:
            problem = f"{place.name} is a link"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            problem = f"{place.name} is not a regular file"
        return Found(place, folder=name.endswith("/"), problem=problem, member=number)


def keep(content: bytes, unpacked: Path, student: str, name: str) -> Path:
    """Writes a student's file below `unpacked`."""
    file = unpacked / filenames.stem(student) / filenames.stem(name)
    try:
        unpacked.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise GraderError(f"cannot unpack into {unpacked}: {error.strerror}") from None
    return file


def _name(member: zipfile.ZipInfo) -> str:
    """zipfile decodes names without the UTF-8 flag as code page 437, in which every byte is a character."""
    name = member.filename
    try:
        if not member.flag_bits & _UTF8:
            name = name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return _BETWEEN_FOLDERS.sub("/", name)
    return name.replace("\\", "/")


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

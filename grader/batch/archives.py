"""Submissions in a zip. Only the one file that is graded is unpacked for each student.

Names in the zip never become paths: files are written under names generated here. So a name that points outside the
folder has no effect, and a zip bomb is read no further than the maximum size of a submission.
"""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

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

_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, OSError, ValueError),
)


class Archive:
    """A zip file; the students' files are written below `unpacked`."""

    def __init__(self, file: Path, unpacked: Path) -> None:
        self._unpacked = unpacked
        self._written = 0
        try:
            self._zip = zipfile.ZipFile(file)
        except (*_BROKEN, MemoryError) as error:
            raise UsageError(f"{file} is not a readable zip: {_reason(error)}; download it again") from None
        self._members = self._zip.infolist()
        if len(self._members) > MAX_MEMBERS:
            raise UsageError(f"{file} contains {len(self._members):,} files; the limit is {MAX_MEMBERS:,}")

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

    def fetch(self, found: Found, student: str, name: str) -> Path:
        content = self.read(found, submission.MAX_BYTES)  # one byte more is enough to know that it is too large
        self._written += len(content)
        if self._written > MAX_UNPACKED:
            raise Unreadable(f"the zip unpacks to more than {MAX_UNPACKED >> 30} GiB; {name} was not unpacked")
        file = self._unpacked / filenames.stem(student) / filenames.stem(name)
        try:
            self._unpacked.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        except OSError as error:
            raise GraderError(f"cannot unpack into {self._unpacked}: {error.strerror}") from None
        return file

    def _found(self, number: int, member: zipfile.ZipInfo) -> Found:
        name = _name(member).replace("\\", "/")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        kept = [part for part in parts if part != ".." and not part.endswith(":")]
        place = PurePosixPath(*kept) if kept else PurePosixPath("unnamed")
        problem = ""
        if name.startswith("/") or kept != parts:
            problem = f"its name in the zip, {name!r}, leads out of the folder"
        elif stat.S_ISLNK(member.external_attr >> 16):
            problem = f"{place.name} is a link"
        return Found(place, folder=name.endswith("/"), problem=problem, member=number)


def _name(member: zipfile.ZipInfo) -> str:
    """zipfile decodes names without the UTF-8 flag as code page 437, in which every byte is a character."""
    if member.flag_bits & _UTF8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

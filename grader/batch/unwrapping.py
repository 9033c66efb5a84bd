"""A kernel that was not submitted as a .cu file: under another name, as pasted text, or in a zip of its own."""

from __future__ import annotations

import contextlib
import html
import io
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from grader.batch.archives import Archive
from grader.batch.found import Found, SubmissionSource, Unreadable
from grader.errors import UsageError
from grader.exercise import submission

# Names that upload forms, mail programs and editors give to a starter.cu.
TEXT = frozenset({"", ".txt", ".text", ".c", ".cc", ".cpp", ".cxx", ".cuh", ".h", ".hpp"})
PASTED = frozenset({".html", ".htm"})

# A zip of one student: the repository of all exercises, perhaps with its history.
MAX_ZIP = 64 << 20

# How a source begins, so that a report that quotes a kernel is not graded as one.
_BEGINNING = re.compile(
    r"\s*(#\s*(include|define|pragma|if|ifdef|ifndef)\b|//|/\*|(extern|template|typedef|using|namespace|constexpr|const"
    r"|static|struct|enum|inline|__global__|__device__|__constant__)\b)"
)
_KERNEL = "__global__"

# How many of a student's text files are looked at; the kernel should be among the first.
MOST_LOOKED_AT = 50

_TAG = re.compile(r"<(?P<slash>/?)(?P<name>[A-Za-z][A-Za-z0-9]*|!doctype)", re.IGNORECASE)

# In pasted text, each of these starts a line of its own.
_BLOCKS = frozenset({"p", "div", "pre", "li", "tr", "blockquote", "h2", "h3", "h4", "h5", "h6"})
# Around the student's text, Canvas writes a title and a heading (text_entry_page.html.erb).
_NOT_THEIRS = frozenset({"head", "title", "style", "script", "h1"})


class Kernel(NamedTuple):
    """`read_from`: what it was read from, if the file cannot be graded as it is."""

    content: bytes
    read_from: str = ""


def suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def may_be_kernel(found: Found, name: str) -> bool:
    """By its name."""
    return not (found.folder or found.problem) and suffix(name) in TEXT | PASTED


def kernel(source: SubmissionSource, found: Found, name: str) -> Kernel | None:
    """What a text file or pasted text holds, if it is a kernel. Raises Unreadable."""
    content = source.read(found, submission.MAX_BYTES)
    read_from = ""
    if content.startswith(submission.UTF_16):  # what Windows programs call Unicode
        content, read_from = content.decode("utf-16", errors="replace").encode(), "UTF-16 text"
    if suffix(name) in PASTED:
        content, read_from = pasted(content.decode("utf-8-sig", errors="replace")).encode(), "pasted text"
    text = content.decode("utf-8-sig", errors="replace")
    return Kernel(content, read_from) if _KERNEL in text and _BEGINNING.match(text) else None


def archive(source: SubmissionSource, found: Found, unpacked: Path) -> Archive:
    """A student's zip. Raises Unreadable."""
    name = found.place.name
    content = source.read(found, MAX_ZIP)
    if len(content) > MAX_ZIP:
        raise Unreadable(f"{name} is larger than {MAX_ZIP >> 20} MiB; submit the starter.cu alone")
    try:
        return Archive(io.BytesIO(content), unpacked, name)
    except UsageError as error:
        raise Unreadable(str(error).replace("download it again", "ask for the starter.cu")) from None


def pasted(page: str) -> str:
    """The text of a page that a learning platform's editor made."""
    pieces = _Pieces()
    at = 0
    while (tag := page.find("<", at)) >= 0:
        pieces.add(page[at:tag])
        at = _after(page, tag, pieces)
    pieces.add(page[at:])
    return "\n".join(line.rstrip() for line in "".join(pieces.text).strip("\n").split("\n")) + "\n"


def _after(page: str, tag: int, pieces: _Pieces) -> int:
    """Takes the tag that begins here, and returns where it ends.

    Not html.parser: its time grows with the square of a hostile page. Here, what is searched in vain ends the page.
    """
    if page.startswith("<!--", tag):
        end = page.find("-->", tag)
        return end + 3 if end >= 0 else len(page)
    match = _TAG.match(page, tag)
    if match is None:  # a sign of the student's
        pieces.add("<")
        return tag + 1
    end = page.find(">", tag)
    pieces.tag(match["name"].lower(), closes=bool(match["slash"]))
    return end + 1 if end >= 0 else len(page)


class _Pieces:
    """The text so far, in pieces."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self._ignored = 0
        self._verbatim = 0

    def tag(self, name: str, *, closes: bool) -> None:
        step = -1 if closes else 1
        if name in _NOT_THEIRS:
            self._ignored = max(0, self._ignored + step)
        if name == "pre":
            self._verbatim = max(0, self._verbatim + step)
        if name == "br" or (name in _BLOCKS and self.text and not self.text[-1].endswith("\n")):
            self.text.append("\n")

    def add(self, text: str) -> None:
        if self._ignored or (not self._verbatim and not text.strip(" \t\r\n")):
            return  # between the tags
        with contextlib.suppress(ValueError):  # of a number with thousands of digits
            text = html.unescape(text)
        # Editors keep indentation as no-break spaces.
        self.text.append(text.replace("\r\n", "\n").replace("\N{NO-BREAK SPACE}", " "))

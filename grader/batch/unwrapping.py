"""A kernel that was not submitted as a .cu file: under another name, as pasted text, or in a zip of its own."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

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

# In pasted text, each of these starts a line of its own.
_BLOCKS = frozenset({"p", "div", "pre", "li", "tr", "blockquote", "h2", "h3", "h4", "h5", "h6"})
# Around the student's text, Canvas writes a title and a heading (text_entry_page.html.erb).
_NOT_THEIRS = frozenset({"head", "title", "style", "script", "h1"})


def suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def kernel(source: SubmissionSource, found: Found, name: str) -> bytes | None:
    """The content of a text file or pasted text, if it is a kernel. Raises Unreadable."""
    if found.folder or found.problem or suffix(name) not in TEXT | PASTED:
        return None
    content = source.read(found, submission.MAX_BYTES)
    if suffix(name) in PASTED:
        content = pasted(content.decode("utf-8-sig", errors="replace")).encode()
    text = content.decode("utf-8-sig", errors="replace")
    return content if _KERNEL in text and _BEGINNING.match(text) else None


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


def pasted(html: str) -> str:
    """The text of a page that a learning platform's editor made."""
    reader = _PastedText()
    reader.feed(html)
    reader.close()
    return "\n".join(line.rstrip() for line in "".join(reader.pieces).strip("\n").split("\n")) + "\n"


class _PastedText(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._ignored = 0
        self._verbatim = 0

    def handle_starttag(self, tag: str, _: object) -> None:
        self._ignored += tag in _NOT_THEIRS
        self._verbatim += tag == "pre"
        if tag == "br":
            self.pieces.append("\n")
        elif tag in _BLOCKS:
            self._start_line()

    def handle_startendtag(self, tag: str, _: object) -> None:
        if tag == "br":
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._ignored = max(0, self._ignored - (tag in _NOT_THEIRS))
        self._verbatim = max(0, self._verbatim - (tag == "pre"))
        if tag in _BLOCKS:
            self._start_line()

    def handle_data(self, data: str) -> None:
        if self._ignored or (not self._verbatim and not data.strip(" \t\r\n")):
            return  # between the tags
        # Editors keep indentation as no-break spaces.
        self.pieces.append(data.replace("\r\n", "\n").replace("\N{NO-BREAK SPACE}", " "))

    def _start_line(self) -> None:
        if self.pieces and not self.pieces[-1].endswith("\n"):
            self.pieces.append("\n")

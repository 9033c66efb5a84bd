"""A submission's includes, and those refused before the compiler sees them.

NVRTC prints lines of the files it reads, and submissions are untrusted, so a submission may name only headers in the
include folders. The scan is cautious, not exact: whatever could be a directive under any reading of the
comments and strings around it is treated as one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

TYPOGRAPHIC = tuple("“”„‟″«»‘’‚‛′")
_SPLICE = re.compile(r"\\\n")
# Patterns stay within a line: a comment that spans lines is recognised by its end, or refused after the "#".
_GAP = r"(?>(?:[ \t\v\f]|/\*[^\n]*?\*/)*)"
# A directive's "#" (or the digraph "%:") comes first in its line, except for comments.
_DIRECTIVE = re.compile(
    rf"^(?:[^\n]*\*/)?[ \t\v\f]*(?:\#|%:){_GAP}"
    rf'(?P<name>(?:include_next|include|import|embed|line)\b|\d+(?={_GAP}(?:$|//|/\*|\w*"))|/\*){_GAP}'
    r'(?P<target>"[^"\n]*"|<[^>\n]*>|[^\n]*)',
    re.MULTILINE,
)
_PROBE = re.compile(r"\b__has_(?:include_next|include|embed)\b")
_PROBED = re.compile(rf"{_GAP}\({_GAP}(?P<target>\"[^\"\n]*\"|<[^>\n]*>){_GAP}\)")
_PASTE = re.compile(r"##|%:%:|\?\?=\?\?=")
# What ## makes one of them out of: the beginning of the name, or the end of it, where no directive stands.
_FRAGMENT = re.compile(
    r"(?<![\w#:])(?:__h(?:a(?:s(?:_(?:i(?:n(?:c(?:l(?:u(?:d)?)?)?)?)?|e(?:m(?:b(?:e)?)?)?)?)?)?)?"
    r"|(?:(?:(?:_?h)?a)?s)?_(?:include(?:_next)?|embed))\b"
)
_ASKED_IF_DEFINED = re.compile(r"(?:\bdefined\s*\(?|(?:\#|%:)\s*(?:el)?ifn?def)\s*$")


@dataclass(frozen=True)
class Include:
    line: int
    target: str  # without quotes or angle brackets


@dataclass(frozen=True)
class Refusal:
    line: int
    message: str


@dataclass(frozen=True)
class Scan:
    includes: tuple[Include, ...]
    refusals: tuple[Refusal, ...]


def scan(text: str) -> Scan:
    """Every include directive of a source, and every directive that is not allowed."""
    spliced = _Spliced(text)
    includes: list[Include] = []
    refusals: list[Refusal] = []
    for match in _DIRECTIVE.finditer(spliced.text):
        line = spliced.line(match.start("name"))
        name, target = match.group("name"), match.group("target").strip()
        if problem := _problem(name, target):
            refusals.append(Refusal(line, problem))
        else:
            includes.append(Include(line, target[1:-1]))
    refusals += (*_probes(spliced), *_pasted_probes(spliced))
    return Scan(tuple(includes), tuple(sorted(refusals, key=lambda refusal: refusal.line)))


def _problem(name: str, target: str) -> str:
    if name == "line" or name.isdigit():
        return "#line is not allowed, because findings name lines of this file"
    if name == "/*":
        return "a directive must be on one line, but a comment after its # spans several"
    if name != "include":
        return f"#{name} is not allowed; use #include"
    if target[:1] in TYPOGRAPHIC:
        return f'{target} stands in typographic quotes (U+{ord(target[0]):04X}); type plain ones: "'
    if target[:1] in ('"', "<") and not _is_quoted(target):
        closing = '"' if target[0] == '"' else ">"
        return f"#include {target}: the closing {closing} is missing"
    if not _is_quoted(target):
        return "an #include must name its header directly, not through a macro"
    return "" if _is_inside(target) else f"#include {target}: only headers from the include folders are allowed"


def _probes(spliced: _Spliced) -> Iterator[Refusal]:
    for match in _PROBE.finditer(spliced.text):
        probed = _PROBED.match(spliced.text, match.end())
        if probed and _is_inside(probed.group("target")):
            continue
        before = spliced.text[max(0, match.start() - 40) : match.start()]
        if not probed and _ASKED_IF_DEFINED.search(before):
            continue
        message = f"{match.group()} may only name a header from the include folders"
        yield Refusal(spliced.line(match.start()), message)


def _pasted_probes(spliced: _Spliced) -> Iterator[Refusal]:
    """The parts of a probe's name, in a source that puts names together."""
    match = _FRAGMENT.search(spliced.text) if _PASTE.search(spliced.text) else None
    if match:
        message = f"{match.group()} with ##: __has_include may only name a header from the include folders"
        yield Refusal(spliced.line(match.start()), message)


def _is_quoted(target: str) -> bool:
    return len(target) > 2 and target[0] + target[-1] in ('""', "<>")


def _is_inside(target: str) -> bool:
    """A relative path without "..": it can reach only the include folders."""
    path = target[1:-1]
    return not path.startswith("/") and "\\" not in path and ".." not in path.split("/")


class _Spliced:
    """A source with continued lines joined, as the compiler reads it; keeps the original line numbers."""

    def __init__(self, text: str) -> None:
        self.text = _SPLICE.sub("", text)
        # The position of the k-th splice (two characters each) in the joined text.
        self._splices = [match.start() - 2 * k for k, match in enumerate(_SPLICE.finditer(text))]
        self._newlines = [match.start() for match in re.finditer("\n", self.text)]

    def line(self, at: int) -> int:
        return 1 + bisect_right(self._newlines, at - 1) + bisect_right(self._splices, at)

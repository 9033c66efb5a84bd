"""Parses NVRTC's log: one Diagnostic per error or warning, in the log's order.

The format is the EDG front end's:

    FILE(LINE): error: MESSAGE
      the source line
          ^
              further lines, such as "detected during instantiation of ... at line N of FILE"
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

PTXAS = "ptxas"  # the file name of the assembler's diagnostics
ECHO_INDENT = 2  # columns before a source line quoted in the log
DETAIL_INDENT = " " * 8  # before further lines about a diagnostic

_PLACED = re.compile(
    r"(?P<file>\S[^\n]*?)\((?P<line>\d+)\): (?P<severity>catastrophic error|error|warning|remark|note)"
    r"(?: #(?P<number>\d+)(?:-D)?)?: (?P<message>.*)"
)
_AT_END = re.compile(r"At end of source: (?P<severity>catastrophic error|error|warning): (?P<message>.*)")
_PTXAS = re.compile(
    r"\s*ptxas (?:application ptx input, line (?P<line>\d+); )?"
    r"(?P<severity>error|warning|fatal)\s*: (?P<message>.*)"
)
_CARET = re.compile(r"\s*\^\s*")
FRAME = re.compile(r" at line (\d+)(?: of (\S.*?))?$")


@dataclass
class Diagnostic:
    """`file` as the compiler writes it; "": the end of the source; "ptxas": the assembler, a line of PTX."""

    file: str
    line: int
    severity: str  # error, warning, remark
    message: str
    column: int = 0  # byte offset, starting at 1; 0 if unknown
    details: list[str] = field(default_factory=list)

    def frames(self) -> list[tuple[str, int]]:
        """Where a template was instantiated from: (file, line), innermost first."""
        lines = (line for line in self.details if not line.startswith("note:"))
        places = [match for line in lines if (match := FRAME.search(line))]
        return [(match.group(2) or self.file, int(match.group(1))) for match in places]


def parse(log: str) -> list[Diagnostic]:
    """Notes (a candidate function, a matching brace) become details of the diagnostic before them."""
    found: list[Diagnostic] = []
    in_note = False
    lines = log.split("\n")  # splitlines() would also split at characters that a quoted line may contain
    for line, next_line in zip(lines, [*lines[1:], ""], strict=True):
        start = _start(line)
        if start is not None:
            in_note = start.severity == "note"
            if not in_note:
                found.append(start)
            elif found:
                found[-1].details.append(f"note: {start.message} at line {start.line} of {start.file}")
        elif found and _CARET.fullmatch(line):
            if not in_note and not found[-1].column:
                found[-1].column = line.index("^") - ECHO_INDENT + 1
        elif found and line.startswith(DETAIL_INDENT) and not _CARET.fullmatch(next_line):
            found[-1].details.append(line.strip())
    return found


def _start(line: str) -> Diagnostic | None:
    if match := _PLACED.fullmatch(line):
        severity = "error" if "error" in match["severity"] else match["severity"]
        return Diagnostic(match["file"], int(match["line"]), severity, match["message"])
    if match := _AT_END.fullmatch(line):
        return Diagnostic("", 0, "error" if "error" in match["severity"] else "warning", match["message"])
    if match := _PTXAS.fullmatch(line):
        severity = "warning" if match["severity"] == "warning" else "error"
        return Diagnostic(PTXAS, int(match["line"] or 0), severity, match["message"])
    return None

"""Which brace is missing or too many. The compiler notices only where the next function begins, or at the end."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

_SKIPPED = r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n]){1,10}'"""
_BRACKET = re.compile(rf"{_SKIPPED}|(?P<bracket>[{{}}()])|\n", re.DOTALL)
_BLANK, _FIRST = re.compile(r"[ \t]*"), re.compile(r"[ \t]*\}")
_NEAR = 200  # characters between a ")" and the "{" that belongs to it: blanks, or a line break


class Guilty(NamedTuple):
    line: int
    message: str


class _Open(NamedTuple):
    line: int
    indent: int  # of the statement that it belongs to


@dataclass
class _Reading:
    """Braces are matched by their indentation, as a reader would: one that is missing shifts all that follow."""

    lines: list[str]
    opened: list[_Open] = field(default_factory=list)
    unclosed: _Open | None = None
    too_many: Guilty | None = None
    surplus: int = 0  # how many "{" there are more than "}"

    def open(self, line: int, statement: int) -> None:
        self.opened.append(_Open(line, self._indent(statement)))
        self.surplus += 1

    def close(self, line: int) -> None:
        self.surplus -= 1
        indent, opened = self._indent(line), self.opened
        begins = _FIRST.match(self.lines[line - 1]) is not None
        while begins and len(opened) > 1 and indent < opened[-1].indent:
            self.unclosed = self.unclosed or opened[-1]
            opened.pop()
        if not opened:
            self.too_many = self.too_many or Guilty(line, 'this "}" closes nothing: there is one "}" too many')
            return
        innermost = opened.pop()
        too_early = not opened and innermost.line != line and (indent > innermost.indent or not begins)
        if too_early and self.too_many is None:
            message = f'one "}}" too many: it ends what begins on line {innermost.line}'
            self.too_many = Guilty(line, message)

    def _indent(self, line: int) -> int:
        blank = _BLANK.match(self.lines[line - 1])
        return len(blank.group().expandtabs(4)) if blank else 0


def guilty(text: str) -> Guilty | None:
    """None where every brace has its other one."""
    reading = _Reading(text.split("\n"))
    parentheses: list[int] = []
    begun, ended, line = 1, -_NEAR, 1  # the last pair of parentheses: its first line, and where it ends
    for match in _BRACKET.finditer(text):
        match match["bracket"]:
            case "(":
                parentheses.append(line)
            case ")" if parentheses:
                begun, ended = parentheses.pop(), match.end()
            case "{":
                follows = match.start() - ended < _NEAR and not text[ended : match.start()].strip()
                reading.open(line, begun if follows else line)
            case "}":
                reading.close(line)
            case _:
                pass
        line += match.group().count("\n")
    if reading.surplus < 0:
        return reading.too_many
    unclosed = reading.unclosed or next(iter(reading.opened), None)
    if reading.surplus == 0 or unclosed is None:
        return None
    return Guilty(unclosed.line, 'the "{" on this line is never closed: a "}" is missing')

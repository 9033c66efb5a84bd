"""Cuts PTX text into statements, exactly as ptxas does. The parser and the rules of exercises both read it this way.

What ptxas takes was tried out with version 13.0: a string has no escapes; a comment may stand wherever a blank may;
a blank may stand before a modifier or after an "@", none need stand before an operand; a `.loc` ends with its
last number, not with its line. What cannot be read raises PtxError, and is never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from grader.ptx.parsing.errors import PtxError

WORD = r"[A-Za-z_$%][\w$%]*"
INTEGER = r"(?:0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)"
MODULE_ITEM = re.compile(
    r"\s*(?:(?P<line>\.version\s+\d+\.\d+|\.target\s+\w+(?:\s*,\s*\w+)*|\.address_size\s+\d+"
    rf'|\.file\s+{INTEGER}\s+"[^"]*"(?:\s*,\s*{INTEGER}\s*,\s*{INTEGER})?)(?![\w$])'
    r"|(?P<section>\.section\s+[^{;]*\{[^{}]*\})"
    r"|(?P<alias>\.alias\b[^;{}]*;)"
    r"|(?P<function>(?:\.(?:visible|extern|weak|common)\s*)*\.(?:entry|func)\b[^{;]*[{;])"
    r'|(?P<pragma>\.pragma(?:[^;"]|"[^"]*")*;)'
    r"|(?P<variable>\.[^;]*;))"
)
_FILE = re.compile(rf'\.file\s+({INTEGER})\s+"([^"]*)"|"[^"]*"')
_COMMENT_OR_STRING = re.compile(r'("[^"]*")|//[^\n]*|/\*.*?\*/|^[ \t]*\#[ \t]*\d+[ \t]+"[^"\n]*"[ \t]*$', re.S | re.M)
_STRANGE = re.compile(r"[^\x20-\x7e\t\n\f\r]|[\\#`']|/\*")
_STRING = re.compile(r'"[^"]*"')
_STATEMENT = re.compile(
    rf"\s*(?:(?P<loc>\.loc\s+(?P<file>{INTEGER})\s+(?P<line>{INTEGER})\s+(?P<column>{INTEGER})(?![\w$.(])"
    rf"(?:\s*,\s*function_name\s+{WORD}(?:\s*\+\s*{INTEGER})?\s*,\s*inlined_at\s+(?P<at>{INTEGER}(?:\s+{INTEGER}){{2}})(?![\w$.(]))?)"
    r"|(?P<open>\{)"
    r"|(?P<close>\})"
    rf"|(?P<label>{WORD})\s*:(?!:)"
    r'|(?P<directive>\.[a-z]\w*(?:[^;{}"]++|\{(?:[^{}]++|\{[^{}]*+\})*+\}|"[^"]*+")*+);'
    rf"|(?:@\s*(?P<negated>!?)\s*(?P<guard>{WORD})\s+)?"
    r"(?P<opcode>[a-z]\w*(?:\s*\.\w+(?:::\w+)*)*)(?!::)(?P<operands>(?:[^;{}\"]++|\{[^{}]*+\})*+);)"
)  # fmt: skip
LARGEST = (1 << 31) - 1  # of a line, a column or a file's number


class Loc(NamedTuple):
    """A source position, as (file, line, column), and the one that it was inlined at."""

    at: tuple[int, int, int]
    caller: tuple[int, int, int] | None


class Brace(NamedTuple):
    opens: bool


class LabelText(NamedTuple):
    name: str


class Directive(NamedTuple):
    text: str


class InstructionText(NamedTuple):
    opcode: str  # without blanks
    operands: str
    guard: str | None
    negated: bool


Statement = Loc | Brace | LabelText | Directive | InstructionText


def without_comments(text: str) -> str:
    """The text with a blank for each comment, on the same lines. Raises PtxError for what ptxas reads in ways of its
    own: other characters than ASCII's, preprocessor lines, continued lines."""
    text = _COMMENT_OR_STRING.sub(lambda m: m.group(1) or _same_lines(m.group(0)), text)
    strange = _STRANGE.search(_STRING.sub(lambda m: " " * len(m.group()), text))
    if strange:
        raise not_understood(text, strange.start())
    return text


def _same_lines(comment: str) -> str:
    return "\n" * comment.count("\n") or " "


def files(text: str) -> dict[int, str]:
    """The names of the module's files, by their numbers."""
    return {natural(match[1]): match[2] for match in _FILE.finditer(text) if match[1]}


def of_all_functions(text: str) -> Iterator[Statement]:
    """The statements of each function of a module, one function after the other. `text` is without comments."""
    at = 0
    while match := MODULE_ITEM.match(text, at):
        at = match.end()
        if (match["function"] or "").endswith("{"):
            for statement, after in body(text, at):
                yield statement
                at = after
    if text[at:].strip():
        raise not_understood(text, at)


def body(text: str, at: int) -> Iterator[tuple[Statement, int]]:
    """The statements of a function after its opening brace, up to its closing one, each with the position after it.

    `text` is without comments.
    """
    depth = 1
    while depth:
        match = _STATEMENT.match(text, at)
        if match is None:
            raise not_understood(text, at)
        at = match.end()
        statement = _statement(match, text)
        if isinstance(statement, Brace):
            depth += 1 if statement.opens else -1
        yield statement, at


def _statement(match: re.Match[str], text: str) -> Statement:
    opcode = match["opcode"]
    if opcode:
        return InstructionText(
            "".join(opcode.split()), match["operands"].strip(), match["guard"], bool(match["negated"])
        )
    if match["loc"]:
        numbers = [match["file"], match["line"], match["column"], *(match["at"] or "").split()]
        values = [natural(number) for number in numbers]
        if max(values) > LARGEST:
            raise not_understood(text, match.start("loc"))
        caller = (values[3], values[4], values[5]) if len(values) > 3 else None
        return Loc((values[0], values[1], values[2]), caller)
    if match["label"]:
        return LabelText(match["label"])
    if match["directive"]:
        return Directive(match["directive"])
    return Brace(opens=bool(match["open"]))


def natural(text: str) -> int:
    """An INTEGER; digits after a leading 0 are octal. Raises PtxError."""
    base = {"0x": 16, "0b": 2}.get(text[:2].lower(), 8 if text[0] == "0" else 10)
    try:
        return int(text, base)
    except ValueError:  # a digit that the base does not have, or thousands of digits
        raise PtxError(f"not an integer: {text[:60]!r}") from None


def not_understood(text: str, at: int) -> PtxError:
    at += len(text[at:]) - len(text[at:].lstrip())
    line = text.count("\n", 0, at) + 1
    return PtxError(f"PTX line {line}: not understood: {text[at : at + 60].strip()!r}")

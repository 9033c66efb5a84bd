"""Diagnostics as findings: at the student's own line, in plain words, without content of other files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from grader.compile import brackets, entries, recipe, toolkit
from grader.compile.diagnostics import FRAME, PTXAS, Diagnostic
from grader.compile.directives import Include
from grader.compile.includes import line_leading_to
from grader.compile.remedies import Place, advise
from grader.model.details import Role
from grader.model.result import Finding, Related

MAX_FINDINGS = 50
MAX_MESSAGE = 400
MAX_NOTES = 8
MAX_WORDS = 3
MAX_GUESSES = 10  # of what was meant; what comes later follows from the first
MAX_LOG_LINE = 200
MAX_LOG = 200_000

# CCCL's headers define again what our stand-in for math.h defines (INFINITY, NAN).
REDEFINED = "incompatible redefinition of macro"

# Details, of which the first is the effect of the second.
MISREAD = 'attribute "…" does not apply here'
UNDEFINED = 'identifier "…" is undefined'

# Details that tell of a brace, and of what follows from one.
OF_BRACES = (
    "linkage specification is not allowed",
    'at the end of the file: expected a "…"',
    "expected a declaration",
    "closing brace of template definition not found",
    'this declaration may not have extern "C" linkage',
)
AFTER_BRACES = ('expected a "…"', "expected a statement")

UNFINISHED = 'a ";" is missing at the end of this line'
_ENDS = re.compile(r"[\w)\]\"'}]$")  # what may stand before a semicolon
_MACRO = re.compile(r"[ \t]*#[ \t]*define[ \t]+(?P<name>\w+)[ \t]+(?:(?P<equals>=)|[^;\n]*;[ \t]*(?://.*)?$)")

_QUOTED = re.compile(r'"[^"]*"')
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*|\(")  # a lambda is named by the bracket of its parameters


class Reader:
    """Turns a submission's diagnostics into findings. `text` and `includes` are the submission's."""

    def __init__(self, text: str, includes: Iterable[Include], ptx: str = "") -> None:
        self.text, self.includes, self.ptx = text, tuple(includes), ptx
        self.lines = text.split("\n")
        self._guesses = MAX_GUESSES

    def findings(self, diagnostics: Iterable[Diagnostic]) -> tuple[Finding, ...]:
        """Merges equal findings: a wrong header would give the same one for each of its lines."""
        found: dict[tuple[str, int, str], Finding] = {}
        for diagnostic in diagnostics:
            finding = self._finding(diagnostic)
            if finding is None:
                continue
            in_header = diagnostic.file not in ("", PTXAS, recipe.SOURCE_NAME)
            same = diagnostic.file if in_header else f"{finding.column} {finding.message}"
            key = (finding.kind, finding.line, same)
            known = found.get(key)
            found[key] = msgspec.structs.replace(known, count=known.count + 1) if known else finding
        return self._causes_first(_without_fallout(tuple(found.values())))[:MAX_FINDINGS]

    def _causes_first(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """What the compiler does not name itself: a missing brace, or a macro with too much in it."""
        errors = [finding for finding in findings if finding.kind == "compile-error"]
        if not errors:
            return findings
        if any(finding.detail in OF_BRACES for finding in errors) and (brace := brackets.guilty(self.text)):
            rest = tuple(f for f in findings if f.detail not in (*OF_BRACES, *AFTER_BRACES) or f.line < brace.line)
            return (_noticed(_finding("compile-error", brace.line, brace.message), errors[0].line), *rest)
        return (*self._macros(errors), *findings)

    def _macros(self, errors: Sequence[Finding]) -> Iterator[Finding]:
        """`#define TILE = 16` and `#define TILE 16;`, where something is wrong with a line that uses it."""
        used = " ".join(self._line(finding.line) for finding in errors)
        for number, line in enumerate(self.lines, start=1):
            macro = _MACRO.match(line)
            if macro and re.search(rf"\b{macro['name']}\b", used):
                odd = "=" if macro["equals"] else ";"
                message = f'the "{odd}" becomes part of {macro["name"]} wherever the macro is used: remove it'
                yield _finding("compile-error", number, message)

    def _finding(self, diagnostic: Diagnostic) -> Finding | None:
        if diagnostic.severity == "remark" or "assembly aborted due to errors" in diagnostic.message:
            return None
        kind = f"compile-{diagnostic.severity}"
        if diagnostic.file == PTXAS:
            return self._from_ptxas(kind, diagnostic)
        if diagnostic.file == "":
            last = self.text.rstrip().count("\n") + 1
            message = f"at the end of the file: {diagnostic.message}"
            return _finding(kind, last, message, 0, _details(diagnostic), _frames(diagnostic))
        if diagnostic.file == recipe.SOURCE_NAME:
            return self._in_submission(kind, diagnostic)
        if not is_allowed(diagnostic.file):
            message = "this includes a file from outside the include folders"
            return _finding("compile-error", self._first_frame(diagnostic), message)
        return self._in_header(kind, diagnostic)

    def _in_submission(self, kind: str, diagnostic: Diagnostic) -> Finding:
        column = self._column(diagnostic)
        if end := self._unfinished(diagnostic, column):
            found = _finding(kind, end, UNFINISHED, 0, _details(diagnostic), _frames(diagnostic))
            return _noticed(found, diagnostic.line)
        self._guesses -= 1
        text = self.text if self._guesses >= 0 else ""
        at = Place(self._identifier(diagnostic.line, column), self._line(diagnostic.line), text)
        advice = advise(diagnostic.message, at)
        notes = [advice.note, *_details(diagnostic)]
        return _finding(
            kind, diagnostic.line, advice.message or diagnostic.message, column, notes, _frames(diagnostic)
        )

    def _unfinished(self, diagnostic: Diagnostic, column: int) -> int:
        """The line that lacks its semicolon, where the compiler names the first word of the next; 0 if none does."""
        line = self._line(diagnostic.line)
        if not column or line[: column - 1].strip():
            return 0
        end = diagnostic.line - 1
        while end and not _without_comment(self._line(end)):
            end -= 1
        code = _without_comment(self._line(end))
        lacks = diagnostic.message.startswith(('expected a ";"', "expected an expression")) and _ENDS.search(code)
        return end if lacks else 0

    def _in_header(self, kind: str, diagnostic: Diagnostic) -> Finding | None:
        line = self._first_frame(diagnostic) or line_leading_to(toolkit.display_name(diagnostic.file), self.includes)
        if kind == "compile-warning" and (line == 0 or diagnostic.message.startswith(REDEFINED)):
            return None  # internal to NVIDIA's headers
        advice = advise(diagnostic.message)
        notes = [_in_header(diagnostic), advice.note, *_details(diagnostic)]
        return _finding(kind, line, advice.message or diagnostic.message, 0, notes, _frames(diagnostic))

    def _from_ptxas(self, kind: str, diagnostic: Diagnostic) -> Finding:
        kernel = re.search(r"'([\w$]+)'", diagnostic.message)
        line = self._line_of_ptx(diagnostic.line) or (entries.line_of(kernel[1], self.text) if kernel else 0)
        advice = advise(diagnostic.message)
        return _finding(kind, line, advice.message or f"ptxas: {diagnostic.message}", 0, [advice.note])

    def _line_of_ptx(self, ptx_line: int) -> int:
        """The line of the submission that the instruction in that PTX line comes from (inline assembly)."""
        files = re.findall(rf'\.file\s+(\d+)\s+"{re.escape(recipe.SOURCE_NAME)}"', self.ptx)
        for line in reversed(self.ptx.split("\n")[:ptx_line]):
            match = re.match(r"\s*\.loc\s+(\d+)\s+([1-9]\d{0,8})\b", line)
            if match and match[1] in files:
                return int(match[2])
        return 0

    def _first_frame(self, diagnostic: Diagnostic) -> int:
        return next(iter(_frames(diagnostic)), 0)

    def _column(self, diagnostic: Diagnostic) -> int:
        """In characters, whereas the compiler counts bytes."""
        if not diagnostic.column or not 0 < diagnostic.line <= len(self.lines):
            return 0
        before = self.lines[diagnostic.line - 1].encode()[: diagnostic.column - 1]
        return len(before.decode(errors="ignore")) + 1

    def _line(self, line: int) -> str:
        return self.lines[line - 1] if 0 < line <= len(self.lines) else ""

    def _identifier(self, line: int, column: int) -> str:
        if not column or not 0 < line <= len(self.lines):
            return ""
        match = _IDENTIFIER.match(self.lines[line - 1], column - 1)
        return match.group() if match else ""


def _without_comment(line: str) -> str:
    return line.partition("//")[0].strip()


def is_allowed(file: str) -> bool:
    """Whether the compiler may read this file, so that its messages may be shown."""
    if file in recipe.headers():
        return True
    path = Path(os.path.normpath(file))
    return any(path.is_relative_to(folder) for folder in toolkit.include_folders())


def log(findings: Iterable[Finding], raw: str, text: str) -> str:
    """A rewritten compiler log: findings with the student's own lines, then ptxas's counts.

    Never the original log, which quotes any file that the compiler was made to read.
    """
    lines = text.split("\n")
    parts = []
    for finding in findings:
        place = f"{finding.file}({finding.line})" if finding.line else finding.file
        parts.append(f"{place}: {finding.kind.removeprefix('compile-')}: {finding.message}")
        if 0 < finding.line <= len(lines):
            parts.append(f"  {lines[finding.line - 1][:MAX_LOG_LINE]}")
            if 0 < finding.column <= MAX_LOG_LINE:
                parts.append(" " * (finding.column + 1) + "^")
        parts += [f"    {note}" for note in finding.notes]
    parts += [line[:MAX_LOG_LINE] for line in raw.split("\n") if line.startswith("ptxas ")]
    return "\n".join(parts)[:MAX_LOG]


def _finding(
    kind: str, line: int, message: str, column: int = 0, notes: Iterable[str] = (), frames: Sequence[int] = ()
) -> Finding:
    """`detail` is the message without the names that it quotes: the same for all errors of that sort."""
    said = _readable(message)
    return Finding(
        kind,
        recipe.SOURCE_NAME,
        line,
        said,
        column=column,
        notes=tuple(_readable(note) for note in notes if note)[:MAX_NOTES],
        detail=_QUOTED.sub('"…"', said),
        related=tuple(Related(Role.INSTANTIATION, at) for at in frames[:MAX_NOTES]),
    )


def _noticed(finding: Finding, line: int) -> Finding:
    """The finding, and where the compiler stopped because of it."""
    notes = (f"noticed on line {line}", *finding.notes)[:MAX_NOTES]
    return msgspec.structs.replace(finding, notes=notes, related=(*finding.related, Related(Role.NOTICED, line)))


def _without_fallout(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """If the first parameter has an unknown type, the compiler misreads the whole function."""
    misread = {f.line for f in findings if f.detail == MISREAD}
    causes = [f for f in findings if f.line in misread and f.detail == UNDEFINED]
    known = {f.line: f for f in reversed(causes)}
    return tuple(f for f in findings if f.line not in known or f is known[f.line])


def _details(diagnostic: Diagnostic) -> list[str]:
    """Further lines of the diagnostic; of a template's instantiation places, only the submission's own."""
    words = [
        line
        for line in diagnostic.details
        if line.startswith("note:") or not (FRAME.search(line) or line.startswith("detected during"))
    ]
    return [*words[:MAX_WORDS], *(f"instantiated from line {line}" for line in _frames(diagnostic))]


def _frames(diagnostic: Diagnostic) -> list[int]:
    """The submission's lines that a template was instantiated from, innermost first."""
    return [line for file, line in diagnostic.frames() if file == recipe.SOURCE_NAME]


def _in_header(diagnostic: Diagnostic) -> str:
    return f"in {toolkit.display_name(diagnostic.file)}:{diagnostic.line}"


def _readable(message: str) -> str:
    """Without the compiler's own file names: the submission's is left out, headers lose their folder."""
    message = message.replace(f" of {recipe.SOURCE_NAME}", "")
    for folder in reversed(toolkit.include_folders()):
        message = message.replace(f"{folder}/", "")
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"

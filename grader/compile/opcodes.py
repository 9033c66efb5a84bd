"""The PTX instructions a submission compiles to, for exercises that forbid some.

Reads only the text, without knowing any instructions, so it also finds those that the CPU engine does not support.
"""

from __future__ import annotations

import re

_FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', re.M)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
# A position, with the call that it was inlined at; or an instruction after labels and a guard. Only those with a
# modifier are kept, since types and roundings are modifiers.
_STEP = re.compile(
    r"\.loc\s+(?P<at>\d+\s+\d+\s+\d+)(?:\s*,\s*function_name\s+[^,]+,\s*inlined_at\s+(?P<caller>\d+\s+\d+\s+\d+))?"
    r"|(?:^|[;{}:])\s*(?:@!?\s*[%\w$]+\s+)?(?P<opcode>[a-z]\w*(?:(?:\.|::)\w+)+)(?=[\s{;])",
    re.M,
)


def used(ptx: str, source_name: str) -> dict[str, int]:
    """Each opcode with the first line of `source_name` that it comes from; 0 if it comes from none."""
    own = {number for number, name in _FILE.findall(ptx) if name == source_name}
    inlined_at: dict[str, str] = {}
    found: dict[str, int] = {}
    line = 0
    for step in _STEP.finditer(_COMMENT.sub(" ", ptx)):
        opcode = step["opcode"]
        if opcode is None:
            at = " ".join(step["at"].split())
            if step["caller"]:
                inlined_at[at] = " ".join(step["caller"].split())
            line = _line(at, own, inlined_at)
        elif not found.get(opcode):
            found[opcode] = line
    return found


def _line(at: str, own: set[str], inlined_at: dict[str, str]) -> int:
    """The line in the submission itself, if one of the calls around a header's code is there."""
    seen = set()
    while at not in seen:
        seen.add(at)
        file, line, _ = at.split()
        if file in own:
            return int(line)
        at = inlined_at.get(at, at)
    return 0

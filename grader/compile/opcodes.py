"""The PTX instructions a submission compiles to, for exercises that forbid some.

Reads the text as the assembler does, without knowing any instructions, so it also finds those that the CPU engine
does not support.
"""

from __future__ import annotations

from grader.ptx.parsing import statements
from grader.ptx.parsing.statements import InstructionText, Loc

Place = tuple[int, int, int]


def used(ptx: str, source_name: str) -> dict[str, int]:
    """Each opcode with the first line of `source_name` that it comes from; 0 if it comes from none.

    Only those with a modifier are listed, since types and roundings are modifiers. Raises PtxError.
    """
    text = statements.without_comments(ptx)
    own = {number for number, name in statements.files(text).items() if name == source_name}
    inlined_at: dict[Place, Place] = {}
    found: dict[str, int] = {}
    line = 0
    for statement in statements.of_all_functions(text):
        if isinstance(statement, Loc):
            if statement.caller:
                inlined_at[statement.at] = statement.caller
            line = _line(statement.at, own, inlined_at)
        elif isinstance(statement, InstructionText) and "." in statement.opcode and not found.get(statement.opcode):
            found[statement.opcode] = line
    return found


def _line(at: Place, own: set[int], inlined_at: dict[Place, Place]) -> int:
    """The line in the submission itself, if one of the calls around a header's code is there."""
    seen = set()
    while at not in seen:
        seen.add(at)
        if at[0] in own:
            return at[1]
        at = inlined_at.get(at, at)
    return 0

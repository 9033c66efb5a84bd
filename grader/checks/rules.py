"""rules: nothing that the exercise forbids. What shows only while it runs, `memory` finds."""

from __future__ import annotations

from fnmatch import fnmatchcase

from grader.model.execution import Compilation
from grader.model.exercise import Exercise
from grader.model.families import RULES
from grader.model.result import Check, Finding, Status


def judge(exercise: Exercise, compilation: Compilation, filename: str) -> Check:
    """Looks at the compiled code: no macro, header or inline assembly hides an instruction there."""
    if compilation.unread and exercise.forbidden:
        return Check(RULES.id(), Status.NOT_JUDGED, reason=f"the compiled code cannot be read: {compilation.unread}")
    findings = tuple(
        Finding("forbidden-instruction", filename, line, f"{opcode}: {rule.message}")
        for rule in exercise.forbidden
        for opcode, line in compilation.opcodes.items()
        if fnmatchcase(opcode, rule.instruction)
    )
    if findings:
        return Check(RULES.id(), Status.FAILED, findings[0].message, findings=findings)
    return Check(RULES.id(), Status.PASSED, "nothing forbidden is used")

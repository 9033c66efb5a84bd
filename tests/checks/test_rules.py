from __future__ import annotations

from pathlib import Path

import msgspec

from grader.checks import rules
from grader.exercise import catalog
from grader.model.execution import Compilation
from grader.model.exercise import Forbidden
from grader.model.result import Status
from tests.fakes import write_exercise

USED = Compilation(ok=True, opcodes={"cvt.rn.satfinite.e4m3x2.f32": 12, "cvt.rn.f32.s32": 3})


def test_a_forbidden_instruction_fails_at_its_line(tmp_path: Path) -> None:
    exercise = catalog.read(write_exercise(tmp_path / "01_x"))
    by_hand = msgspec.structs.replace(exercise, forbidden=(Forbidden("cvt*e4m3*", "do it by hand"),))
    check = rules.judge(by_hand, USED, "starter.cu")
    (finding,) = check.findings
    assert (check.status, finding.kind, finding.line) == (Status.FAILED, "forbidden-instruction", 12)
    assert finding.message == "cvt.rn.satfinite.e4m3x2.f32: do it by hand"
    assert rules.judge(exercise, USED, "starter.cu").status is Status.PASSED

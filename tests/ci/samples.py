"""Results to tell about."""

from __future__ import annotations

from grader.ci.graded import GradedFile
from grader.model.measurements import read
from grader.model.result import Check, Finding, Points, Result, Status, Submission, Verdict, verdict_of

RACE = Finding("race", "starter.cu", 6, "two threads: 50% of them, no barrier", notes=("the other is at line 5",))
EVIL = "|x|\n::error file=a::b\r\n</pre><script>alert(1)</script> **bold** [l](http://e) `t` @all \x1b[31m \ud800 ‮ ￾"

COMPILED = Check("compile", Status.PASSED, "compiled double_kernel", measurements=read({"seconds": 0.25}))
RACY = Check("memory[even]", Status.FAILED, RACE.message, case="even", device="cpu", findings=(RACE,))
UNTRIED = Check("correct[even]", Status.SKIPPED, reason="memory[even] failed", case="even")
BROKEN = Check("correct[odd]", Status.ERROR, "the child process died", case="odd")
UNTIMED = Check("speed[even]", Status.NOT_JUDGED, "needs an NVIDIA GPU", reason="no NVIDIA GPU", case="even")
FAST = Check(
    "speed[odd]", Status.PASSED, "1.50 of its speed", case="odd", measurements=read({"ratio": 1.5, "time_us": 9.0})
)
UNTIDY = Check("quality", Status.FAILED, "a tab on line 3", required=False)


def result_of(*checks: Check, path: str = "exercises/01_double/starter.cu") -> Result:
    return Result(
        schema=1,
        exercise="01_double",
        submission=Submission(path, "0" * 64),
        verdict=verdict_of(checks),
        points=Points(0.0, None, 4.0, None, 4.0, 100.0),
        seed=7,
        machine={},
        checks=checks,
    )


def graded(*checks: Check, path: str = "exercises/01_double/starter.cu", text: str = "as shown\n") -> GradedFile:
    result = result_of(*checks, path=path)
    return GradedFile(path, result.verdict, result, text=text)


def failing(message: str, line: int = 6, file: str = "starter.cu") -> Check:
    finding = Finding("out-of-bounds", file, line, message)
    return Check(f"memory[case-{line}]", Status.FAILED, message, case=f"case-{line}", findings=(finding,))


NOT_GRADED = GradedFile("exercises/09_new/starter.cu", Verdict.INCOMPLETE, problem="The base has no exercise 09_new.")
CRASHED = GradedFile("exercises/02_b/starter.cu", Verdict.ERROR, problem="oracle.py:3: ZeroDivisionError")

"""speed[CASE]: at least the exercise's share of cuBLAS's speed. Judged where there is an NVIDIA GPU."""

from __future__ import annotations

from grader.model.exercise import Case, Exercise
from grader.model.result import Check, Status

NAME = "speed"

NO_GPU = "no NVIDIA GPU"


def identity(case: Case) -> str:
    return f"{NAME}[{case.name}]"


def not_judged(exercise: Exercise, case: Case) -> Check:
    """Numbers from a CPU say nothing about the kernel's speed on a GPU."""
    return Check(
        id=identity(case),
        status=Status.NOT_JUDGED,
        reason=NO_GPU,
        message=f"needs an NVIDIA GPU: at least {exercise.threshold:.0%} of cuBLAS",
        case=case.name,
    )

"""An exercise's starter.cu as it came, before the student wrote in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from grader import files
from grader.exercise import catalog
from grader.model.exercise import Exercise

OWN = ".grade"  # next to `exercises/`, in a student's own repository
MAX_BYTES = 1 << 20


def file(exercise: Exercise) -> Path | None:
    """Where grade start put it; otherwise in the exercise installed with the grader; None if it is nowhere else."""
    folder = exercise.folder.resolve()
    if found := kept(exercise):
        return found
    for shipped in (catalog.INSTALLED, catalog.BESIDE):
        found = shipped / exercise.name / exercise.starter.name
        if found.is_file() and found.parent.resolve() != folder:
            return found
    return None


def kept(exercise: Exercise) -> Path | None:
    """Where grade start put it; None outside a student's folder."""
    folder = exercise.folder.resolve()
    started = folder.parent.parent / OWN / "originals" / exercise.name / exercise.starter.name
    return started if started.is_file() else None


def solution(exercise: Exercise) -> Path:
    """The exercise's own, or the one installed with the grader: grade start copies none."""
    own = exercise.folder / "solution.cu"
    shipped = (folder / exercise.name / own.name for folder in (catalog.INSTALLED, catalog.BESIDE))
    return own if own.is_file() else next((found for found in shipped if found.is_file()), own)


def text(exercise: Exercise, submission: Path) -> str | None:
    """None if there is none, or if the submission may be the only copy of it."""
    found = file(exercise) or exercise.starter
    try:
        content = files.read(found, MAX_BYTES)
    except OSError:
        return None
    may_be_edited = files.real(found) == files.real(submission)
    if may_be_edited and hashlib.sha256(content).hexdigest() != exercise.starter_sha256:
        return None
    return content.decode("utf-8-sig", errors="replace")

"""What a grading depends on. If none of it changed, a submission is not graded again."""

from __future__ import annotations

import hashlib
from fnmatch import fnmatch
from pathlib import Path

import msgspec

import grader
from grader import files
from grader.errors import GraderError
from grader.exercise.secret import Secret
from grader.model.exercise import Exercise

MAX_BYTES = 256 << 20  # for one file of an exercise, including tables of values

# Files of an exercise that no grade depends on: editing problem.md does not regrade the class.
NOT_GRADED_BY = ("problem.md", "starter.cu", "solution*.cu", "test.py", "wrong", "__pycache__")


class Conditions(msgspec.Struct, frozen=True):
    """What is the same for every submission of a batch."""

    exercise: str
    exercise_hash: str
    seed: int
    device: str  # "cpu" or "cuda"
    secret_hash: str = ""  # "" without secret cases
    grader: str = grader.__version__

    def key(self, sha256: str) -> str:
        """A grading's name in the ledger."""
        return hashlib.sha256(msgspec.json.encode((sha256, *msgspec.structs.astuple(self)))).hexdigest()


def conditions(exercise: Exercise, *, seed: int, device: str, secret: Secret | None) -> Conditions:
    return Conditions(exercise.name, exercise_hash(exercise.folder), seed, device, secret_hash(secret))


def exercise_hash(folder: Path) -> str:
    """Hash of exercise.toml, oracle.py and all other files there that a grade may depend on."""
    digest = hashlib.sha256()
    try:
        for file in sorted(_files(folder)):
            for part in (
                file.relative_to(folder).as_posix().encode(errors="surrogateescape"),
                files.read(file, MAX_BYTES),
            ):
                digest.update(len(part).to_bytes(8, "little") + part)
    except OSError as error:
        raise GraderError(f"{error.filename}: {error.strerror}") from None
    return digest.hexdigest()


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each of these files, by its path in `folder`, to be compared with another copy of the exercise."""
    try:
        return {
            file.relative_to(folder).as_posix().encode(errors="replace").decode(): file_hash(file)
            for file in sorted(_files(folder))
        }
    except OSError as error:
        raise GraderError(f"{error.filename}: {error.strerror}") from None


def file_hash(file: Path) -> str:
    """Raises OSError."""
    return hashlib.sha256(files.read(file, MAX_BYTES)).hexdigest()


def secret_hash(secret: Secret | None) -> str:
    return hashlib.sha256(msgspec.json.encode(secret)).hexdigest() if secret else ""


def _files(folder: Path) -> list[Path]:
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        of_no_grade = any(fnmatch(parts[0], pattern) for pattern in NOT_GRADED_BY)
        if path.is_file() and not of_no_grade and not any(_is_litter(part) for part in parts):
            found.append(path)
    return found


def _is_litter(name: str) -> bool:
    """Files left behind by editors, systems and Python."""
    return name.startswith(".") or name == "__pycache__" or name.endswith(("~", ".pyc"))

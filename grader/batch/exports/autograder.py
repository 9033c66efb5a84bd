"""The zip from which Gradescope builds an autograder.

https://gradescope-autograders.readthedocs.io/en/latest/specs/: setup.sh runs once, as root, when the image is built;
run_autograder grades /autograder/submission and writes /autograder/results/results.json. The zip is unpacked to
/autograder/source.
"""

from __future__ import annotations

import shlex
from fnmatch import fnmatch
from pathlib import Path

from grader.batch.exports import wheel
from grader.errors import GraderError
from grader.model.exercise import Exercise

# Not needed for grading, and a student's container should not contain it.
LEFT_OUT = ("solution*.cu", "wrong", "__pycache__")

EXERCISES, SECRET, OPTIONS = "exercises", "secret", "options.txt"


def build(exercise: Exercise, *, seed: int | None = None, secret: Path | None = None) -> bytes:
    """Grader, exercise and scripts. Raises GraderError if a file cannot be read."""
    try:
        files = _files(exercise, seed, secret)
    except OSError as error:
        raise GraderError(f"{error.filename}: {error.strerror}") from None
    return wheel.zipped(files, executable=frozenset({"setup.sh", "run_autograder"}))


def _files(exercise: Exercise, seed: int | None, secret: Path | None) -> dict[str, bytes]:
    setup = SETUP.replace("WHEEL", wheel.NAME).encode()
    return {"setup.sh": setup, "run_autograder": RUN.encode(), **packed(exercise, seed, secret)}


def packed(exercise: Exercise, seed: int | None = None, secret: Path | None = None) -> dict[str, bytes]:
    """By name: what `unattended` grades with, and the grader itself. Raises OSError if a file cannot be read."""
    options = [exercise.name, *([] if seed is None else ["--seed", str(seed)])]
    files = {wheel.NAME: wheel.build(), "constraints.txt": wheel.constraints().encode()}
    for file in sorted(exercise.folder.rglob("*")):
        place = file.relative_to(exercise.folder)
        if file.is_file() and not any(fnmatch(part, pattern) for part in place.parts for pattern in LEFT_OUT):
            files[f"{EXERCISES}/{exercise.name}/{place.as_posix()}"] = file.read_bytes()
    if secret is not None:
        name = f"{SECRET}{secret.suffix.lower()}"
        files[name] = secret.read_bytes()
        options += ["--secret", name]
    files[OPTIONS] = (shlex.join(options) + "\n").encode()
    return files


SETUP = r"""#!/usr/bin/env bash
# Installs the grader into this image. AUTOGRADER is set only to try this elsewhere.
set -euo pipefail
home="${AUTOGRADER:-/autograder}"

usable() {
    command -v "$1" >/dev/null &&
        "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

pick() {
    for candidate in python3.13 python3.12 python3.11 python3; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

python="$(pick)"
if [ -z "$python" ]; then
    apt-get update
    for version in 3.12 3.11; do
        if apt-get install -y "python$version" "python$version-venv"; then
            break
        fi
    done
    python="$(pick)"
fi
if [ -z "$python" ]; then
    echo "No Python 3.11 or newer: choose a newer Ubuntu in the autograder's settings." >&2
    exit 1
fi

"$python" -m venv "$home/grader"
"$home/grader/bin/pip" install --no-cache-dir -c "$home/source/constraints.txt" "$home/source/WHEEL"
"$home/grader/bin/grade" list --exercises "$home/source/exercises"
"""

RUN = r"""#!/usr/bin/env bash
# Grades submission/, writes results/results.json. AUTOGRADER is set only to try this elsewhere.
home="${AUTOGRADER:-/autograder}"
exec "$home/grader/bin/python" -I -m grader.batch.exports.run_autograder "$home"
"""

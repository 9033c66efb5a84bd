"""Finds exercises: every exercises/NN_name/exercise.toml. Nothing else lists them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from grader.errors import GraderError, UsageError
from grader.model.exercise import Exercise, Forbidden, Kernel, QualityRule

# Where a wheel carries the exercises; a checkout has them beside the package.
INSTALLED = Path(__file__).parent / "_exercises"
BESIDE = Path(__file__).parent.parent / "exercises"

# What speed can be measured against: routes of cuBLAS to a grouped GEMM, the fastest of them, or a device copy.
BASELINES = ("fastest", "grouped", "sequential", "streams", "strided", "single_matrix", "copy")


def exercises_folder(given: Path | None = None, start: Path | None = None) -> Path:
    """`given`, else the nearest `exercises/` from `start` (or here) upwards, else the installed ones."""
    if given is not None:
        if not given.is_dir():
            raise UsageError(f"no such folder: {given}")
        if not _files(given):
            raise UsageError(f"no exercises in {given}: an exercise is a folder that holds an exercise.toml")
        return given
    here = (start or Path.cwd()).resolve()
    for folder in (*(p / "exercises" for p in (here, *here.parents)), INSTALLED, BESIDE):
        if folder.is_dir() and _files(folder):
            return folder
    raise UsageError("no exercises/ folder from here upwards; name one with --exercises DIR")


def find(wanted: str, folder: Path) -> Exercise:
    """An exercise by number or name: "1", "01" and "01_simple_grouped_gemm" are the same."""
    names = [file.parent.name for file in _files(folder)]
    matches = [name for name in names if _matches(wanted, name)]
    if len(matches) == 1:
        return read(folder / matches[0])
    what = "is more than one exercise" if matches else "is no exercise"
    raise UsageError(f"{wanted!r} {what} in {folder}; there {_are(matches or names)}")


def every(folder: Path) -> tuple[Exercise, ...]:
    return tuple(read(file.parent) for file in _files(folder))


def read(folder: Path) -> Exercise:
    """The exercise in `folder`. Raises GraderError, which names the file and what is wrong in it."""
    file = folder / "exercise.toml"
    try:
        content = msgspec.toml.decode(file.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GraderError(f"{file}: {error}") from None
    problem = _problem(content)
    if problem:
        raise GraderError(f"{file}: {problem}")
    return Exercise(
        name=folder.resolve().name,
        title=content.title,
        folder=folder,
        kernels=content.kernels,
        points={
            "correctness": content.points.correctness,
            "performance": content.points.performance,
            "quality": content.points.quality,
        },
        baseline=content.baseline,
        threshold=content.threshold,
        objectives=content.objectives,
        cases=content.cases,
        tolerance=content.tolerance,
        quality=content.quality,
        speed_cases=content.speed_cases or content.cases,
        forbidden=content.forbidden,
        judge_source=content.judge_source,
        best_known_us=content.best_known_us,
    )


class _Points(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    correctness: int
    performance: int
    quality: int


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """exercise.toml, as exercises/README.md documents it."""

    title: str
    objectives: tuple[str, ...]
    cases: tuple[str, ...]
    tolerance: float
    baseline: str
    threshold: float
    points: _Points
    quality: tuple[QualityRule, ...]
    kernels: tuple[Kernel, ...]
    speed_cases: tuple[str, ...] = ()
    forbidden: tuple[Forbidden, ...] = ()
    judge_source: str = ""
    best_known_us: dict[str, dict[str, float]] = {}


def _problem(content: _File) -> str | None:
    """What the types cannot say about an exercise.toml."""
    if not content.kernels:
        return "names no [[kernels]]"
    for kernel in content.kernels:
        if not kernel.name.endswith("_kernel"):
            return f"kernel {kernel.name!r}: a kernel's name ends in _kernel"
        if kernel.judge and not content.judge_source:
            return f"kernel {kernel.name!r} names a judge, and there is no judge_source"
    if not content.cases:
        return "names no required cases"
    if content.baseline not in BASELINES:
        return f"baseline {content.baseline!r} is none of {', '.join(BASELINES)}"
    given = sum(rule.points for rule in content.quality)
    if given > content.points.quality:
        return f"quality rules give {given:g} points, more than the {content.points.quality} of points.quality"
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/exercise.toml"))


def _matches(wanted: str, name: str) -> bool:
    number = name.split("_", 1)[0]
    same_number = wanted.isdecimal() and number.isdecimal() and wanted.lstrip("0") == number.lstrip("0")
    return same_number or wanted == name


def _are(names: list[str]) -> str:
    return f"is {names[0]}" if len(names) == 1 else f"are {', '.join(names)}"

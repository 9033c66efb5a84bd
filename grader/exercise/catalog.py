"""Finds exercises: every exercises/NN_name/exercise.toml. Nothing else lists them."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec

from grader import files
from grader.errors import ExerciseError, UsageError
from grader.model.exercise import Exercise, Forbidden, Kernel, QualityRule

# Where a wheel carries the exercises; a checkout has them beside the package.
INSTALLED = Path(__file__).parents[1] / "_exercises"
BESIDE = Path(__file__).parents[2] / "exercises"

MAX_BYTES = 1 << 20  # of an exercise.toml, which has some kilobytes

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
    return read(locate(wanted, folder))


def locate(wanted: str, folder: Path) -> Path:
    """The folder of that exercise, read or not. Raises UsageError where there is none."""
    names = [file.parent.name for file in _files(folder)]
    matches = [name for name in names if _matches(wanted, name)]
    if len(matches) == 1:
        return folder / matches[0]
    what = "is more than one exercise" if matches else "is no exercise"
    a_path = "/" in wanted or wanted.endswith(".cu")
    step = ". Name the exercise first, as 1 or 01, then the file" if a_path else ""
    raise UsageError(f"{wanted!r} {what} in {folder}; there {_are(matches or names)}{step}")


def folders(folder: Path) -> list[Path]:
    """Of all exercises, read or not."""
    return [file.parent for file in _files(folder)]


def every(folder: Path) -> tuple[Exercise, ...]:
    """Raises ExerciseError where one of them is broken."""
    return tuple(map(read, folders(folder)))


def sound(folder: Path, tell: Callable[[str], None]) -> tuple[Exercise, ...]:
    """Those that can be read; what is wrong with each of the others is told."""
    found = []
    for place in folders(folder):
        try:
            found.append(read(place))
        except ExerciseError as error:
            tell(str(error))
    return tuple(found)


def read(folder: Path) -> Exercise:
    """The exercise in `folder`. Raises ExerciseError, which names the file, the line and what is wrong there."""
    file = folder / "exercise.toml"
    try:
        text = files.read(file, MAX_BYTES).decode("utf-8-sig")
        content = msgspec.toml.decode(text, type=_File)
        _check(content)
    except OSError as error:
        raise ExerciseError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ExerciseError(f"{file}: is not UTF-8 text") from None
    except RecursionError:
        raise ExerciseError(f"{file}: is nested deeper than any exercise") from None
    except msgspec.DecodeError as error:
        raise ExerciseError(_located(file, text, str(error))) from None
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


def _check(content: _File) -> None:
    """What the types cannot say about an exercise.toml. Raises ValidationError, worded as msgspec words it."""
    if not content.kernels:
        raise _invalid("names no [[kernels]]")
    for index, kernel in enumerate(content.kernels):
        if not kernel.name.endswith("_kernel"):
            raise _invalid(f"kernel {kernel.name!r}: a kernel's name ends in _kernel", f"kernels[{index}].name")
        if kernel.judge and not content.judge_source:
            raise _invalid(
                f"kernel {kernel.name!r} names a judge, and there is no judge_source", f"kernels[{index}].judge"
            )
    if not content.cases:
        raise _invalid("names no required cases", "cases")
    if content.baseline not in BASELINES:
        raise _invalid(f"baseline {content.baseline!r} is none of {', '.join(BASELINES)}", "baseline")
    given = sum(rule.points for rule in content.quality)
    if given > content.points.quality:
        raise _invalid(
            f"quality rules give {given:g} points, more than the {content.points.quality} of points.quality",
            "points.quality",
        )


def _invalid(what: str, key: str = "") -> msgspec.ValidationError:
    return msgspec.ValidationError(f"{what} - at `$.{key}`" if key else what)


def _located(file: Path, text: str, said: str) -> str:
    """ "exercise.toml:7: Expected `float`, got `str` (tolerance)": with the line, where there is one."""
    if at := _AT_LINE.search(said):
        line = at[1] or text.rstrip().count("\n") + 1
        return f"{file}:{line}: {said[: at.start()].rstrip()}, {at[2] or 'at the end'}"
    at = _AT_KEY.search(said)
    what, keys = (said[: at.start()], at[1]) if at else (said, "")
    unknown = _UNKNOWN.search(what)
    line = _line(text, ".".join(filter(None, [keys, unknown[1] if unknown else ""])))
    return f"{file}{f':{line}' if line else ''}: {what}{f' ({keys})' if keys not in what else ''}"


# In what tomllib and msgspec say.
_AT_LINE = re.compile(r"\(at (?:line (\d+), (column \d+)|end of document)\)")
_AT_KEY = re.compile(r" - at `\$\.(.+)`$")
_UNKNOWN = re.compile(r"unknown field `(.+)`")
_TABLES = re.compile(r"\s*\[\s*\{")  # in a list: [{ name = "x" }, { name = "y" }]


def _line(text: str, keys: str) -> int:
    """Where "kernels[1].parameters[0].ctype" stands, as far as its keys are there; 0 where none is."""
    place = 0
    for name, index in re.findall(r"([^.\[\]]+)(?:\[(\d+)\])?", keys):
        word = rf"[\"']?{re.escape(name)}[\"']?"
        header = re.compile(rf"^\s*\[\[\s*{word}\s*\]\]", re.MULTILINE)
        key = re.compile(rf"(?:^|[{{,\[])\s*{word}\s*[=.\]]", re.MULTILINE)
        nth = next(islice(header.finditer(text, place), int(index), None), None) if index else None
        found = nth or key.search(text, place)
        if found is None:
            break
        place = found.end()
        if index and not nth and _TABLES.match(text, place):
            for _ in range(int(index) + 1):
                place = text.find("{", place) + 1 or place
    return text.count("\n", 0, place) + 1 if place else 0


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/exercise.toml"))


def _matches(wanted: str, name: str) -> bool:
    number = name.split("_", 1)[0]
    same_number = wanted.isdecimal() and number.isdecimal() and wanted.lstrip("0") == number.lstrip("0")
    return same_number or wanted == name


def _are(names: list[str]) -> str:
    return f"is {names[0]}" if len(names) == 1 else f"are {', '.join(names)}"

"""Finds exercises: every exercises/NN_name/exercise.toml. There is no other list of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from grader import files
from grader.baselines import registry
from grader.errors import ExerciseError, UsageError
from grader.model.exercise import Exercise, Floor, Forbidden, Kernel, QualityRule

# The exercises in a wheel; in a checkout they are next to the package.
INSTALLED = Path(__file__).parents[1] / "_exercises"
BESIDE = Path(__file__).parents[2] / "exercises"

MAX_BYTES = 1 << 20  # for an exercise.toml, which has a few kilobytes

Content = TypeVar("Content")


def exercises_folder(given: Path | None = None, start: Path | None = None) -> Path:
    """`given`; otherwise the nearest `exercises/` from `start` (or here) upwards, or the installed ones."""
    if given is not None:
        if not given.is_dir():
            raise UsageError(f"the folder {given} does not exist")
        if not _files(given):
            raise UsageError(f"there are no exercises in {given}; an exercise is a folder with an exercise.toml")
        return given
    here = (start or Path.cwd()).resolve()
    for folder in (*(p / "exercises" for p in (here, *here.parents)), INSTALLED, BESIDE):
        if folder.is_dir() and _files(folder):
            return folder
    raise UsageError("there is no exercises/ folder here or in any parent folder; name one with --exercises DIR")


def find(wanted: str, folder: Path) -> Exercise:
    """An exercise by number or name: "1", "01" and "01_simple_grouped_gemm" are the same."""
    return read(locate(wanted, folder))


def locate(wanted: str, folder: Path) -> Path:
    """The folder of that exercise, readable or not. Raises UsageError if there is none."""
    names = [file.parent.name for file in _files(folder)]
    matches = [name for name in names if _matches(wanted, name)]
    if len(matches) == 1:
        return folder / matches[0]
    if matches:
        raise UsageError(f"{wanted!r} matches more than one exercise in {folder}: {', '.join(matches)}")
    a_path = "/" in wanted or wanted.endswith(".cu")
    step = ". Name the exercise first, as 1 or 01, then the file" if a_path else ""
    raise UsageError(f"there is no exercise {wanted!r} in {folder}; available: {', '.join(names)}{step}")


def folders(folder: Path) -> list[Path]:
    """The folders of all exercises, readable or not."""
    return [file.parent for file in _files(folder)]


def every(folder: Path) -> tuple[Exercise, ...]:
    """Raises ExerciseError if one of them is broken."""
    return tuple(map(read, folders(folder)))


def sound(folder: Path, tell: Callable[[str], None]) -> tuple[Exercise, ...]:
    """Those that can be read; what is wrong with the others is reported."""
    found = []
    for place in folders(folder):
        try:
            found.append(read(place))
        except ExerciseError as error:
            tell(str(error))
    return tuple(found)


def read(folder: Path) -> Exercise:
    """The exercise in `folder`. Raises ExerciseError, which names the file, the line and the problem."""
    content = decoded(folder / "exercise.toml", _File, _check)
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
        against=registry.find(content.baseline).baseline.label,
        threshold=content.threshold,
        floors=content.floors,
        objectives=content.objectives,
        cases=content.cases,
        tolerance=content.tolerance,
        quality=content.quality,
        speed_cases=content.speed_cases or content.cases,
        balance_cases=content.balance_cases,
        forbidden=content.forbidden,
        judge_source=content.judge_source,
        starter_sha256=content.starter_sha256,
        best_known_us=content.best_known_us,
    )


def decoded(file: Path, kind: type[Content], check: Callable[[Content], None]) -> Content:
    """A TOML file as a value. `check` raises ValidationError. Raises ExerciseError as `read` does."""
    try:
        text = files.read(file, MAX_BYTES).decode("utf-8-sig")
        content = msgspec.toml.decode(text, type=kind)
        check(content)
    except OSError as error:
        raise ExerciseError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ExerciseError(f"{file} is not UTF-8 text") from None
    except RecursionError:
        raise ExerciseError(f"{file} is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise ExerciseError(_located(file, text, str(error))) from None
    except ValueError:  # Python reads at most 4300 digits
        raise ExerciseError(f"{file} holds a number that is too long") from None
    return content


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
    balance_cases: tuple[str, ...] = ()
    forbidden: tuple[Forbidden, ...] = ()
    judge_source: str = ""
    starter_sha256: str = ""
    best_known_us: dict[str, dict[str, float]] = {}
    floors: tuple[Floor, ...] = ()


def _check(content: _File) -> None:
    """Checks of an exercise.toml beyond its types. Raises ValidationError, worded like msgspec's."""
    if not content.kernels:
        raise _invalid("has no [[kernels]]")
    _check_kernels(content)
    if not content.cases:
        raise _invalid("has no required cases", "cases")
    _check_speed(content)
    given = sum(rule.points for rule in content.quality)
    if given > content.points.quality:
        raise _invalid(
            f"quality rules give {given:g} points, more than the {content.points.quality} of points.quality",
            "points.quality",
        )


def _check_kernels(content: _File) -> None:
    for index, kernel in enumerate(content.kernels):
        if not kernel.name.endswith("_kernel"):
            raise _invalid(f"kernel {kernel.name!r}: the name must end in _kernel", f"kernels[{index}].name")
        if not kernel.weight >= 0:
            raise _invalid(f"kernel {kernel.name!r}: the weight must not be negative", f"kernels[{index}].weight")
        if kernel.judge and not content.judge_source:
            raise _invalid(
                f"kernel {kernel.name!r} has a judge, but there is no judge_source", f"kernels[{index}].judge"
            )
    if not any(kernel.weight for kernel in content.kernels):
        raise _invalid("no kernel has a weight above 0", "kernels[0].weight")


def _check_speed(content: _File) -> None:
    if content.baseline not in (known := registry.names()):
        raise _invalid(f"baseline {content.baseline!r} must be one of {', '.join(known)}", "baseline")
    routes, timed = registry.find(content.baseline).baseline.routes, content.speed_cases or content.cases
    if missing := [name for name in content.balance_cases if name not in timed]:
        raise _invalid(f"the speed of {missing[0]!r} is not judged", "balance_cases")
    for index, floor in enumerate(content.floors):
        if floor.route not in routes:
            raise _invalid(f"{floor.route!r} must be one of {', '.join(routes)}", f"floors[{index}].route")
        if missing := [name for name in floor.cases if name not in timed]:
            raise _invalid(f"the speed of {missing[0]!r} is not judged", f"floors[{index}].cases")


def _invalid(what: str, key: str = "") -> msgspec.ValidationError:
    return msgspec.ValidationError(f"{what} - at `$.{key}`" if key else what)


def _located(file: Path, text: str, said: str) -> str:
    """ "exercise.toml:7: Expected `float`, got `str` (tolerance)": with the line if there is one."""
    if at := _AT_LINE.search(said):
        line = at[1] or text.rstrip().count("\n") + 1
        return f"{file}:{line}: {said[: at.start()].rstrip()}, {at[2] or 'at the end'}"
    at = _AT_KEY.search(said)
    what, keys = (said[: at.start()], at[1]) if at else (said, "")
    unknown = _UNKNOWN.search(what)
    line = _line(text, ".".join(filter(None, [keys, unknown[1] if unknown else ""])))
    return f"{file}{f':{line}' if line else ''}: {what}{f' ({keys})' if keys not in what else ''}"


# In the messages of tomllib and msgspec.
_AT_LINE = re.compile(r"\(at (?:line (\d+), (column \d+)|end of document)\)")
_AT_KEY = re.compile(r" - at `\$\.(.+)`$")
_UNKNOWN = re.compile(r"unknown field `(.+)`")
_TABLES = re.compile(r"\s*\[\s*\{")  # in a list: [{ name = "x" }, { name = "y" }]


def _line(text: str, keys: str) -> int:
    """The line of "kernels[1].parameters[0].ctype", as far as its keys exist; 0 if none does."""
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

"""What late work costs: the instructor's rule, its exceptions, and how late each submission is.

A TOML file; every line is optional but `percent_per_day`:

    due = 2026-09-21T23:59:00+02:00
    grace_minutes = 15
    percent_per_day = 10              # of the student's points, for each day begun
    at_most_percent = 50

    [extensions]                      # days, by id, name, e-mail address or login
    "ada@example.edu" = 3

    [days_late]                       # where only the instructor knows: the platform just says "late"
    "Babbage, Charles" = 2

The points themselves stay as they are; what is lost is subtracted in the gradebook and in every export.
"""

from __future__ import annotations

import contextlib
import math
import re
import tomllib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from grader import files
from grader.batch import who
from grader.batch.entry import Lateness, Submitted
from grader.errors import UsageError

MAX_BYTES = 1 << 20
MOST_DAYS = 3650.0  # a mistyped date, otherwise

EXAMPLE = "2026-09-21T23:59:00+02:00"

_DAY = timedelta(days=1)


class LatePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`due` has a time zone. Without it, only what the platform marked as late is late."""

    percent_per_day: float
    due: datetime | None = None
    grace_minutes: float = 0
    at_most_percent: float = 100
    extensions: dict[str, float] = {}
    days_late: dict[str, float] = {}


def read(file: Path, students: Sequence[Submitted]) -> str:
    """The file's text, once it is known to be right. Raises UsageError, with file and line."""
    try:
        text = files.read(file, MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8; save it as UTF-8") from None
    policy = _parse(text, str(file))
    for section, days in (("extensions", policy.extensions), ("days_late", policy.days_late)):
        named: dict[str, str] = {}
        for name, value in days.items():
            where = f"{file}:{_line(text, name, section) or _line(text, section)}"
            if not 0 <= value <= MOST_DAYS:
                raise UsageError(f"{where}: {name} has {value:g} days; expected 0 or more")
            try:
                student = who.find(name, students).student
            except UsageError as error:
                raise UsageError(f"{where}: {error}") from None
            if student in named:
                raise UsageError(f"{where}: {name} and {named[student]} are the same student")
            named[student] = name
    return text


def without(text: str, student: str, students: Sequence[Submitted]) -> str:
    """The rule without the lines that name this student, by whatever identifier."""
    kept = []
    for line in text.splitlines(keepends=True):
        key = re.match(r"""\s*(?:"(?P<quoted>[^"]*)"|'(?P<literal>[^']*)'|(?P<bare>[\w-]+))\s*=""", line)
        name = key and next(filter(None, key.groups()), "")
        if not name or name in LatePolicy.__struct_fields__ or not (name == student or _is(name, student, students)):
            kept.append(line)
    return "".join(kept)


def _is(name: str, student: str, students: Sequence[Submitted]) -> bool:
    try:
        return who.find(name, students).student == student
    except UsageError:
        return False


def lateness(text: str, students: Sequence[Submitted]) -> dict[str, Lateness]:
    """By student, for those who are late or have an extension, under the policy that `read` accepted; "": none."""
    if not text:
        return {}
    policy = _parse(text, "the late policy in the ledger")
    extensions, days_late = (_by_student(days, students) for days in (policy.extensions, policy.days_late))
    found = {one.student: _lateness(one, policy, extensions, days_late) for one in students}
    return {student: late for student, late in found.items() if late.days or late.extension}


def _lateness(
    one: Submitted, policy: LatePolicy, extensions: dict[str, float], days_late: dict[str, float]
) -> Lateness:
    """Days that only begin count. An extension covers the first days."""
    extension = extensions.get(one.student, 0.0)
    known = True
    if one.student in days_late:
        days = days_late[one.student]
    elif policy.due is not None and one.at is not None:
        due = policy.due if one.at.tzinfo else policy.due.replace(tzinfo=None)
        days = (one.at - due - timedelta(minutes=policy.grace_minutes)) / _DAY
    else:
        days, known = float(one.late), not one.late or extension >= 1
    begun = max(0, math.ceil(round(days - extension, 6)))
    percent = min(begun * policy.percent_per_day, policy.at_most_percent)
    return Lateness(begun, percent, extension, known=known)


def _by_student(days: dict[str, float], students: Sequence[Submitted]) -> dict[str, float]:
    """By id. Whoever has left the batch since has no days."""
    found = {}
    for name, value in days.items():
        with contextlib.suppress(UsageError):
            found[who.find(name, students).student] = value
    return found


def _parse(text: str, name: str) -> LatePolicy:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).partition(" (at ")
        line = re.search(r"line (\d+)", place)
        raise UsageError(f"{name}:{line[1] if line else text.count(chr(10)) + 1}: {message}") from None
    except RecursionError:
        raise UsageError(f"{name} is nested too deeply") from None
    except ValueError:  # Python reads at most 4300 digits
        raise UsageError(f"{name} holds a number that is too long") from None
    due = values.get("due")
    if due is not None and (not isinstance(due, datetime) or due.tzinfo is None):
        raise UsageError(f"{name}:{_line(text, 'due')}: due must be a time with its zone, such as {EXAMPLE}")
    try:
        policy = msgspec.convert(values, LatePolicy)
    except msgspec.ValidationError as error:
        keys = re.findall(r"`(\w+)`|\.(\w+)", str(error).replace("`float`", "").replace("`datetime`", ""))
        at = next((found for key in keys if (found := _line(text, "".join(key)))), 1)
        raise UsageError(f"{name}:{at}: {error}") from None
    for key in ("percent_per_day", "at_most_percent"):
        if not 0 <= getattr(policy, key) <= 100:
            raise UsageError(f"{name}:{_line(text, key)}: {key} must be from 0 to 100")
    if not 0 <= policy.grace_minutes <= MOST_DAYS * 24 * 60:
        raise UsageError(f"{name}:{_line(text, 'grace_minutes')}: grace_minutes must be 0 or more")
    return policy


def _line(text: str, key: str, section: str = "") -> int:
    """Of `key = ...` in that section; 0 if there is no such line."""
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w-]+)\s*\]", line):
            current = header[1]
            if header[1] == key:
                return number
        elif re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line) and (not section or section == current):
            return number
    return 0

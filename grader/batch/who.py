"""Which student is meant: by id, or whatever else the platform knows them by."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

from grader.batch.choice import some
from grader.batch.entry import Submitted
from grader.batch.exports.grades import words
from grader.errors import UsageError


def find(text: str, students: Sequence[Submitted]) -> Submitted:
    """By id; by e-mail, login or another identifier of the platform; by name in any order; by the login of an e-mail.

    Raises UsageError, with similar names, unless exactly one student is meant.
    """
    wanted = text.strip().casefold()
    for way in _WAYS:
        found = [
            one for one in students if wanted and any(key.strip().casefold() == wanted for key in way(one) if key)
        ]
        if len(found) > 1:
            raise UsageError(f"{text!r} is {len(found)} students: {some([one.called for one in found])}; use the id")
        if found:
            return found[0]
    named = [one for one in students if one.name and words(text) and words(one.name) == words(text)]
    if len(named) == 1:
        return named[0]
    if named:
        several = some([one.called for one in named])
        raise UsageError(f"{text!r} could be {len(named)} students: {several}; use the id")
    raise UsageError(unknown(text, students))


def unknown(text: str, students: Iterable[Submitted]) -> str:
    known = {key.casefold(): one.called for one in students for key in (*_identifiers(one), one.name) if key}
    near = difflib.get_close_matches(text.casefold(), known, 3, 0.5)
    similar = dict.fromkeys(known[key] for key in near)
    return f"there is no student {text!r} in this batch" + (f"; similar: {', '.join(similar)}" if similar else "")


def _identifiers(one: Submitted) -> list[str]:
    """Moodle's "Participant 12345" is also found by its number."""
    values = list(one.identifiers.values())
    return [one.student, *values, *(value.rpartition(" ")[2] for value in values if value.startswith("Participant "))]


def _logins(one: Submitted) -> list[str]:
    return [key.partition("@")[0] for key in _identifiers(one) if "@" in key]


_WAYS: tuple[Callable[[Submitted], Iterable[str]], ...] = (lambda one: (one.student,), _identifiers, _logins)

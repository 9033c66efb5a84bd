from __future__ import annotations

import re

import pytest

from grader.ci import annotations
from grader.ci.annotations import Annotation
from grader.ci.changes import NOT_USED, Beside
from tests.ci.samples import (
    BROKEN,
    COMPILED,
    CRASHED,
    EVIL,
    NOT_GRADED,
    RACY,
    UNTIDY,
    UNTIMED,
    UNTRIED,
    failing,
    graded,
)

PATH = "exercises/01_double/starter.cu"

# A command as GitHub's runner reads it: the name, properties up to the first "::", the rest of the line.
COMMAND = re.compile(
    r"::(error|warning|notice) ((?:file|line|title)=[^:,\r\n]*(?:,(?:line|title)=[^:,\r\n]*)*)::(.*)"
)


def read(line: str) -> tuple[str, dict[str, str], str]:
    """As the runner does: split first, then unescape."""
    match = COMMAND.fullmatch(line)
    assert match, line
    listed = dict(pair.split("=", 1) for pair in match[2].split(","))
    return match[1], {name: unescape(value) for name, value in listed.items()}, unescape(match[3])


def unescape(text: str) -> str:
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


def test_a_problem_is_an_error_at_the_students_line() -> None:
    (error,) = annotations.of([graded(COMPILED, RACY, UNTRIED)])
    level, properties, message = read(annotations.command(error))
    assert level == "error"
    assert properties == {"file": PATH, "line": "6", "title": "Race between threads"}
    first, other, *_ = message.splitlines()
    assert first == "two threads: 50% of them, no barrier (even)"
    assert other == "the other is at line 5"


def test_what_is_not_the_students_fault_says_so() -> None:
    found = {
        (a.level, a.title) for a in annotations.of([graded(COMPILED, BROKEN, UNTIMED, UNTIDY), CRASHED, NOT_GRADED])
    }
    assert found == {
        ("error", "The grader failed, not you"),
        ("notice", "Not judged: speed"),
        ("notice", "Quality"),
        ("error", "Not graded"),
        ("warning", "Not graded"),
    }


@pytest.mark.parametrize("text", [EVIL, "a,b:c%0Ad::error::e", "::warning::x\n##[error]y", "line=1,file=/etc/passwd"])
def test_no_text_ends_its_command_or_begins_another(text: str) -> None:
    line = annotations.command(Annotation("error", text, text, text, 3))
    assert len(line.splitlines()) == 1
    line.encode()  # lone surrogates would not print
    _, properties, message = read(line)
    assert properties["line"] == "3"
    assert set(properties) == {"file", "line", "title"}
    assert "%0A" in text or message.count("\n") == text.count("\n")


def test_paths_start_at_the_workspace() -> None:
    _, properties, _ = read(annotations.command(Annotation("error", "t", "m", PATH, 1), "course/"))
    assert properties["file"] == f"course/{PATH}"


def test_a_finding_in_another_file_names_it_in_words() -> None:
    (error,) = annotations.of([graded(failing("no such name", 12, "helpers.cuh"))])
    assert (error.file, error.line) == (PATH, 0)
    assert error.message.startswith("helpers.cuh:12: no such name")


def test_ten_of_a_level_and_the_last_says_what_is_left_out() -> None:
    many = [graded(*(failing(f"{n}", n) for n in range(1, 24))), graded(COMPILED, UNTIMED)]
    shown = annotations.limited(annotations.of(many))
    assert [a.level for a in shown] == ["error"] * 10 + ["notice"]
    assert shown[9].title == "14 more"
    exactly = annotations.of([graded(*(failing(f"{n}", n) for n in range(1, 11)))])
    assert annotations.limited(exactly) == exactly


def test_each_submission_has_its_share() -> None:
    one = graded(*(failing(f"{n}", n) for n in range(1, 30)), path="exercises/01_a/starter.cu")
    other = graded(failing("the only one"), path="exercises/02_b/starter.cu")
    shown = annotations.limited(annotations.of([one, other]))
    assert "exercises/02_b/starter.cu" in [a.file for a in shown]


def test_long_texts_are_cut_below_githubs_limits() -> None:
    line = annotations.command(Annotation("error", "t" * 1000, "%" * 100_000))
    _, properties, message = read(line)
    assert len(properties["title"]) == 255
    assert len(message.encode()) <= 4096


def test_files_that_decide_are_pointed_at() -> None:
    (warning,) = annotations.of([], [Beside("exercises/01_double/oracle.py", NOT_USED)])
    assert (warning.level, warning.file) == ("warning", "exercises/01_double/oracle.py")


def test_a_fold_is_opened_and_closed_by_a_token_that_no_submission_knows() -> None:
    before, after = annotations.fold("a\n::error::b")
    group, stop = before.splitlines()
    assert group == "::group::a%0A::error::b"
    token = stop.removeprefix("::stop-commands::")
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert after.splitlines() == [f"::{token}::", "::endgroup::"]
    assert annotations.fold("a")[0] != annotations.fold("a")[0]
    assert annotations.quiet() != annotations.quiet()

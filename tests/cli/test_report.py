from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Grade


@pytest.fixture
def graded(grade: Grade) -> Grade:
    Path("mine.cu").write_text("// the marked line\n")
    grade("run", "1", "mine.cu", "--json", "r.json")
    return grade


def test_renders_again_with_the_source(graded: Grade) -> None:
    assert graded("report", "r.json", "--html", "r.html") == 0
    assert "the marked line" in Path("r.html").read_text()


@pytest.mark.parametrize("change", ["edit", "remove"])
def test_another_source_than_the_graded_one_is_not_shown(graded: Grade, change: str) -> None:
    Path("mine.cu").write_text("// the marked line, edited\n") if change == "edit" else Path("mine.cu").unlink()
    assert graded("report", "r.json", "--html", "r.html") == 0
    assert "the marked line" not in Path("r.html").read_text()


def test_an_unknown_exercise_is_no_obstacle(graded: Grade) -> None:
    result = json.loads(Path("r.json").read_text()) | {"exercise": "77_gone"}
    Path("r.json").write_text(json.dumps(result))
    assert graded("report", "r.json", "--html", "r.html") == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [("{}", "schema"), ("", "truncated"), ('{"schema": 9}', "version 9"), ("[1]", "object")],
)
def test_what_is_no_result_exits_2_and_is_named(grade: Grade, content: str, says: str) -> None:
    Path("r.json").write_text(content)
    assert grade("report", "r.json", "--html", "r.html") == 2
    assert "r.json is no Result" in grade.err
    assert says in grade.err


def test_a_missing_result_exits_2(grade: Grade) -> None:
    assert grade("report", "nowhere.json", "--html", "r.html") == 2
    assert "nowhere.json: No such file" in grade.err


def test_a_page_that_cannot_be_written_exits_4(graded: Grade) -> None:
    assert graded("report", "r.json", "--html", "nowhere/r.html") == 4
    assert "cannot write nowhere/r.html" in graded.err


def test_html_is_asked_for(graded: Grade) -> None:
    assert graded("report", "r.json") == 2
    assert "--html" in graded.err

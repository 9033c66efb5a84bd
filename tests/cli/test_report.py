from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from grader.model.execution import Outcome
from tests.cli.conftest import Grade
from tests.fakes import FakeExecutor

Use = Callable[[FakeExecutor], FakeExecutor]


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
    assert "r.json was not written by grade run --json" in grade.err
    assert says in grade.err


def test_a_missing_result_exits_2(grade: Grade) -> None:
    assert grade("report", "nowhere.json", "--html", "r.html") == 2
    assert "nowhere.json: No such file" in grade.err


@pytest.mark.parametrize(("place", "status"), [("nowhere/r.html", 2), ("exercises", 2), ("/dev/full", 4)])
def test_a_page_that_cannot_be_written_is_said(graded: Grade, place: str, status: int) -> None:
    assert graded("report", "r.json", "--html", place) == status
    assert place in graded.err
    assert "Report:" not in graded.err


def test_without_a_name_the_report_lies_beside_the_result(graded: Grade) -> None:
    assert graded("report", "r.json") == 0
    assert "the marked line" in Path("r.html").read_text()
    assert "Report: r.html" in graded.err


def test_a_result_is_not_overwritten_by_its_report(graded: Grade) -> None:
    Path("r.json").rename("r.html")
    assert graded("report", "r.html") == 2
    assert "this would overwrite r.html" in graded.err
    assert json.loads(Path("r.html").read_text())["schema"] == 1


@pytest.mark.parametrize("way", ["itself", "another way", "link", "second name"])
@pytest.mark.parametrize("kept", ["r.json", "earlier.json", "mine.cu"])
def test_nothing_that_is_read_is_overwritten(graded: Grade, kept: str, way: str) -> None:
    """The Result, the earlier one and the submission, by whatever path they are named."""
    file, page = Path(kept), Path("page.html")
    Path("earlier.json").write_bytes(Path("r.json").read_bytes())
    before = file.read_bytes()
    if way == "itself":
        page = file
    elif way == "another way":
        page = Path("exercises") / ".." / file
    elif way == "link":
        page.symlink_to(file)
    else:
        page.hardlink_to(file)
    assert graded("report", "r.json", "--since", "earlier.json", "--html", page) == 2
    assert "overwrit" in graded.err
    assert file.read_bytes() == before


def test_a_kernel_that_nobody_named_is_not_overwritten_either(graded: Grade) -> None:
    Path("another.cu").write_text("an evening's work")
    assert graded("report", "r.json", "--html", "another.cu") == 2
    assert Path("another.cu").read_text() == "an evening's work"


def test_the_report_opens_in_a_browser(graded: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert graded("report", "r.json", "--open") == 0
    assert opened == [Path("r.html").resolve().as_uri()]


def test_what_changed_since_an_earlier_result_is_told(graded: Grade) -> None:
    Path("earlier.json").write_bytes(Path("r.json").read_bytes().replace(b'"passed"', b'"failed"'))
    assert graded("report", "r.json", "--html", "r.html", "--since", "earlier.json") == 0
    assert "Since the last attempt" in Path("r.html").read_text()


def test_a_result_of_another_exercise_cannot_be_compared(graded: Grade) -> None:
    other = json.loads(Path("r.json").read_text()) | {"exercise": "77_gone"}
    Path("other.json").write_text(json.dumps(other))
    for verb in (["report", "r.json", "--html", "r.html"], ["run", "1"]):
        assert graded(*verb, "--since", "other.json") == 2
        assert "other.json is a result of 77_gone, but this is 01_double" in graded.err


def test_a_run_says_what_changed_and_may_write_where_it_read(graded: Grade, use: Use) -> None:
    use(FakeExecutor(compute=lambda arrays: Outcome(outputs={"y": 0 * arrays["x"]})))
    assert graded("run", "1", "--since", "r.json", "--json", "r.json", "--html", "r.html") == 1
    assert "Since r.json: incomplete, now failed" in graded.out
    assert "Since the last attempt" in Path("r.html").read_text()
    assert json.loads(Path("r.json").read_text())["verdict"] == "failed"


def test_a_page_does_not_take_the_place_of_the_earlier_result(graded: Grade) -> None:
    before = Path("r.json").read_bytes()
    assert graded("run", "1", "--since", "r.json", "--html", "r.json") == 2
    assert "would overwrite" in graded.err
    assert Path("r.json").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}"])
def test_what_is_no_earlier_result_exits_2_before_anything_runs(grade: Grade, content: bytes) -> None:
    Path("r.json").write_bytes(content)
    assert grade("run", "1", "--since", "r.json") == 2
    assert "r.json was not written by grade run --json" in grade.err
    assert grade.out == ""

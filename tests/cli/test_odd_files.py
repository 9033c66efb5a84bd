"""Files that are none: every verb names the file and goes on, whatever is put in front of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Grade

DEEP = "[" * 20_000

# What is put in the place of a file, with the part of the message that says so.
ODD = {
    "pipe": "is not a regular file",
    "device": "is not a regular file",
    "sparse": "is larger than",
    "to-itself": "symbolic links",
}


def odd(folder: Path, kind: str, ending: str) -> Path:
    file = folder / f"odd{ending}"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "to-itself":
        file.symlink_to(file.name)
    else:
        with file.open("wb") as stream:
            stream.truncate(10 << 30)
    return file


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    ("ending", "before", "after"),
    [
        (".json", ("report",), ()),
        (".json", ("run", "1", "--since"), ()),
        (".json", ("run", "1", "--secret"), ()),
        (".toml", ("run", "1", "--secret"), ()),
    ],
    ids=["report", "since", "secret.json", "secret.toml"],
)
def test_what_is_read_back(
    grade: Grade, kind: str, ending: str, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    file = odd(grade.folder, kind, ending)
    assert grade(*before, file, *after) == 2
    assert file.name in grade.err
    assert ODD[kind] in grade.err
    assert "internal" not in grade.err


@pytest.mark.parametrize("kind", ["pipe", "device", "to-itself"])
def test_a_submission_that_is_none(grade: Grade, kind: str) -> None:
    assert grade("run", "1", odd(grade.folder, kind, ".cu")) == 2
    assert "is not a regular file" in grade.err or "does not exist" in grade.err


def test_a_submission_of_ten_gigabytes_is_read_no_further_than_it_may_be_long(grade: Grade) -> None:
    assert grade("run", "1", odd(grade.folder, "sparse", ".cu")) == 1
    assert "is larger than 1 MiB" in grade.out


@pytest.mark.parametrize("kind", ["pipe", "device", "to-itself"])
@pytest.mark.parametrize("ending", ["", ".zip", ".csv"])
def test_a_class_that_is_none(grade: Grade, kind: str, ending: str) -> None:
    file = odd(grade.folder, kind, ending)
    assert grade("batch", file, "--exercise", "1", "--out", grade.folder / "out") == 2
    assert file.name in grade.err
    assert "internal" not in grade.err


def test_ten_gigabytes_are_no_class(grade: Grade) -> None:
    for ending in ("", ".zip", ".csv"):
        file = odd(grade.folder, "sparse", ending)
        assert grade("batch", file, "--exercise", "1", "--out", grade.folder / "out") == 2
        assert file.name in grade.err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("deep.json", '{"schema":1,"checks":' + DEEP, "is nested too deeply"),
        ("list.json", DEEP, "Expected `object`"),
    ],
)
def test_a_result_that_is_nested_without_end(grade: Grade, name: str, content: str, said: str) -> None:
    (grade.folder / name).write_text(content)
    assert grade("report", grade.folder / name) == 2
    assert name in grade.err
    assert said in grade.err


@pytest.mark.parametrize(("name", "content"), [("deep.json", '{"cases":[{"a":' + DEEP), ("deep.toml", f"a = {DEEP}")])
def test_secret_cases_that_are_nested_without_end(grade: Grade, name: str, content: str) -> None:
    (grade.folder / name).write_text(content)
    assert grade("run", "1", "--secret", grade.folder / name) == 2
    assert f"{name} is nested too deeply" in grade.err


def test_an_exercise_that_is_nested_without_end(grade: Grade) -> None:
    file = grade.folder / "exercises" / "01_double" / "exercise.toml"
    file.write_text(f"title = {DEEP}")
    assert grade("run", "1") == 4
    assert "exercise.toml is nested too deeply" in grade.err


@pytest.mark.parametrize("path", ["/dev/zero", "pipe", "\0", "x" * 5000])
def test_a_result_that_names_anything_as_its_submission(grade: Grade, path: str) -> None:
    os.mkfifo(grade.folder / "pipe")
    assert grade("run", "1", "--json", grade.folder / "result.json") == 0
    result = (grade.folder / "result.json").read_text()
    (grade.folder / "result.json").write_text(result.replace('"exercises/01_double/starter.cu"', f'"{path}"'))
    assert grade("report", grade.folder / "result.json") in (0, 2)
    assert "internal" not in grade.err


def test_where_a_report_is_to_go_is_a_link_to_itself(grade: Grade) -> None:
    loop = odd(grade.folder, "to-itself", "")
    assert grade("run", "1", "--html", loop / "page.html") == 2
    assert "does not exist; create it first" in grade.err


def test_no_room_for_the_inputs_is_the_machines_fault_and_says_which(grade: Grade) -> None:
    """As under `ulimit -f`; a child is needed to see it, so the store itself is asked."""
    import resource

    import numpy as np

    from grader.errors import GraderError
    from grader.model.exercise import Array
    from grader.sandbox import arena, process

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    arrays = [Array("x", np.zeros(1 << 20))]
    slots, size = arena.place(arrays)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with (
            process.anonymous_file("test") as file,
            pytest.raises(GraderError, match=r"no room for 8 MiB.*ulimit -f"),
        ):
            arena.store(file, arrays, slots, size)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

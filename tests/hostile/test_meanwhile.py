"""A folder of submissions that changes between the moment it is listed and the moment it is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from grader.batch import found, roster, worker
from grader.errors import UsageError


def nothing(path: Path) -> None:
    pass


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("then", [nothing, a_pipe, a_device, itself, a_folder])
def test_what_stands_in_a_files_place_by_the_time_it_is_read(tmp_path: Path, then: Callable[[Path], None]) -> None:
    file = tmp_path / "ada.cu"
    file.write_text("// there")
    (submitted,) = roster.read(tmp_path, tmp_path / "out" / "unpacked")
    assert submitted.path == file
    file.unlink()
    then(file)
    with pytest.raises(UsageError, match=r"ada\.cu"):
        worker.source(file)


def test_a_folder_that_goes_while_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ada", "bob"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "starter.cu").write_text("// there")
    scan = os.scandir

    def scanning(path: Path) -> object:
        if Path(path).name == "ada":
            (tmp_path / "ada" / "starter.cu").unlink()
            (tmp_path / "ada").rmdir()
        return scan(path)

    monkeypatch.setattr(found.os, "scandir", scanning)
    students = {one.student: one for one in roster.read(tmp_path, tmp_path / "out" / "unpacked")}
    assert students["bob"].path
    assert "cannot be read" in students["ada"].problem

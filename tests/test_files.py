from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from grader import files


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: as good as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(b"old")
    with room_for(10), pytest.raises(OSError, match="too large"):
        files.replace(file, b"new" * 100)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    link = tmp_path / "r.json"
    link.symlink_to(Path("kept", "r.json"))  # which is not there yet
    for content in (b"one", b"two"):
        files.replace(link, content)
        assert link.is_symlink()
        assert (kept / "r.json").read_bytes() == content


def test_a_new_file_gets_the_usual_mode_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.touch(0o600)
    with umask(0o027):
        files.replace(new, b"")
        files.replace(old, b"")
    assert [file.stat().st_mode & 0o777 for file in (new, old)] == [0o640, 0o600]


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.replace(pipe, b"through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


TO_STDOUT = "import pathlib, grader.files; grader.files.replace(pathlib.Path('/dev/stdout'), b'content')"


def test_stdout_by_its_name_may_be_a_pipe() -> None:
    done = subprocess.run([sys.executable, "-c", TO_STDOUT], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"content"


def test_the_file_that_stdout_goes_to_keeps_its_place(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("wb") as stream:
        subprocess.run([sys.executable, "-c", TO_STDOUT], stdout=stream, check=True)
        assert os.path.samestat(out.stat(), os.fstat(stream.fileno()))
    assert out.read_bytes() == b"content"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_in_a_folder_that_takes_no_new_file_the_old_one_is_written_to(tmp_path: Path) -> None:
    file = tmp_path / "locked" / "r.json"
    file.parent.mkdir()
    file.touch()
    file.parent.chmod(0o500)
    files.replace(file, b"content")
    assert file.read_bytes() == b"content"


def test_a_file_is_read_up_to_its_limit_and_no_further(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert files.read(file, 5) == b"12345"
    assert files.start(file, 3) == b"123"
    with pytest.raises(OSError, match="is larger than 4 bytes") as caught:
        files.read(file, 4)
    assert caught.value.filename == str(file)


def test_what_is_no_file_is_opened_by_nobody(tmp_path: Path) -> None:
    """A pipe that nobody writes to would keep its reader for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"is not a regular file|Is a directory"):
            files.read(path, 10)

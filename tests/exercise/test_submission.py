from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from grader.errors import UsageError
from grader.exercise import submission


def written(tmp_path: Path, content: bytes) -> submission.Source:
    file = tmp_path / "kernel.cu"
    file.write_bytes(content)
    return submission.read(file)


def test_a_source_is_read_with_its_hash(tmp_path: Path) -> None:
    source = written(tmp_path, b"// k\xc3\xa4se\n")
    assert source.problem is None
    assert source.text == "// käse\n"
    assert source.sha256 == hashlib.sha256(source.content).hexdigest()


def test_another_encoding_is_left_to_the_compiler(tmp_path: Path) -> None:
    assert written(tmp_path, "// käse".encode("latin-1")).problem is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b" \n\t\r\n", "empty"),
        (b"\x7fELF\x02\x01\x01\x00", "binary"),
        (b"int x;\x00", "binary"),
        (b"\x1b[31m// red", "binary"),
        ("int x;".encode("utf-16"), "UTF-16"),
        (b"x" * (1 << 20) + b"\n", "larger than 1 MiB"),
    ],
)
def test_what_is_no_source_is_a_finding_of_compile(tmp_path: Path, content: bytes, says: str) -> None:
    source = written(tmp_path, content)
    assert source.problem is not None
    assert source.problem.kind == "compile-error"
    assert says in source.problem.message
    assert source.sha256 == hashlib.sha256(content).hexdigest()


def test_a_mebibyte_is_still_a_source(tmp_path: Path) -> None:
    assert written(tmp_path, b"x" * (1 << 20)).problem is None


def test_no_such_file_and_a_folder_are_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        submission.read(tmp_path / "nowhere.cu")
    with pytest.raises(UsageError, match="is a folder"):
        submission.read(tmp_path)
    with pytest.raises(UsageError, match="not a regular file"):
        submission.read(Path("/dev/null"))
    with pytest.raises(UsageError, match="cannot be read: File name too long"):
        submission.read(tmp_path / ("k" * 300))

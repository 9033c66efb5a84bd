"""Files that no compiler has to see."""

from __future__ import annotations

import pytest

from grader.compile import source
from grader.model.result import Finding


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"", 0, "empty"),
        (b" \n\t\r\n", 0, "empty"),
        (b"int a;\nint \0b;\n", 2, "NUL byte on line 2"),
        (b"\x7fELF\x02\x01\x01\0\0\0", 1, "binary"),
        ("int a;".encode("utf-16"), 1, "UTF-16"),
        (b"/" * (source.MAX_BYTES + 1), 0, "the limit is 1,048,576 (1 MiB)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", 1, "Git LFS pointer"),
        (b"\n%%writefile kernel.cu\nint a;\n", 2, "a notebook's, not CUDA: remove %%writefile kernel.cu"),
        (b"!nvcc kernel.cu\nint a;\n", 1, "a notebook's"),
        (b"```cuda\nint a;\n```\n", 1, "and the fence at the end"),
        (b'source = r"""\nint a;\n"""\n', 1, 'Python\'s, not CUDA: remove source = r""" and the closing quotes'),
        (b"import torch\nint a;\n", 1, "Python's"),
        (b'{\n "cells": [], "nbformat": 4\n}\n', 1, "this is a notebook"),
    ],
)
def test_a_file_that_is_no_source_is_one_clear_finding(content: bytes, line: int, words: str) -> None:
    finding = source.decode(content, "mine.cu")
    assert isinstance(finding, Finding)
    assert (finding.kind, finding.file, finding.line) == ("compile-error", "mine.cu", line)
    assert words in finding.message


@pytest.mark.parametrize(
    "content", [b'const char* s = "";\n', b"%:include <math.h>\n", b"// import torch\n", b"{}\n", b"int version;\n"]
)
def test_what_only_resembles_something_else_is_a_source(content: bytes) -> None:
    assert source.decode(content, "mine.cu") == content.decode()


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "shift_jis", "utf-8"])
def test_a_comment_in_any_encoding(encoding: str) -> None:
    """The second byte of a character may be a backslash: for every compiler the next line is a comment then, too."""
    comment = {"latin-1": "größer", "gbk": "誠実 归约", "shift_jis": "能力表 ソ"}.get(encoding, "größer 归约")
    text = source.decode(f"int a;  // {comment} *\nint b;\n".encode(encoding), "mine.cu")
    assert isinstance(text, str)
    assert text.startswith("int a;  // ")
    assert text.endswith("*\nint b;\n")
    assert text.count("\\") == f"// {comment}".encode(encoding).count(b"\\")


def test_the_largest_allowed_file_is_read() -> None:
    assert source.decode(b"/" * source.MAX_BYTES, "mine.cu") == "/" * source.MAX_BYTES


@pytest.mark.parametrize(
    "content",
    [b"int a;\nint b;\n", b"\xef\xbb\xbfint a;\nint b;\n", b"int a;\r\nint b;\r\n", b"int a;\rint b;\r"],
)
def test_byte_order_mark_and_line_ends_make_no_difference(content: bytes) -> None:
    assert source.decode(content, "mine.cu") == "int a;\nint b;\n"

"""Checks before compilation: is the submission a text file of reasonable size?"""

from __future__ import annotations

import re

from grader.model.result import Finding

MAX_BYTES = 1 << 20  # far above any student's kernel; limits the work of the compiler
SHOWN = 40  # characters of a line that is quoted

LFS_POINTER = re.compile(r"version https?://\S*git-lfs")
NOTEBOOK = re.compile(r'"(?:cells|nbformat)"\s*:')
# Whose line it is, and what stands at the end of such a file.
FOREIGN = (
    (re.compile(r"%%?\w"), "a notebook's", ""),
    (re.compile(r"!\w"), "a notebook's", ""),
    (re.compile(r"```|~~~"), "a Markdown fence's", " and the fence at the end"),
    (re.compile(r"""(?:\w+\s*=\s*)?[rRbBfFuU]{0,2}(?:\"{3}|'{3})"""), "Python's", " and the closing quotes"),
    (re.compile(r"(?:from\s+[\w.]+\s+)?import\s+\w[\w., ]*$"), "Python's", ""),
)


def decode(source: bytes, filename: str) -> str | Finding:
    """The source as text with plain line feeds and without a byte order mark, or why that is not possible."""
    if len(source) > MAX_BYTES:
        return _refused(filename, 0, f"the file has {len(source):,} bytes; the limit is {MAX_BYTES:,} (1 MiB)")
    if source.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _refused(filename, 1, "the file is UTF-16; save it as UTF-8")
    if (at := source.find(b"\0")) >= 0:
        line = _line(source, at)
        return _refused(filename, line, f"the file is binary: there is a NUL byte on line {line}")
    # Comments in Latin-1 or GBK are not a mistake. Bytes that are not UTF-8 become U+FFFD and all ASCII bytes stay,
    # so lines, comments and literals end where they end for a compiler that reads bytes.
    text = source.decode("utf-8-sig", errors="replace")
    if not text.strip():
        return _refused(filename, 0, "the file is empty")
    if problem := _is_something_else(text):
        return _refused(filename, text[: len(text) - len(text.lstrip())].count("\n") + 1, problem)
    # A lone carriage return ends a line in editors. It must do so for every reader of this text; otherwise a comment
    # could end for the compiler where the scan for includes sees it continue.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_something_else(text: str) -> str:
    """Files that are not source code, by their first line: no source can begin like that."""
    first, *_ = text.lstrip().split("\n", 1)
    start = first.strip()[:SHOWN]
    if LFS_POINTER.match(first):
        return (
            "this is a Git LFS pointer; the file itself was not fetched: run git lfs pull, or store the file in Git"
        )
    if first.startswith("{") and NOTEBOOK.search(text):
        return "this is a notebook: save the cell that holds the kernel as a .cu file"
    for pattern, whose, end in FOREIGN:
        if pattern.match(first):
            return f"this line is {whose}, not CUDA: remove {start}{end}"
    return ""


def _refused(filename: str, line: int, message: str) -> Finding:
    return Finding("compile-error", filename, line, message)


def _line(source: bytes, at: int) -> int:
    return source.count(b"\n", 0, at) + 1

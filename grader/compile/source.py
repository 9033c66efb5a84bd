"""What is decided about a submission before any compiler sees it: is it a text file of sensible size?"""

from __future__ import annotations

from grader.model.result import Finding

MAX_BYTES = 1 << 20  # a kernel of 1 MiB is no student's; it bounds what the compiler is asked to do


def decode(source: bytes, filename: str) -> str | Finding:
    """The source as text with plain line feeds, without a byte order mark; or why there is none."""
    if len(source) > MAX_BYTES:
        return _refused(filename, 0, f"the file has {len(source):,} bytes; the most is {MAX_BYTES:,} (1 MiB)")
    if source.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _refused(filename, 1, "the file is UTF-16; save it as UTF-8")
    if (at := source.find(b"\0")) >= 0:
        line = _line(source, at)
        return _refused(filename, line, f"the file is binary: there is a NUL byte in line {line}")
    # Latin-1 or GBK in a comment is nobody's mistake. Whatever is no UTF-8 becomes U+FFFD, and every ASCII byte
    # stays, so that lines, comments and literals end where they do for a compiler that reads bytes.
    text = source.decode("utf-8-sig", errors="replace")
    if not text.strip():
        return _refused(filename, 0, "the file is empty")
    # A lone carriage return ends a line for editors; it must for every reader of this text, or a comment
    # could end for the compiler where the scan for includes sees it go on.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _refused(filename: str, line: int, message: str) -> Finding:
    return Finding("compile-error", filename, line, message)


def _line(source: bytes, at: int) -> int:
    return source.count(b"\n", 0, at) + 1

"""Functions that NVRTC takes for host code and refuses, though nvcc accepts them.

They are lambdas with an auto parameter, and constexpr constructors, which nvcc runs while it compiles. If a file has
no other errors, it is compiled again with all its functions as device code. With any other error nothing changes, so
what a student forgot to annotate is reported as before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from grader.compile import recipe
from grader.compile.diagnostics import Diagnostic

AS_DEVICE_CODE = "-default-device"

_HOST_FUNCTION = "is considered a host function"
_CONSTEXPR = re.compile(r"(?:^|[\s;{}>])constexpr\s+(?:explicit\s+)?$")
_CLASS = r"\b(?:struct|class)\s+(?:(?:__align__|alignas)\s*\([^)]*\)\s*)?"
_NAME = re.compile(r"[A-Za-z_]\w*(?=\s*\()")


def are_all_harmless(diagnostics: Iterable[Diagnostic], text: str) -> bool:
    """Is each error one of those?"""
    lines = text.split("\n")
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    return bool(errors) and all(_is_harmless(error, lines, text) for error in errors)


def _is_harmless(error: Diagnostic, lines: list[str], text: str) -> bool:
    if error.file != recipe.SOURCE_NAME or _HOST_FUNCTION not in error.message:
        return False
    if not error.column or not 0 < error.line <= len(lines):
        return False
    line = lines[error.line - 1].encode()
    before, after = (part.decode(errors="ignore") for part in (line[: error.column - 1], line[error.column - 1 :]))
    if after.startswith("("):  # no function has no name
        return before.rstrip().endswith("]")
    name = _NAME.match(after)
    return bool(name and _CONSTEXPR.search(before) and re.search(rf"{_CLASS}{name[0]}\b", text))

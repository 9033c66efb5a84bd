"""A whole module: directives, variables and the headers of functions."""

from __future__ import annotations

import re
from functools import lru_cache
from math import prod

from grader.ptx.parsing import statements
from grader.ptx.parsing.body import BodyReader
from grader.ptx.parsing.constants import integer
from grader.ptx.parsing.errors import PtxError
from grader.ptx.parsing.statements import INTEGER, MODULE_ITEM, WORD
from grader.ptx.parsing.variables import variables_of
from grader.ptx.syntax import Function, Module, Param
from grader.ptx.types import BYTES

HEADER = re.compile(
    r"\.(?:entry|func)\s*(?:\((?P<results>[^)]*)\)\s*)?(?P<name>[\w$%]+)\s*(?:\((?P<params>[^)]*)\))?(?P<rest>.*)",
    re.DOTALL,
)
PARAM = re.compile(
    r"\s*\.(?P<space>param|reg)\s*(?:\.align\s+(?P<align>\w+)\s*)?\.(?P<type>\w+)"
    r"(?:\s*\.ptr(?:\s*\.(?:global|shared|local|const))?(?:\s*\.align\s+\w+)?)?"
    rf"\s+(?P<name>{WORD})\s*(?P<array>\[\s*(?P<count>\w*)\s*\])?\s*$"
)
THREADS = re.compile(rf"\.(?:maxntid|reqntid)\s+({INTEGER}(?:\s*,\s*{INTEGER})*)")
CLUSTER = re.compile(rf"\.reqnctapercluster\s+({INTEGER}(?:\s*,\s*{INTEGER})*)")


@lru_cache(maxsize=1)  # the compiler's side reads what the engine then runs
def parse(text: str) -> Module:
    """Parse a PTX module. Raises PtxError with the line of `text` that cannot be parsed."""
    text = statements.without_comments(text)
    module = Module({}, {}, statements.files(text))
    at = 0
    while match := MODULE_ITEM.match(text, at):
        try:
            at = _item(module, match, text)
        except PtxError as error:
            if not str(error).startswith("PTX line"):
                line = text.count("\n", 0, match.end()) + 1
                raise PtxError(f"PTX line {line}: {error}") from error
            raise
    if text[at:].strip():
        raise statements.not_understood(text, at)
    return module


def _item(module: Module, match: re.Match[str], text: str) -> int:
    if match["function"]:
        return _function(module, match["function"], text, match.end())
    if match["variable"]:
        for variable in variables_of(match["variable"].rstrip(";")):
            module.variables[variable.name] = variable
    return match.end()


def _function(module: Module, header: str, text: str, at: int) -> int:
    match = HEADER.search(header[:-1])
    if match is None:
        raise PtxError(f"function header not understood: {header[:80]!r}")
    if header.endswith(";"):  # a declaration: its definition follows, or it is a built-in function such as vprintf
        return at
    name, rest = match["name"], match["rest"] or ""
    cluster = CLUSTER.search(rest)
    function = Function(
        name,
        re.search(r"\.entry\b", header) is not None,
        _params(match["params"] or ""),
        _params(match["results"] or ""),
        max_threads=_max_threads(rest),
        cluster=_three(cluster[1]) if cluster else (1, 1, 1),
    )
    module.functions[name] = function
    return BodyReader(module, function).read(text, at)


def _max_threads(rest: str) -> int | None:
    match = THREADS.search(rest)
    return prod(_three(match[1])) if match else None


def _three(text: str) -> tuple[int, int, int]:
    numbers = [statements.natural(part.strip()) for part in text.split(",")]
    x, y, z = (*numbers, 1, 1)[:3]
    return x, y, z


def _params(text: str) -> tuple[Param, ...]:
    """Raises PtxError for parameters in registers, which only functions have."""
    params = []
    for part in text.split(",") if text.strip() else ():
        match = PARAM.match(part)
        size = BYTES.get(match["type"]) if match else None
        if match is None or size is None or match["space"] == "reg":
            raise PtxError(f"parameter not understood: {part.strip()[:60]!r}")
        if match["array"]:
            size *= integer(match["count"]) if match["count"] else 0
        align = integer(match["align"]) if match["align"] else 0
        params.append(Param(match["name"], size, align, match["array"] is not None))
    return tuple(params)

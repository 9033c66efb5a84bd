"""A whole module: directives, variables and the headers of functions."""

from __future__ import annotations

import re

from grader.ptx.parsing.body import BodyReader
from grader.ptx.parsing.errors import PtxError
from grader.ptx.parsing.variables import variables_of
from grader.ptx.syntax import Function, Module, Param
from grader.ptx.types import BYTES

COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\])*")', re.DOTALL)
MODULE_ITEM = re.compile(
    r"\s*(?:(?P<line>\.(?:version|target|address_size|file)\b[^\n]*)"
    r"|(?P<section>\.section\b[^{]*\{[^}]*\})"
    r"|(?P<alias>\.alias\b[^;]*;)"
    r"|(?P<function>(?:\.(?:visible|extern|weak|common)\s+)*\.(?:entry|func)\b[^{;]*[{;])"
    r"|(?P<pragma>\.pragma[^;]*;)"
    r"|(?P<variable>\.[^;]*;))"
)
PARAM = re.compile(
    r"\.(?:param|reg)\s+(?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)(?:\s+\.ptr[^,]*?)?\s+(?P<name>[\w$%]+)"
    r"(?:\[(?P<count>\d*)\])?"
)


def parse(text: str) -> Module:
    """Parse a PTX module. Raises PtxError with the line of `text` that cannot be parsed."""
    text = COMMENT.sub(lambda m: m.group(1) or _same_lines(m.group(0)), text)
    module = Module({}, {}, dict(_files(text)))
    at = 0
    while match := MODULE_ITEM.match(text, at):
        at = match.end()
        if match.lastgroup == "function":
            at = _function(module, match.group("function"), text, at)
        elif match.lastgroup == "variable":
            for variable in variables_of(match.group("variable").rstrip(";")):
                module.variables[variable.name] = variable
    if text[at:].strip():
        raise PtxError(f"PTX line {text.count(chr(10), 0, at) + 1}: not understood: {text[at : at + 60].strip()!r}")
    return module


def _same_lines(comment: str) -> str:
    return "\n" * comment.count("\n") or " "


def _files(text: str) -> list[tuple[int, str]]:
    return [(int(n), name) for n, name in re.findall(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', text, re.MULTILINE)]


def _function(module: Module, header: str, text: str, at: int) -> int:
    is_entry = re.search(r"\.entry\b", header) is not None
    match = re.search(
        r"\.(?:entry|func)\s*(?:\((?P<results>[^)]*)\)\s*)?(?P<name>[\w$]+)\s*(?:\((?P<params>[^)]*)\))?(?P<rest>.*)",
        header,
        re.DOTALL,
    )
    if match is None:
        raise PtxError(f"function header not understood: {header[:80]!r}")
    name, rest = match.group("name"), match.group("rest") or ""
    if header.endswith(";"):  # a declaration: its definition follows, or it is a built-in function such as vprintf
        return at
    function = Function(
        name,
        is_entry,
        _params(match.group("params") or ""),
        _params(match.group("results") or ""),
        max_threads=_max_threads(rest),
        has_cluster="cluster" in rest,
    )
    for param in (*function.parameters, *function.results):  # .func parameters may be registers
        if param.name.startswith("%"):
            raise PtxError(f"function {name}: register parameters are not supported")
    module.functions[name] = function
    return BodyReader(module, function).read(text, at)


def _max_threads(rest: str) -> int | None:
    match = re.search(r"\.(?:maxntid|reqntid)\s+([\d\s,]+)", rest)
    if match is None:
        return None
    product = 1
    for dimension in match.group(1).replace(",", " ").split():
        product *= int(dimension)
    return product


def _params(text: str) -> tuple[Param, ...]:
    params = []
    for match in PARAM.finditer(text):
        size = BYTES[match.group("type")]
        is_array = match.group("count") is not None
        if is_array:
            size *= int(match.group("count") or 0)
        params.append(Param(match.group("name"), size, int(match.group("align") or 0), is_array))
    return tuple(params)

"""The kernels defined in a PTX text, with the widths of their parameters.

Reads only headers, so it also works for files with instructions that the CPU engine cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from math import prod

from grader.model.execution import CompiledKernel, Resources
from grader.ptx.parsing import statements
from grader.ptx.parsing.errors import PtxError

_BYTES = {"8": 1, "16": 2, "32": 4, "64": 8, "128": 16}
_ENTRY = re.compile(r"^\s*(?:\.visible\s*|\.weak\s*)*\.entry\s+([\w$]+)\s*(?:\(([^)]*)\))?([^{;]*)\{", re.M)
_PARAMETER = re.compile(r"\.param\s*(?:\.align\s+\d+\s*)?\.[a-z]+(\d+)\b[^,\[]*(?:\[(\d{1,9})\])?")
_THREADS = re.compile(r"\.(?:maxntid|reqntid)\s+(\w+(?:\s*,\s*\w+)*)")
_CLUSTER = re.compile(r"\.reqnctapercluster\s*(\d{1,9}(?:\s*,\s*\d{1,9})*)")
_EXTERN_SHARED = re.compile(r"\.extern\s+\.shared\s+(?:\.align\s+\d+\s+)?\.\w+\s+([\w$]+)\[\]")
_LOCATION = re.compile(r"^\s*\.loc\s+(\d+)\s+([1-9]\d{0,8})\s", re.M)
_FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', re.M)


def kernels(ptx: str, text: str, source_name: str, resources: Mapping[str, Resources]) -> tuple[CompiledKernel, ...]:
    """In the order of their lines in the source `text`."""
    with suppress(PtxError):
        ptx = statements.without_comments(ptx)  # on the same lines
    numbers = [number for number, name in _FILE.findall(ptx) if name == source_name]
    found = [_kernel(match, ptx, text, numbers, resources) for match in _ENTRY.finditer(ptx)]
    return tuple(sorted(found, key=lambda kernel: kernel.line))


def line_of(name: str, text: str) -> int:
    """The line of a kernel's name in its definition; 0 if a macro generated it."""
    match = re.search(rf"__global__\b[^;{{}}]*?\b({re.escape(name)})\s*\(", text)
    return text.count("\n", 0, match.start(1)) + 1 if match else 0


def _kernel(
    match: re.Match[str], ptx: str, text: str, numbers: list[str], resources: Mapping[str, Resources]
) -> CompiledKernel:
    name, parameters, directives = match.groups()
    cluster = _CLUSTER.search(directives)
    return CompiledKernel(
        name,
        tuple(_BYTES.get(bits, 0) * int(count or 1) for bits, count in _PARAMETER.findall(parameters or "")),
        line_of(name, text) or _first_location(ptx, match.end(), numbers),
        resources.get(name),
        _threads(directives),
        _three(cluster.group(1)) if cluster else None,
        _dynamic_arrays(ptx, match.end()),
    )


def readable(symbol: str) -> str:
    """A variable's own name: the last one of a mangled name."""
    parts = re.findall(r"(?=(?<!\d)(\d+)([A-Za-z_]\w*))", symbol) if symbol.startswith("_Z") else []
    return next((rest[: int(size)] for size, rest in reversed(parts) if len(rest) >= int(size)), symbol)


def _dynamic_arrays(ptx: str, start: int) -> tuple[str, ...]:
    """The extern __shared__ arrays that the body at `start` uses."""
    body = ptx[start : ptx.find("\n}", start)]
    names = dict.fromkeys(_EXTERN_SHARED.findall(ptx))
    used = [name for name in names if re.search(rf"[\[,]\s*{re.escape(name)}\s*[\],;+]", body)]
    return tuple(dict.fromkeys(map(readable, used)))


def _three(numbers: str) -> tuple[int, int, int]:
    """Sizes that are left out are 1."""
    x, y, z, *_ = (*map(int, numbers.split(",")), 1, 1)
    return x, y, z


def _threads(directives: str) -> int | None:
    """The most that a block may have; None if that is not said, or not as ptxas reads it."""
    found = _THREADS.search(directives)
    try:
        return prod(statements.natural(number.strip()) for number in found[1].split(",")) if found else None
    except PtxError:
        return None


def _first_location(ptx: str, start: int, numbers: list[str]) -> int:
    """The first line of the submission that the body at `start` was generated from."""
    end = ptx.find("\n}", start)
    for number, line in _LOCATION.findall(ptx[start:end]):
        if number in numbers:
            return int(line)
    return 0

"""Registers, shared memory and spills per kernel, from the log of ptxas -v."""

from __future__ import annotations

import re

from grader.model.execution import Resources

_ENTRY = re.compile(r"Compiling entry function '([^']+)'")
_PROPERTIES = re.compile(r"Function properties for (\S+)")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_GLOBAL = re.compile(r"(\d+) bytes gmem")


def parse(log: str) -> dict[str, Resources]:
    """By kernel name. Functions that a kernel calls have their own frames in the log, which are not counted here."""
    entry = described = ""
    global_bytes = 0
    frames: dict[str, tuple[int, int]] = {}
    found: dict[str, Resources] = {}
    for line in log.splitlines():
        if match := _ENTRY.search(line):
            entry = match.group(1)
        elif match := _PROPERTIES.search(line):
            described = match.group(1)
        elif match := _FRAME.search(line):
            stack, stores, loads = map(int, match.groups())
            frames[described] = stack, stores + loads
        elif match := _REGISTERS.search(line):
            shared = _SHARED.search(line)
            stack, spills = frames.get(entry, (0, 0))
            shared_bytes = int(shared.group(1)) if shared else 0
            found[entry] = Resources(int(match.group(1)), shared_bytes, spills, stack, global_bytes)
        elif match := _GLOBAL.search(line):
            global_bytes = int(match.group(1))
    return found

"""The interpreter's memory: the addresses of variables and arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from grader.ptx.syntax import Module, Variable

Dim3 = tuple[int, int, int]
STRETCH = 1 << 40


class InterpreterError(Exception):
    """The kernel did something without a defined result, or something that is not supported here."""


class AddressSpace:
    """Allocations in one 64-bit address space, a terabyte apart."""

    def __init__(self) -> None:
        self._stretches: list[memoryview] = []

    def map(self, data: Any) -> int:
        """Give a writable buffer an address."""
        self._stretches.append(memoryview(data).cast("B"))
        return len(self._stretches) * STRETCH

    def at(self, address: int, size: int) -> memoryview:
        index, offset = divmod(address, STRETCH)
        if not 1 <= index <= len(self._stretches):
            raise InterpreterError(f"no allocation at {address:#x}")
        return inside(self._stretches[index - 1], offset, size)


def inside(data: memoryview, offset: int, size: int) -> memoryview:
    """The bytes of one access. Raises InterpreterError if it is out of bounds or misaligned."""
    if offset < 0 or offset + size > len(data):
        raise InterpreterError(f"access of {size} bytes at offset {offset} of an allocation of {len(data)}")
    if offset % size:
        raise InterpreterError(f"misaligned access of {size} bytes at offset {offset}")
    return data[offset : offset + size]


@dataclass
class GridState:
    """The state that all threads of a grid share."""

    module: Module
    grid: Dim3
    block: Dim3
    shared_bytes: int
    cluster: Dim3 = (1, 1, 1)
    functions: dict[int, str] = field(default_factory=dict)  # by address
    memory: AddressSpace = field(default_factory=AddressSpace)
    symbols: dict[str, int] = field(default_factory=dict)  # global and constant variables
    shared: dict[str, int] = field(default_factory=dict)  # offsets of shared variables
    static_bytes: int = 0


def place_variables(launch: GridState) -> None:
    """Assign addresses to the module's variables; dynamic shared memory follows static shared memory."""
    functions = launch.module.functions.values()
    variables = [*launch.module.variables.values(), *(v for f in functions for v in f.variables.values())]
    dynamic: list[Variable] = []
    for variable in variables:
        if variable.space == "shared" and variable.size == 0:
            dynamic.append(variable)
        elif variable.space == "shared":
            launch.static_bytes = -(-launch.static_bytes // variable.align) * variable.align
            launch.shared[variable.name] = launch.static_bytes
            launch.static_bytes += variable.size
        elif variable.space in ("global", "const"):
            launch.symbols[variable.name] = launch.memory.map(
                bytearray((variable.data or b"").ljust(variable.size, b"\0"))
            )
    for name in launch.module.functions:
        launch.symbols[name] = launch.memory.map(bytearray(0))
        launch.functions[launch.symbols[name]] = name
    launch.static_bytes = -(-launch.static_bytes // 16) * 16
    launch.shared |= {variable.name: launch.static_bytes for variable in dynamic}
    for variable in variables:
        for offset, symbol, addend in variable.relocations:
            target = launch.symbols[symbol] + addend
            launch.memory.at(launch.symbols[variable.name] + offset, 8)[:] = target.to_bytes(8, "little")

"""Program: a PTX module that can be run. Compiles kernels with LLVM, runs blocks on OS threads."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import llvmlite.binding as llvm
import numpy as np

from grader.ptx.explain import Explainer, Report
from grader.ptx.flow import Unsupported
from grader.ptx.lower import Lowered, lower
from grader.ptx.machine import (
    FAULT,
    INITIALISED,
    LAUNCH,
    MAIL_BYTES,
    MAX_SHARED_BYTES,
    NAMED_BARRIERS,
    PARAM_WINDOW,
    READABLE,
    TIME_IS_UP,
    VARIABLE_WINDOW,
    WINDOW,
    WORKER,
    WRITABLE,
    Kind,
    window_base,
)
from grader.ptx.memory import variable_windows
from grader.ptx.parser import Location, Module, Variable
from grader.ptx.printing import Printer

WINDOWS = 1024
SINK_BYTES = 1 << 16
FAULT_LIMIT = 2_000_000  # per worker; a kernel that is wrong everywhere need not run to its end
MAX_THREADS = 1024
MAX_BLOCKS = 1 << 24
LIBRARY_FUNCTIONS = ("sin", "cos", "log2", "exp2", "tanh")
PRINT_LINE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_uint64, ctypes.c_void_p)


@dataclass(frozen=True)
class Buffer:
    """An array that a kernel gets a pointer to; used in place. `data` must be C-contiguous.

    Not writable: a store to it is a finding. Not initialised: a read before a write is one.
    """

    name: str
    data: np.ndarray
    writable: bool = False
    initialised: bool = True


@dataclass(frozen=True)
class Limits:
    """instructions: of one thread between two barriers. seconds: of the whole run."""

    instructions: int = 4_000_000_000
    seconds: float = 60.0


@dataclass(frozen=True)
class Execution:
    findings: tuple[Report, ...]
    printed: str
    jit_seconds: float
    run_seconds: float


@dataclass
class _Compiled:
    lowered: Lowered
    work: ctypes._CFunctionType  # type: ignore[name-defined]
    keep: list[object] = field(default_factory=list)


class Program:
    """Kernels of one module, compiled on first use. Raises Unsupported for unknown instructions."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self._compiled: dict[tuple[str, frozenset[int]], _Compiled] = {}
        self._variables = _place_variables(module)

    def run(
        self,
        kernel: str,
        *,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        shared_bytes: int = 0,
        arguments: Sequence[Buffer | int],
        workers: int | None = None,
        limits: Limits | None = None,
    ) -> Execution:
        """Run one launch. Buffers change in place; what went wrong comes back as findings.

        Raises KeyError for a kernel that is not there, ValueError for arguments that do not fit it.
        """
        started = time.perf_counter()
        function = self.module.kernels[kernel]
        if len(arguments) != len(function.parameters):
            raise ValueError(f"{kernel} takes {len(function.parameters)} arguments, not {len(arguments)}")
        threads, blocks = block[0] * block[1] * block[2], grid[0] * grid[1] * grid[2]
        if not 0 < threads <= MAX_THREADS or blocks <= 0 or not 0 <= shared_bytes <= MAX_SHARED_BYTES:
            raise ValueError(f"{kernel} cannot be launched with grid {grid}, block {block}, {shared_bytes} bytes")
        if blocks > MAX_BLOCKS:
            raise Unsupported(f"a grid of {blocks} blocks is too large for the CPU", Location("", function.line, 0))
        read_only = frozenset(i for i, a in enumerate(arguments) if isinstance(a, Buffer) and not a.writable)
        compiled = self._compile(kernel, read_only)
        jitted = time.perf_counter()
        launch = _Launch(compiled.lowered, self, grid, block, shared_bytes, arguments, limits or Limits())
        launch.go(compiled.work, workers or len(os.sched_getaffinity(0)))
        findings = Explainer(compiled.lowered, arguments, self.module, grid, block, shared_bytes).reports(
            launch.faults()
        )
        finished = time.perf_counter()
        return Execution(tuple(findings), launch.printer.text(), jitted - started, finished - jitted)

    def _compile(self, kernel: str, read_only: frozenset[int]) -> _Compiled:
        key = (kernel, read_only)
        if key not in self._compiled:
            lowered = lower(self.module, self.module.kernels[kernel], read_only)
            self._compiled[key] = _jit(lowered)
        return self._compiled[key]


# Compiling ------------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_ready = False


def _prepare_llvm() -> None:
    global _ready
    with _lock:
        if _ready:
            return
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        mathematics = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
        for name in LIBRARY_FUNCTIONS:
            llvm.add_symbol(name, ctypes.cast(getattr(mathematics, name), ctypes.c_void_p).value)
        llvm.add_symbol("print_line", ctypes.cast(_print_line, ctypes.c_void_p).value)
        _ready = True


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """The few passes that pay: LLVM's own -O2 takes ten times as long for code that is hardly faster."""
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


def _jit(lowered: Lowered) -> _Compiled:
    _prepare_llvm()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
    )
    module = llvm.parse_assembly(lowered.ir)
    module.verify()
    _optimise(module, machine)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(engine.get_function_address("work"))
    return _Compiled(lowered, work, [engine, module, machine])


# Memory ---------------------------------------------------------------------------------------------------------


def _place_variables(module: Module) -> dict[str, tuple[int, np.ndarray, Variable]]:
    """Module variables in memory, with the addresses in their initialisers filled in."""
    windows = variable_windows(module)
    if len(windows) > WINDOWS - VARIABLE_WINDOW - 1:
        raise ValueError("too many __device__ and __constant__ variables")
    placed = {}
    for name, window in windows.items():
        variable = module.variables[name]
        data = bytearray(variable.data or bytes(variable.size))
        for offset, symbol, addend in variable.relocations:
            if symbol in windows:
                address = window_base(windows[symbol]) + addend
                data[offset : offset + 8] = address.to_bytes(8, "little")
        placed[name] = (window, np.frombuffer(bytes(data) or b"\0", np.uint8).copy(), variable)
    return placed


def _pointer(array: np.ndarray) -> int:
    return int(array.ctypes.data)


class _Struct:
    """A struct of a Layout, in memory that generated code shares."""

    def __init__(self, layout: object, memory: np.ndarray, at: int = 0) -> None:
        self.layout, self.memory, self.at = layout, memory, at

    def __setitem__(self, name: str, value: int) -> None:
        offset = self.at + self.layout.offset[name]  # type: ignore[attr-defined]
        size = self.layout.SIZES[self.layout.type[name]]  # type: ignore[attr-defined]
        self.memory[offset : offset + size] = np.frombuffer((value % (1 << 8 * size)).to_bytes(size, "little"), np.uint8)

    def __getitem__(self, name: str) -> int:
        offset = self.at + self.layout.offset[name]  # type: ignore[attr-defined]
        size = self.layout.SIZES[self.layout.type[name]]  # type: ignore[attr-defined]
        return int.from_bytes(self.memory[offset : offset + size].tobytes(), "little")


FAULT_TYPE = np.dtype(
    {
        "names": list(FAULT.type),
        "formats": [{"i64": "<i8", "i32": "<u4", "ptr": "<u8"}[t] for t in FAULT.type.values()],
        "offsets": list(FAULT.offset.values()),
        "itemsize": FAULT.size,
    }
)


class _Launch:
    """The memory of one launch and its run."""

    def __init__(
        self,
        lowered: Lowered,
        program: Program,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        shared_bytes: int,
        arguments: Sequence[Buffer | int],
        limits: Limits,
    ) -> None:
        self.lowered, self.limits = lowered, limits
        self.threads = block[0] * block[1] * block[2]
        self.keep: list[np.ndarray] = []
        self.windows = np.zeros(WINDOWS * WINDOW.size, np.uint8)
        for window, data, variable in program._variables.values():
            self._window(window, data, variable.size, READABLE | INITIALISED)
        parameters = self._bind(arguments, program.module.kernels, lowered)
        self.printer = Printer(program._variables)
        self.record = _Struct(LAUNCH, np.zeros(LAUNCH.size, np.uint8))
        index = np.zeros((self.threads, 4), np.uint32)
        order = np.arange(self.threads)
        index[:, 0], index[:, 1] = order % block[0], order // block[0] % block[1]
        index[:, 2] = order // (block[0] * block[1])
        blocks = grid[0] * grid[1] * grid[2]
        fenced = np.zeros(blocks, np.uint32)
        values = {
            "blocks": blocks, "threads": self.threads, "dynamic_shared": shared_bytes,
            "arguments": _pointer(parameters), "windows": _pointer(self.windows), "budget": limits.instructions,
            "thread_index": _pointer(index), "fault_limit": FAULT_LIMIT, "fenced": _pointer(fenced),
        }  # fmt: skip
        for axis, g, b in zip("xyz", grid, block, strict=True):
            values[f"grid_{axis}"], values[f"block_{axis}"] = g, b
        for name, value in values.items():
            self.record[name] = value
        self.keep += [parameters, index, fenced]
        self.fault_tables: list[np.ndarray] = []

    def _window(self, window: int, data: np.ndarray, size: int, flags: int) -> None:
        entry = _Struct(WINDOW, self.windows, window * WINDOW.size)
        entry["host"], entry["size"], entry["flags"] = _pointer(data), size, flags
        if flags & WRITABLE:
            cells = -(-size // self.lowered.global_granule) + 1
            for name, kind in (("write", np.uint64), ("write_site", np.uint32), ("read", np.uint64),
                               ("read_site", np.uint32)):  # fmt: skip
                array = np.zeros(cells, kind)
                entry[name] = _pointer(array)
                self.keep.append(array)

    def _bind(self, arguments: Sequence[Buffer | int], kernels: object, lowered: Lowered) -> np.ndarray:
        block = np.zeros(max(lowered.parameter_bytes, 8), np.uint8)
        ends = [*lowered.parameter_offsets[1:], lowered.parameter_bytes]
        for i, (argument, offset, end) in enumerate(zip(arguments, lowered.parameter_offsets, ends, strict=True)):
            if isinstance(argument, Buffer):
                if not argument.data.flags.c_contiguous:
                    raise ValueError(f"{argument.name} is not contiguous")
                flags = READABLE | (WRITABLE if argument.writable else 0) | (INITIALISED if argument.initialised else 0)
                self._window(PARAM_WINDOW + i, argument.data, argument.data.nbytes, flags)
                value, size = window_base(PARAM_WINDOW + i), 8
            else:
                value, size = argument, min(end - offset, 8)
            block[offset : offset + size] = np.frombuffer((value % (1 << 8 * size)).to_bytes(size, "little"), np.uint8)
        return block

    def _worker(self) -> np.ndarray:
        low = self.lowered
        memory = {
            "shared": np.zeros(low.shared.arena, np.uint8),
            "cells": np.zeros(4 * low.shared.cells, np.uint32),
            "frames": np.zeros(self.threads * low.frame.stride, np.uint8),
            "status": np.zeros(self.threads, np.uint32),
            "faults": np.zeros(len(low.sites) * len(Kind), FAULT_TYPE),
            "sink": np.zeros(SINK_BYTES, np.uint8),
            "mail": np.zeros(self.threads * MAIL_BYTES, np.uint8),
            "arrived": np.zeros(NAMED_BARRIERS, np.uint32),
        }
        worker = _Struct(WORKER, np.zeros(WORKER.size, np.uint8))
        worker["launch"] = _pointer(self.record.memory)
        for name, array in memory.items():
            worker[name] = _pointer(array)
        self.keep += memory.values()
        self.fault_tables.append(memory["faults"])
        return worker.memory

    def go(self, work: object, workers: int) -> None:
        """Run to the end, or until the time is up; then threads stop at their next loop turn or barrier."""
        records = [self._worker() for _ in range(max(1, min(workers, self.record["blocks"])))]

        def body(record: np.ndarray) -> None:
            _printer.current = self.printer
            work(_pointer(record))  # type: ignore[operator]

        threads = [threading.Thread(target=body, args=(r,), daemon=True) for r in records]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + self.limits.seconds
        try:
            for thread in threads:
                thread.join(max(deadline - time.monotonic(), 0.0))
        finally:
            if any(thread.is_alive() for thread in threads):
                self.record["stop"] = TIME_IS_UP
            for thread in threads:
                thread.join()

    def faults(self) -> list[tuple[int, Kind, np.void, int]]:
        """(site, kind, the first record by block, count over all workers)."""
        tables = np.stack([t.reshape(-1, len(Kind)) for t in self.fault_tables])
        found = []
        for site, kind in zip(*np.nonzero(tables["count"].sum(axis=0)), strict=True):
            records = [t for t in tables[:, site, kind] if t["count"]]
            first = min(records, key=lambda r: (int(r["block"]), int(r["thread"])))
            found.append((int(site), Kind(int(kind)), first, sum(int(r["count"]) for r in records)))
        return found


# Printing -------------------------------------------------------------------------------------------------------

_printer = threading.local()


@PRINT_LINE
def _print_line(format_address: int, values: int) -> int:
    """Called by a kernel's printf, on the worker's own thread."""
    printer = getattr(_printer, "current", None)
    return printer.line(format_address, values) if printer else 0


__all__ = ["Buffer", "Execution", "Limits", "Program"]

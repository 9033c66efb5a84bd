"""Compiles LLVM IR to machine code: the runtime once per process, each kernel by itself."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

from grader.ptx import machine_code
from grader.ptx.lowering.lower import Lowered
from grader.ptx.machine import PROGRAM, UNSETTLED
from grader.ptx.printing import Printer
from grader.ptx.runtime.lanes import parts_for
from grader.ptx.runtime.library import runtime_ir
from grader.ptx.structs import Struct, pointer_to

LIBRARY_FUNCTIONS = ("sin", "cos", "log2", "exp2", "tanh")


@dataclass(frozen=True)
class Runtime:
    work: Callable[[int], None]  # takes the address of a WORKER and runs blocks until none is left
    keep: list[object]


@dataclass(frozen=True)
class NativeKernel:
    lowered: Lowered
    program: Struct
    work: Callable[[int], None]  # takes the address of a WORKER and runs blocks until none is left
    keep: list[object]


@dataclass(frozen=True)
class Machine:
    """What to generate code for, in LLVM's words."""

    cpu: str
    features: str


def host() -> Machine:
    return Machine(llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())


_lock = threading.Lock()
_runtime: Runtime | None = None
_of_lanes: dict[tuple[Machine, str], Runtime] = {}


def runtime(kept: Path | None = None) -> Runtime:
    """The functions that all kernels share, made on the first call: read from `kept` if `keep_runtime` wrote there
    what fits, else compiled."""
    global _runtime
    with _lock:
        if _runtime is None:
            _runtime = _make_runtime(kept)
        return _runtime


def keep_runtime(file: Path) -> None:
    """Writes the machine code of the runtime for other processes. Raises OSError."""
    _initialize()
    text, _ = runtime_ir()
    module, machine = _compiled(text, host())
    machine_code.write(file, text, machine.emit_object(module))


def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _make_runtime(kept: Path | None) -> Runtime:
    _initialize()
    mathematics = ctypes.CDLL("libm.so.6")
    for name in LIBRARY_FUNCTIONS:
        llvm.add_symbol(name, ctypes.cast(getattr(mathematics, name), ctypes.c_void_p).value)
    llvm.add_symbol("print_line", ctypes.cast(_print_line, ctypes.c_void_p).value)
    text, names = runtime_ir()
    code = machine_code.read(kept, text) if kept else None
    return _published(*(_loaded(code) if code else _machine_code(text, host())), names, "work")


def _published(engine: llvm.ExecutionEngine, keep: list[object], names: list[str], work: str) -> Runtime:
    """For kernels to call."""
    for name in names:
        llvm.add_symbol(name, engine.get_function_address(name))
    return Runtime(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(engine.get_function_address(work)), keep)


def compile_kernel(lowered: Lowered) -> NativeKernel:
    """Raises RuntimeError if the IR is not valid."""
    return _native(lowered, runtime().work, host())


def compile_warps(lowered: Lowered, machine: Machine | None = None) -> NativeKernel:
    """A kernel that runs warp by warp. Raises RuntimeError if the IR is not valid."""
    runtime()
    machine = machine or host()
    with _lock:
        for name, (text, names) in parts_for(lowered.ir).items():
            if (machine, name) not in _of_lanes:
                _of_lanes[machine, name] = _published(*_machine_code(text, machine), names, name)
        return _native(lowered, _of_lanes[machine, "work_warps"].work, machine)


def _native(lowered: Lowered, work: Callable[[int], None], machine: Machine) -> NativeKernel:
    engine, keep = _machine_code(lowered.ir, machine)
    arrays = np.array([*lowered.shared.arrays, (0, 0)], np.int64)
    program = Struct(PROGRAM)
    program.set(
        kernel=engine.get_function_address(lowered.entry),
        arena=lowered.shared.arena,
        shared_shift=lowered.shared.granule.bit_length() - 1,
        global_shift=lowered.global_granule.bit_length() - 1,
        arrays=pointer_to(arrays),
        array_count=len(lowered.shared.arrays),
        dynamic_start=lowered.shared.dynamic_start,
        blocks=lowered.shared.blocks,
        block_bytes=lowered.shared.block_bytes,
        stride=lowered.frame.stride,
        local_start=lowered.frame.local_start,
        local_bytes=lowered.frame.local_bytes,
        copies_start=lowered.frame.copies_start,
        products_start=lowered.frame.products_start,
        products=lowered.frame.products,
        polls=lowered.shared.polls,
        first_read=UNSETTLED if lowered.shared.rewrites else 0,
    )
    return NativeKernel(lowered, program, work, [*keep, arrays])


def _machine_code(text: str, target: Machine) -> tuple[llvm.ExecutionEngine, list[object]]:
    module, machine = _compiled(text, target)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine, [engine, module, machine]


def _loaded(code: bytes) -> tuple[llvm.ExecutionEngine, list[object]]:
    """An object file of `keep_runtime`."""
    module, machine = llvm.parse_assembly(""), _target_machine(host())
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine, [engine, module, machine]


def _compiled(text: str, target: Machine) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    machine = _target_machine(target)
    module = llvm.parse_assembly(text)
    module.verify()  # what follows would end the process
    _optimise(module, machine)
    return module, machine


def _target_machine(target: Machine) -> llvm.TargetMachine:
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, jit=True
    )


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """Only two passes: LLVM's -O2 pipeline takes ten times as long and the code is no faster."""
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


def make_semaphores(address: int, count: int, step: int) -> None:
    """Of POSIX, `step` bytes apart; all at zero."""
    library = ctypes.CDLL(None)
    for i in range(count):
        library.sem_init(ctypes.c_void_p(address + i * step), 0, 0)


_thread = threading.local()


def print_to(printer: Printer) -> None:
    """Send the printf output of kernels on this OS thread to `printer`."""
    _thread.printer = printer


def _print(format_address: int, values: int | None, room: int) -> int:
    printer: Printer | None = getattr(_thread, "printer", None)
    return printer.line(format_address, values or 0, room) if printer else 0


_print_line = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64)(_print)

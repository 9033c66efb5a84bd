"""Compiles LLVM IR to machine code: the runtime once per process, each kernel by itself."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np

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


def runtime() -> Runtime:
    """The functions that all kernels share, compiled on the first call."""
    global _runtime
    with _lock:
        if _runtime is None:
            _runtime = _compile_runtime()
        return _runtime


def _compile_runtime() -> Runtime:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    mathematics = ctypes.CDLL("libm.so.6")
    for name in LIBRARY_FUNCTIONS:
        llvm.add_symbol(name, ctypes.cast(getattr(mathematics, name), ctypes.c_void_p).value)
    llvm.add_symbol("print_line", ctypes.cast(_print_line, ctypes.c_void_p).value)
    text, names = runtime_ir()
    return _published(text, names, "work", host())


def _published(text: str, names: list[str], work: str, machine: Machine) -> Runtime:
    """Compiled, for kernels to call."""
    engine, keep = _machine_code(text, machine)
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
                _of_lanes[machine, name] = _published(text, names, name, machine)
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
        polls=lowered.shared.polls,
        first_read=UNSETTLED if lowered.shared.rewrites else 0,
    )
    return NativeKernel(lowered, program, work, [*keep, arrays])


def _machine_code(text: str, target: Machine) -> tuple[llvm.ExecutionEngine, list[object]]:
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, jit=True
    )
    module = llvm.parse_assembly(text)
    module.verify()  # what follows would end the process
    _optimise(module, machine)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine, [engine, module, machine]


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

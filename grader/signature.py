"""What a kernel and its launch function must look like, in C++ and in PTX (widths in bytes)."""

from __future__ import annotations

import re

from grader.model.execution import Compilation, CompiledKernel
from grader.model.exercise import Kernel

POINTER_BYTES = 8


def of_launch(kernel: Kernel) -> str:
    parameters = [f"{p.ctype} {p.name}" for p in kernel.launch_parameters] + ["Launch* launch"]
    return f'extern "C" __global__ void {kernel.launch_name}({", ".join(parameters)});'


def widths(kernel: Kernel, *, workspace: bool = False) -> tuple[int, ...]:
    """A kernel that wants a workspace declares one more pointer, its last parameter."""
    own = tuple(parameter.bytes for parameter in kernel.parameters)
    return (*own, POINTER_BYTES) if workspace else own


def launch_widths(kernel: Kernel) -> tuple[int, ...]:
    return (*(parameter.bytes for parameter in kernel.launch_parameters), POINTER_BYTES)


def variants(kernel: Kernel, compilation: Compilation) -> dict[int, CompiledKernel]:
    """The compiled kernels that a launch function may pick, by `variant`: 0 is the kernel itself."""
    pattern = re.compile(re.escape(kernel.name) + r"(?:_([1-9]\d{0,8}))?")
    matches = ((pattern.fullmatch(compiled.name), compiled) for compiled in compilation.kernels)
    return {int(match[1] or 0): compiled for match, compiled in matches if match}


def takes_workspace(kernel: Kernel, compiled: CompiledKernel) -> bool:
    return compiled.parameter_bytes == widths(kernel, workspace=True)

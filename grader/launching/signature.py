"""The required signatures of a kernel and its launch function, in C++ and in PTX (widths in bytes)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from grader.model.execution import Compilation, CompiledKernel
from grader.model.exercise import Kernel, Parameter

WORKSPACE = Parameter("workspace", "void*")
LAUNCH = Parameter("launch", "Launch*")


def of_launch(kernel: Kernel) -> str:
    """The launch function's declaration, for error messages."""
    parameters = ", ".join(f"{p.ctype} {p.name}" for p in launch_parameters(kernel))
    return f'extern "C" __global__ void {kernel.launch_name}({parameters});'


def launch_parameters(kernel: Kernel) -> tuple[Parameter, ...]:
    return (*kernel.launch_parameters, LAUNCH)


def widths(parameters: Iterable[Parameter]) -> tuple[int, ...]:
    return tuple(parameter.bytes for parameter in parameters)


def variants(kernel: Kernel, compilation: Compilation) -> dict[int, CompiledKernel]:
    """The compiled kernels a launch function can choose from, by `variant`; 0 is the kernel itself."""
    pattern = re.compile(re.escape(kernel.name) + r"(?:_([1-9]\d{0,8}))?")
    matches = ((pattern.fullmatch(compiled.name), compiled) for compiled in compilation.kernels)
    return {int(match[1] or 0): compiled for match, compiled in matches if match}


def ends_in_workspace(kernel: Kernel, compiled: CompiledKernel) -> bool:
    """Whether it is declared with an extra parameter that is a pointer; the others may be wrong."""
    widths = compiled.parameter_bytes
    return len(widths) == len(kernel.parameters) + 1 and widths[-1] == WORKSPACE.bytes


def takes_workspace(kernel: Kernel, compiled: CompiledKernel) -> bool:
    """A kernel that uses a workspace declares an extra last parameter."""
    return compiled.parameter_bytes == widths((*kernel.parameters, WORKSPACE))

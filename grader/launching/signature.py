"""The required signatures of a kernel and its launch function, in C++ and in PTX (widths in bytes)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from grader.model.execution import Compilation, CompiledKernel
from grader.model.exercise import Kernel, Parameter

WORKSPACE = Parameter("workspace", "void*")
LAUNCH = Parameter("launch", "Launch*")
TENSOR_MAP_BYTES = 128  # of a CUtensorMap; no exercise has another parameter of that size
MAX_TENSOR_MAPS = 8


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


def tensor_maps(compiled: CompiledKernel) -> int:
    """How many CUtensorMaps it declares as its last parameters."""
    widths = compiled.parameter_bytes
    others = next((i for i in range(len(widths), 0, -1) if widths[i - 1] != TENSOR_MAP_BYTES), 0)
    return len(widths) - others


def without_tensor_maps(compiled: CompiledKernel) -> tuple[int, ...]:
    """The widths of its other parameters."""
    return compiled.parameter_bytes[: len(compiled.parameter_bytes) - tensor_maps(compiled)]


def ends_in_workspace(kernel: Kernel, compiled: CompiledKernel) -> bool:
    """Whether it is declared with an extra parameter that is a pointer; the others may be wrong."""
    widths = without_tensor_maps(compiled)
    return len(widths) == len(kernel.parameters) + 1 and widths[-1] == WORKSPACE.bytes


def takes_workspace(kernel: Kernel, compiled: CompiledKernel) -> bool:
    """A kernel that uses a workspace declares an extra parameter behind its own."""
    return without_tensor_maps(compiled) == widths((*kernel.parameters, WORKSPACE))


def parameters(kernel: Kernel, *, workspace: bool) -> tuple[Parameter, ...]:
    """All that are not tensor maps: a tensor map names one by its number."""
    return (*kernel.parameters, WORKSPACE) if workspace else kernel.parameters

"""A kernel of exercise 01 on the CPU engine, in this process: launch function, then kernel."""

from __future__ import annotations

import numpy as np

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.launching.plan import decode_launch, request_launch
from grader.model.execution import UNCOALESCED
from grader.model.exercise import Array, Case, Kernel, Parameter

SECONDS = 20.0  # ten times the slowest of these kernels on the largest of these cases


class Grouped:
    """One source file, compiled. Raises AssertionError where it does not compile without a word."""

    def __init__(self, kernel: Kernel, text: str, *, strict: bool = True) -> None:
        """`strict`: the compiler must have nothing to say."""
        compiled = compile_text(text, PTX_ARCH)
        assert compiled.compilation.ok, compiled.compilation.log
        assert not strict or {finding.kind for finding in compiled.compilation.findings} <= {
            UNCOALESCED
        }  # right, but slow
        self._kernel = kernel
        module = ptx.parse(compiled.ptx)
        self._program = ptx.Program(module)
        self._of_warps = ptx.Program(module, warps=ptx.Warps.ALWAYS)

    def run(self, case: Case, *, warps: bool = False) -> tuple[tuple[ptx.Report, ...], np.ndarray]:
        """Findings of both functions, and C. `warps`: the kernel runs warp by warp first. Raises ptx.Unsupported."""
        invocations, arrays = request_launch(self._kernel, case)
        given = ptx.Buffer("launch", arrays[-1].data.copy(), writable=True)
        first = self._program.run(
            invocations[0].kernel,
            grid=(1, 1, 1),
            block=(1, 1, 1),
            arguments=[*self._arguments(case, self._kernel.launch_parameters), given],
        )
        config = decode_launch(given.data)
        name = self._kernel.variant_name(config.variant)
        arguments = self._arguments(case, self._kernel.parameters)
        output = next(a for a in arguments if isinstance(a, ptx.Buffer) and a.writable)
        if config.workspace_bytes:
            workspace = np.zeros(config.workspace_bytes, np.uint8)
            arguments.append(ptx.Buffer("workspace", workspace, writable=True))
        execution = (self._of_warps if warps else self._program).run(
            name,
            grid=config.grid,
            block=config.block,
            shared_bytes=config.shared_bytes,
            arguments=arguments,
            limits=ptx.Limits(seconds=SECONDS),
        )
        return (*first.findings, *execution.findings), output.data

    @staticmethod
    def _arguments(case: Case, parameters: tuple[Parameter, ...]) -> list[ptx.Buffer | int]:
        return [_argument(p.name, case.arguments[p.name]) for p in parameters]


def _argument(name: str, value: Array | int) -> ptx.Buffer | int:
    if isinstance(value, int):
        return value
    if value.access == "in":
        return ptx.Buffer(name, value.data)
    return ptx.Buffer(name, np.full_like(value.data, np.nan), writable=True, initialised=False)

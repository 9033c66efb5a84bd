"""A submission of several kernels on the CPU engine, in this process: each launch function, then each kernel."""

from __future__ import annotations

import numpy as np

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.launching.plan import H200, DeviceLimits, decode_launch, request_launch
from grader.model import execution
from grader.model.execution import LaunchConfig
from grader.model.exercise import Array, Case, Exercise, Kernel

SECONDS = 20.0  # ten times the slowest of these kernels on the largest of these cases
Given = dict[str, "ptx.Buffer | int"]


class Several:
    """One source file, compiled. Raises AssertionError where it does not compile."""

    def __init__(self, exercise: Exercise, text: str) -> None:
        compiled = compile_text(text, PTX_ARCH)
        assert compiled.compilation.ok, compiled.compilation.log
        self._kernels = exercise.kernels
        self._program = ptx.Program(ptx.parse(compiled.ptx))

    def run(
        self, case: Case, only: str = "", limits: DeviceLimits = H200
    ) -> tuple[tuple[ptx.Report, ...], dict[str, np.ndarray]]:
        """Findings up to the first kernel that has some, and every output as it then is. `only`: a single kernel."""
        given: Given = {name: _given(name, value) for name, value in case.arguments.items()}
        kernels = [kernel for kernel in self._kernels if only in ("", kernel.name)]
        configs = [self._launch(kernel, case, given, limits) for kernel in kernels]
        workspace = np.zeros(max(1, *(config.workspace_bytes for config in configs)), np.uint8)
        findings: tuple[ptx.Report, ...] = ()
        for kernel, config in zip(kernels, configs, strict=True):
            arguments: list[ptx.Buffer | ptx.TensorMap | int] = [given[p.key] for p in kernel.parameters]
            if config.workspace_bytes:
                arguments.append(ptx.Buffer("workspace", workspace, writable=True))
            arguments += map(_tensor_map, config.tensor_maps)
            findings = self._program.run(
                kernel.variant_name(config.variant),
                grid=config.grid,
                block=config.block,
                shared_bytes=config.shared_bytes,
                cluster=config.cluster if any(config.cluster) else None,
                arguments=arguments,
                limits=ptx.Limits(seconds=SECONDS),
            ).findings
            if findings:
                break
        outputs = {name: b.data for name, b in given.items() if isinstance(b, ptx.Buffer) and b.writable}
        return findings, outputs

    def config(self, kernel: Kernel, case: Case, limits: DeviceLimits = H200) -> LaunchConfig:
        """How the kernel's launch function wants it launched."""
        given = {name: _given(name, value) for name, value in case.arguments.items()}
        return self._launch(kernel, case, given, limits)

    def _launch(self, kernel: Kernel, case: Case, given: Given, limits: DeviceLimits) -> LaunchConfig:
        invocations, arrays = request_launch(kernel, case, limits)
        filled = ptx.Buffer("launch", arrays[-1].data.copy(), writable=True)
        arguments = [*(given[p.key] for p in kernel.launch_parameters), filled]
        name = invocations[0].kernel
        launched = self._program.run(name, grid=(1, 1, 1), block=(1, 1, 1), arguments=arguments)
        assert launched.findings == ()
        return decode_launch(filled.data)


def _tensor_map(asked: execution.TensorMap) -> ptx.TensorMap:
    r = asked.rank
    return ptx.TensorMap(
        asked.array,
        asked.type,
        asked.offset,
        asked.dim[:r],
        asked.stride[: r - 1],
        asked.box[:r],
        asked.steps,
        swizzle=asked.swizzle,
    )


def _given(name: str, value: Array | int) -> ptx.Buffer | int:
    if isinstance(value, int):
        return value
    if value.access == "in":
        return ptx.Buffer(name, value.data)
    poison = np.full(value.data.nbytes, 0xFF, np.uint8).view(value.data.dtype).reshape(value.data.shape)
    filled = np.zeros(poison.nbytes, np.uint8)  # what one kernel wrote, the next one may read
    return ptx.Buffer(name, poison, writable=True, initialised=False, filled=filled)

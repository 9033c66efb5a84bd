"""How one kernel is launched on one case: the values from its launch function, checked against a device's limits."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

import msgspec
import numpy as np

from grader.launching import launch_source, signature, tensor_map_limits
from grader.model.details import Detail
from grader.model.execution import (
    GRID_TOO_LARGE,
    Compilation,
    CompiledKernel,
    Invocation,
    LaunchConfig,
    Mapped,
    Outcome,
    TensorMap,
)
from grader.model.exercise import Array, Case, Kernel
from grader.model.result import Finding

# struct Launch of grader.cuh: grid, block, shared_bytes, variant, workspace_bytes, sm_count, max_shared_bytes,
# cluster, tensor_maps; then MAX_TENSOR_MAPS of struct TensorMap: array, type, rank, offset, dim, stride, box,
# element_stride, interleave, swizzle, l2_promotion, fill
_LAYOUT = struct.Struct("<3I3IIiQii3Ii")
_TENSOR_MAP = struct.Struct("<3i4xQ5Q4Q5I5I4i")
LAUNCH_BYTES = _LAYOUT.size + signature.MAX_TENSOR_MAPS * _TENSOR_MAP.size

SM_COUNT = 132  # the device that the CPU reports: an H200
MAX_SHARED_BYTES = 232_448  # per block, static plus dynamic, compute capability 9.0
MAX_WORKSPACE_BYTES = 64 << 20
MAX_BLOCK_THREADS = 1024
MAX_CLUSTER_BLOCKS = 8  # that every device of compute capability 9.0 can launch
MAX_BLOCK = (1024, 1024, 64)
MAX_GRID = (2**31 - 1, 65_535, 65_535)
REGISTERS_PER_BLOCK = 65_536
WARP = 32


class Plan(msgspec.Struct, frozen=True):
    """How to launch one kernel on one case, or why it cannot be launched."""

    kernel: str = ""
    line: int = 0  # line of the kernel
    grid_line: int = 0  # line where the launch function sets the grid
    config: LaunchConfig = LaunchConfig()
    takes_workspace: bool = False
    dynamic_arrays: tuple[str, ...] = ()  # as in CompiledKernel
    findings: tuple[Finding, ...] = ()
    unsupported: Finding | None = None
    printed: str = ""

    @property
    def refused(self) -> bool:
        return bool(self.findings or self.unsupported)


class DeviceLimits(NamedTuple):
    """The device's limits, which a launch function gets and must respect."""

    sm_count: int = SM_COUNT
    max_shared_bytes: int = MAX_SHARED_BYTES


H200 = DeviceLimits()


def request_launch(
    kernel: Kernel, case: Case, limits: DeviceLimits = H200
) -> tuple[tuple[Invocation, ...], tuple[Array, ...]]:
    """The launch function is a kernel too: one thread that gets the problem and fills in a Launch."""
    values = {p.key: case.arguments[p.key] for p in kernel.launch_parameters}
    arrays = [msgspec.structs.replace(v, access="in") for v in values.values() if isinstance(v, Array)]
    given = _LAYOUT.pack(*[0] * 9, *limits, *[0] * 4).ljust(LAUNCH_BYTES, b"\0")
    arrays.append(Array("launch", np.frombuffer(given, np.uint8).copy(), access="inout"))
    arguments: list[str | tuple[int, int] | Mapped] = [
        p.key if isinstance(values[p.key], Array) else (_integer(values[p.key]), p.bytes)
        for p in kernel.launch_parameters
    ]
    return (Invocation(kernel.launch_name, LaunchConfig(), (*arguments, "launch")),), tuple(arrays)


def plan_launch(
    kernel: Kernel,
    compilation: Compilation,
    source: str,
    filename: str,
    outcome: Outcome,
    limits: DeviceLimits = H200,
) -> Plan:
    """Decode and validate the launch function's result."""
    if outcome.findings or outcome.unsupported:
        return Plan(findings=outcome.findings, unsupported=outcome.unsupported, printed=outcome.printed)
    config = decode_launch(outcome.outputs["launch"])
    maps = tensor_map_count(outcome.outputs["launch"])
    launcher = next(k for k in compilation.kernels if k.name == kernel.launch_name)
    compiled = signature.variants(kernel, compilation).get(config.variant)
    findings = tuple(
        Finding(
            "bad-launch",
            filename,
            launch_source.line_of(source, launcher.line, problem.member.partition("[")[0]),
            f"{kernel.launch_name}: {problem.text}",
            kernel=kernel.name,
            detail=problem.detail,
        )
        for problem in _problems(config, maps, kernel, compiled, limits)
    )
    return Plan(
        kernel=compiled.name if compiled else "",
        line=compiled.line if compiled else 0,
        grid_line=launch_source.line_of(source, launcher.line, "grid"),
        config=config,
        takes_workspace=compiled is not None and signature.takes_workspace(kernel, compiled),
        dynamic_arrays=compiled.dynamic_arrays if compiled else (),
        findings=findings,
        printed=outcome.printed,
    )


def decode_launch(launch: np.ndarray) -> LaunchConfig:
    """Of tensor maps, no more than there is room for."""
    data = launch.tobytes()
    gx, gy, gz, bx, by, bz, shared, variant, workspace, _, _, cx, cy, cz, maps = _LAYOUT.unpack_from(data)
    described = (_tensor_map(data, i) for i in range(max(0, min(maps, signature.MAX_TENSOR_MAPS))))
    return LaunchConfig((gx, gy, gz), (bx, by, bz), shared, variant, workspace, (cx, cy, cz), tuple(described))


def tensor_map_count(launch: np.ndarray) -> int:
    """launch->tensor_maps as the launch function leaves it."""
    return int(_LAYOUT.unpack_from(launch.tobytes())[-1])


def _tensor_map(data: bytes, index: int) -> TensorMap:
    fields = _TENSOR_MAP.unpack_from(data, _LAYOUT.size + index * _TENSOR_MAP.size)
    array, type_, rank, offset, *rest = fields
    dim, stride, box, step = rest[:5], rest[5:9], rest[9:14], rest[14:19]
    return TensorMap(array, type_, rank, offset, tuple(dim), tuple(stride), tuple(box), tuple(step), *rest[19:])


def blame_grid(outcome: Outcome, plans: Sequence[Plan]) -> Outcome:
    """A grid too large for the CPU is reported at the line that sets it; the engine knows only the kernel."""
    lacking = outcome.unsupported
    if lacking is None or lacking.kind != GRID_TOO_LARGE:
        return outcome
    plan = next((plan for plan in plans if plan.kernel == lacking.kernel), None)
    if plan is None:
        return outcome
    message = f"{lacking.message}: should launch->grid count blocks instead of elements?"
    blamed = msgspec.structs.replace(lacking, message=message, line=plan.grid_line)
    return msgspec.structs.replace(outcome, unsupported=blamed)


class LaunchProblem(NamedTuple):
    """Why a device would refuse a launch, and the field of Launch that causes it."""

    member: str
    text: str
    detail: str = ""  # a details.Detail: what to do about it


def _problems(
    config: LaunchConfig, maps: int, kernel: Kernel, compiled: CompiledKernel | None, limits: DeviceLimits
) -> Iterator[LaunchProblem]:
    """`maps`: launch->tensor_maps, which may be more than `config` has."""
    if compiled is None:
        name = kernel.variant_name(config.variant)
        yield LaunchProblem("variant", f"variant is {config.variant}, but there is no kernel {name}")
        return
    yield from _dimension_problems(config)
    yield from _block_problems(config, compiled)
    yield from _cluster_problems(config, compiled)
    yield from _shared_problems(config, compiled, limits)
    yield from _workspace_problems(config, kernel, compiled)
    yield from _tensor_map_problems(config, maps, kernel, compiled)


def _dimension_problems(config: LaunchConfig) -> Iterator[LaunchProblem]:
    for name, size, limits in (("grid", config.grid, MAX_GRID), ("block", config.block, MAX_BLOCK)):
        if not any(size):
            yield LaunchProblem(name, f"launch->{name} is not set; each component must be at least 1", Detail.NOT_SET)
            continue
        for axis, value, limit in zip("xyz", size, limits, strict=True):
            if value == 0:
                yield LaunchProblem(name, f"launch->{name}.{axis} is 0; it must be at least 1", Detail.ROUNDED_DOWN)
            elif value > limit:
                yield LaunchProblem(name, f"launch->{name}.{axis} is {value}; the maximum is {limit}")


def _block_problems(config: LaunchConfig, compiled: CompiledKernel) -> Iterator[LaunchProblem]:
    """Registers are allocated per warp; if a block needs more than a multiprocessor has, the launch fails."""
    threads = prod(config.block)
    block = f"block {_by(config.block)} has {threads} threads"
    registers = -(-compiled.resources.registers // 8) * 8 if compiled.resources else 0
    if threads > MAX_BLOCK_THREADS:
        yield LaunchProblem("block", f"{block}; the maximum is {MAX_BLOCK_THREADS}", Detail.TOO_MANY_THREADS)
    elif compiled.max_threads and threads > compiled.max_threads:
        yield LaunchProblem("block", f"{block}; __launch_bounds__ of {compiled.name} allows {compiled.max_threads}")
    elif compiled.resources and registers * WARP * -(-threads // WARP) > REGISTERS_PER_BLOCK:
        yield LaunchProblem(
            "block",
            f"{block} with {compiled.resources.registers} registers each, more than the "
            f"{REGISTERS_PER_BLOCK} of a multiprocessor; launch fewer threads, "
            f"or declare __launch_bounds__({threads})",
        )


def _cluster_problems(config: LaunchConfig, compiled: CompiledKernel) -> Iterator[LaunchProblem]:
    """The driver refuses a grid that the cluster does not divide, and two sizes that differ."""
    asked, declared = config.cluster, compiled.cluster
    text = f"__cluster_dims__({', '.join(map(str, declared or ()))}) of {compiled.name}"
    if not any(asked):
        yield from _undivided(config.grid, declared or (1, 1, 1), text)
        return
    for axis, size in zip("xyz", asked, strict=True):
        if size == 0:
            yield LaunchProblem("cluster", f"launch->cluster.{axis} is 0; it must be at least 1", Detail.CLUSTER)
    blocks = prod(asked)
    if blocks > MAX_CLUSTER_BLOCKS:
        most = f"the maximum is {MAX_CLUSTER_BLOCKS}"
        yield LaunchProblem("cluster", f"launch->cluster is {_by(asked)}, {blocks} blocks; {most}", Detail.CLUSTER)
    elif declared and asked != declared:
        yield LaunchProblem("cluster", f"launch->cluster is {_by(asked)}, but {text} says otherwise", Detail.CLUSTER)
    elif blocks:
        yield from _undivided(config.grid, asked, f"launch->cluster {_by(asked)}")


def _undivided(grid: Sequence[int], cluster: Sequence[int], what: str) -> Iterator[LaunchProblem]:
    for axis, blocks, size in zip("xyz", grid, cluster, strict=True):
        if size and blocks % size:
            text = f"launch->grid.{axis} is {blocks}; {what} needs a multiple of {size}"
            yield LaunchProblem("grid", text, Detail.CLUSTER)


def _shared_problems(config: LaunchConfig, compiled: CompiledKernel, limits: DeviceLimits) -> Iterator[LaunchProblem]:
    static = compiled.resources.shared_bytes if compiled.resources else 0
    if static + config.shared_bytes > limits.max_shared_bytes:
        static_too = f", on top of {static} static bytes" if static else ""
        most = limits.max_shared_bytes - static
        text = f"launch->shared_bytes is {config.shared_bytes}{static_too}; the maximum is {most}"
        yield LaunchProblem("shared_bytes", text)


def _workspace_problems(config: LaunchConfig, kernel: Kernel, compiled: CompiledKernel) -> Iterator[LaunchProblem]:
    wanted = config.workspace_bytes
    takes = signature.takes_workspace(kernel, compiled)
    texts = []
    if wanted > MAX_WORKSPACE_BYTES:
        texts.append(f"launch->workspace_bytes is {wanted}; the maximum is {MAX_WORKSPACE_BYTES} (64 MiB)")
    if wanted and not takes:
        texts.append(f"launch->workspace_bytes is {wanted}, but {compiled.name} has no parameter void* workspace")
    if takes and not wanted:
        texts.append(f"{compiled.name} takes a workspace, but launch->workspace_bytes is 0")
    for text in texts:
        yield LaunchProblem("workspace_bytes", text)


def _tensor_map_problems(
    config: LaunchConfig, maps: int, kernel: Kernel, compiled: CompiledKernel
) -> Iterator[LaunchProblem]:
    most = signature.MAX_TENSOR_MAPS
    if not 0 <= maps <= most:
        yield LaunchProblem(
            "tensor_maps", f"launch->tensor_maps is {maps}; it must be from 0 to {most}", Detail.TENSOR_MAP
        )
        return
    declared = signature.tensor_maps(compiled)
    if maps != declared:
        has = f"{compiled.name} ends in {declared} parameters const __grid_constant__ CUtensorMap"
        yield LaunchProblem("tensor_maps", f"launch->tensor_maps is {maps}, but {has}", Detail.TENSOR_MAP)
    workspace = signature.takes_workspace(kernel, compiled)
    parameters = signature.parameters(kernel, workspace=workspace)
    for i, described in enumerate(config.tensor_maps):
        if not 0 <= described.array < len(parameters) or not parameters[described.array].is_pointer:
            text = f"is {described.array}; that is the number of no array of {compiled.name}, counted from 0"
            yield LaunchProblem("array", f"launch->tensor_map[{i}].array {text}", Detail.TENSOR_MAP)
        for member, text in tensor_map_limits.refused(described):
            yield LaunchProblem(member, f"launch->tensor_map[{i}].{member} {text}", Detail.TENSOR_MAP)


def _integer(value: Array | int) -> int:
    assert isinstance(value, int)
    return value


def _by(size: Sequence[int]) -> str:
    return "×".join(map(str, size))

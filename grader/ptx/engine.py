"""Runs the kernels of a PTX module on the CPU and checks every access."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from math import prod
from pathlib import Path

from grader.ptx.analysis.unwritten import Place
from grader.ptx.explain import Explainer, submission_frame
from grader.ptx.facts import Report
from grader.ptx.jit import NativeKernel, compile_kernel, compile_warps, keep_runtime, runtime
from grader.ptx.launch import Argument, Buffer, Dim3, Fault, Launch, Limits, place_variables
from grader.ptx.lowering.lower import Lowered, lower
from grader.ptx.lowering.memory import RESERVED
from grader.ptx.lowering.warps.lower import lower_warps
from grader.ptx.machine import (
    ASYNC_WARP,
    MAX_CLUSTER,
    MAX_LOCAL_BYTES,
    MAX_MEETINGS,
    MAX_PARAMETER_BYTES,
    MAX_SHARED_BYTES,
    STAMP_STEP,
    Kind,
)
from grader.ptx.pace import Pace
from grader.ptx.runs import Runs
from grader.ptx.syntax import Location, Module
from grader.ptx.unsupported import OutOfTime, Unsupported

WARP = 32
MAX_BLOCKS = 1 << 24  # more would not end today
# By one thread since its last barrier, if it is in a loop when the time is up. Correct kernels need a thousandth.
MANY_INSTRUCTIONS = 100_000_000
GROUPS = "/include/cooperative_groups"  # how the paths of their headers go on

Lowering = Callable[..., Lowered]  # as lower
WarpsKey = tuple[str, Dim3, Dim3, frozenset[int]]  # kernel, block, cluster, parameters that it may not write


class Warps(Enum):
    """When a kernel is first run warp by warp."""

    IF_IT_PAYS = auto()
    ALWAYS = auto()
    NEVER = auto()


class GridTooLarge(Unsupported):
    """Nothing is unknown: a launch has more blocks than this CPU would ever run."""


@dataclass(frozen=True)
class Execution:
    findings: tuple[Report, ...]
    printed: str
    jit_seconds: float
    run_seconds: float
    unset: frozenset[int]  # lines that may read an uninitialised variable


def prepare(kept: Path | None = None) -> None:
    """Load what all kernels need from the file that `keep` made, or compile it; worth doing while waiting."""
    runtime(kept)


def keep(file: Path) -> None:
    """Write what all kernels need, for `prepare` in other processes. Raises OSError."""
    keep_runtime(file)


class Program:
    """Kernels of one module, compiled on first use. Raises Unsupported for unknown instructions."""

    def __init__(self, module: Module, lowering: Lowering = lower, warps: Warps = Warps.IF_IT_PAYS) -> None:
        """`warps`: when to run a kernel warp by warp first, which is done with the usual lowering only."""
        self.module, self._lowering = module, lowering
        self._warps = warps if lowering is lower else Warps.NEVER
        self._kernels: dict[tuple[str, Dim3, frozenset[int], frozenset[Place]], NativeKernel] = {}
        self._pace = Pace()
        self._of_warps: dict[WarpsKey, NativeKernel | None] = {}
        self._variables = place_variables(module)

    def run(
        self,
        kernel: str,
        *,
        grid: Dim3,
        block: Dim3,
        shared_bytes: int = 0,
        cluster: Dim3 | None = None,
        arguments: Sequence[Argument],
        workers: int | None = None,
        limits: Limits | None = None,
        seed: int = 0,
    ) -> Execution:
        """Run one launch. Buffers are modified in place; errors of the kernel are returned as findings.

        `cluster`: blocks of a cluster; None: as the kernel says itself. The same seed gives the same outputs and
        findings, whatever the number of workers.

        Raises KeyError if there is no such kernel, ValueError if arguments or sizes do not fit it.
        """
        started = time.perf_counter()
        cluster = cluster or self.module.kernels[kernel].cluster
        self._check(kernel, grid, block, cluster, shared_bytes, arguments)
        read_only = frozenset(i for i, a in enumerate(arguments) if isinstance(a, Buffer) and not a.writable)
        workers = workers or len(os.sched_getaffinity(0))
        threads, key = prod(grid) * prod(block), (kernel, block, cluster, read_only)
        of_warps = self._compiled_for_warps(key, threads, workers)
        compiled = of_warps or self._compiled(kernel, cluster, read_only)
        if message := _too_much(compiled.lowered, prod(block), prod(cluster)):
            raise Unsupported(message, Location("", self.module.kernels[kernel].line, 0))
        jitted = time.perf_counter()
        how = (self._variables, grid, block, shared_bytes, arguments, limits or Limits(), seed)
        runs = Runs(lambda native, *, serial: Launch(native, *how, serial=serial), arguments, workers)
        launch = self._run_warps(runs, of_warps, key) if of_warps else None
        if launch is None:
            compiled, launch = runs.run(partial(self._compiled, kernel, cluster, read_only))
            if not of_warps:
                self._pace.note(self.module.kernels[kernel], threads, time.perf_counter() - jitted)
        faults = launch.faults()
        explainer = Explainer(compiled.lowered, arguments, self.module, grid, block, shared_bytes)
        if lacking := [fault for fault in faults if fault.kind is Kind.UNSUPPORTED]:
            raise compiled.lowered.lacking[min(lacking, key=lambda fault: (fault.block, fault.thread)).site]
        if launch.out_of_time and (faults or launch.blocks_left) and all(map(_merely_slow, faults)):
            raise self._out_of_time(kernel, launch)
        if launch.worn_out and not faults:
            message = (
                f"the CPU engine supports no more than {MAX_MEETINGS} barriers or __syncwarp() calls in a block, "
                "and some millions of fences and flags in a launch"
            )
            raise Unsupported(message, Location("", self.module.kernels[kernel].line, 0))
        findings = _without_reserved(explainer.reports([f for f in faults if not _is_cudas_own(f, compiled.lowered)]))
        finished = time.perf_counter()
        unset = frozenset(submission_frame(at).line for at in compiled.lowered.unset)
        return Execution(findings, launch.printer.text(), jitted - started, finished - jitted, unset)

    def _out_of_time(self, kernel: str, launch: Launch) -> OutOfTime:
        begun, seconds = launch.blocks - launch.blocks_left, launch.limits.seconds
        so_far = f"with {begun * launch.in_cluster} of {launch.blocks * launch.in_cluster} blocks started"
        message = f"too slow for this CPU: {seconds:.0f} s on each core, {so_far}"
        return OutOfTime(message, Location("", self.module.kernels[kernel].line, 0))

    def _check(
        self, kernel: str, grid: Dim3, block: Dim3, cluster: Dim3, shared: int, arguments: Sequence[object]
    ) -> None:
        function = self.module.kernels[kernel]
        if len(arguments) != len(function.parameters):
            raise ValueError(f"{kernel} takes {len(function.parameters)} arguments, not {len(arguments)}")
        if min(*grid, *block) < 1 or prod(block) > STAMP_STEP or not 0 <= shared <= MAX_SHARED_BYTES:
            raise ValueError(f"{kernel} cannot be launched with grid {grid}, block {block}, {shared} bytes")
        if min(cluster) < 1 or any(blocks % size for blocks, size in zip(grid, cluster, strict=True)):
            raise ValueError(f"{kernel} cannot be launched with grid {grid} in clusters of {cluster}")
        if prod(grid) > MAX_BLOCKS:
            raise GridTooLarge(
                f"a grid of {prod(grid)} blocks is too large for the CPU", Location("", function.line, 0)
            )

    def _run_warps(self, runs: Runs, compiled: NativeKernel, key: WarpsKey) -> Launch | None:
        """None: the scalar engine must run it. Raises OutOfTime."""
        launch = runs.run_warps(compiled)
        if launch is not None and launch.out_of_time:
            raise self._out_of_time(key[0], launch)
        if launch is None and self._warps is not Warps.ALWAYS:
            self._of_warps[key] = None  # it would happen again
        return launch

    def _compiled_for_warps(self, key: WarpsKey, threads: int, workers: int) -> NativeKernel | None:
        """None: it does not pay, or there are instructions that are not run warp by warp."""
        kernel, block, cluster, read_only = key
        function, always = self.module.kernels[kernel], self._warps is Warps.ALWAYS
        if self._warps is Warps.NEVER:
            return None
        if key not in self._of_warps and not always and not self._pace.pays(function, threads, workers):
            return None
        if key not in self._of_warps:
            function = replace(function, cluster=cluster)
            lowered = lower_warps(self.module, function, read_only, block, even_if_slow=always)
            try:
                self._of_warps[key] = compile_warps(lowered) if lowered else None
            except RuntimeError:
                self._of_warps[key] = None
        return self._of_warps[key]

    def _compiled(
        self, kernel: str, cluster: Dim3, read_only: frozenset[int], unwritten: frozenset[Place] = frozenset()
    ) -> NativeKernel:
        """`unwritten`: loads that read what nothing wrote, whose values are followed."""
        key = (kernel, cluster, read_only, unwritten)
        if key not in self._kernels:
            function = replace(self.module.kernels[kernel], cluster=cluster)
            given = (unwritten,) if unwritten else ()
            lowered = self._lowering(self.module, function, read_only, *given)
            try:
                self._kernels[key] = compile_kernel(lowered)
            except RuntimeError as error:  # operands of types that do not go together
                message = f"the CPU engine does not understand the PTX of {kernel}"
                raise Unsupported(message, Location("", function.line, 0)) from error
        return self._kernels[key]


def _is_cudas_own(fault: Fault, lowered: Lowered) -> bool:
    """A race of cooperative groups with themselves: for tiles of several warps, lanes read scratch memory that the
    warp writes again with no __syncwarp() in between."""
    start, size = lowered.shared_arrays.get(RESERVED, (0, 0))
    numbers = (fault.site, fault.other_site)
    here = fault.kind is Kind.RACE and start <= fault.address % lowered.shared.block_bytes < start + size
    return here and all(GROUPS in lowered.sites[number].location.file for number in numbers)


def _without_reserved(reports: list[Report]) -> tuple[Report, ...]:
    """What CUDA keeps in its own shared memory is set before a kernel starts. More about it is not known."""
    for report in reports:
        if report.array == RESERVED and report.kind != "uninitialised-read":
            raise Unsupported("the CPU engine cannot judge the shared memory that CUDA reserves",
                              Location(report.file, report.line, report.column))  # fmt: skip
    return tuple(report for report in reports if report.array != RESERVED)


def _too_much(kernel: Lowered, threads: int, blocks: int) -> str:
    """Why this launch is not run; judged before any memory is asked for."""
    shared = sum(size for _, size in kernel.shared_arrays.values())
    for wanted, most, what in (
        (kernel.frame.local_bytes, MAX_LOCAL_BYTES, "bytes of local memory for a thread"),
        (shared, MAX_SHARED_BYTES, "bytes of static shared memory for a block"),
        (kernel.parameter_bytes, MAX_PARAMETER_BYTES, "bytes of parameters"),
    ):
        if wanted > most:
            return f"the kernel needs {wanted} {what}; a GPU has at most {most}"
    where = f"a block of {threads} threads" if blocks == 1 else f"a cluster of {blocks * threads} threads"
    if kernel.asynchronous and blocks * threads > WARP * ASYNC_WARP:
        return f"the CPU engine does not support asynchronous copies in {where}"
    if blocks * threads > STAMP_STEP or blocks > MAX_CLUSTER:
        return f"the CPU engine does not support {where}; {STAMP_STEP} threads in {MAX_CLUSTER} blocks are the most"
    if blocks > 1 and threads % WARP:
        return f"the CPU engine does not support clusters of blocks of {threads} threads, which are no whole warps"
    return ""


def _merely_slow(fault: Fault) -> bool:
    """Stopped because the time was up, and too few instructions had run to call it endless."""
    return fault.kind is Kind.DID_NOT_FINISH and fault.other < MANY_INSTRUCTIONS

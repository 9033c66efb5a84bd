"""Tests every possible input: each judged kernel on all bit patterns, generated, run and judged on the device."""

from __future__ import annotations

import ctypes
import time

import cupy
import numpy as np
from cupy_backends.cuda.api import driver, runtime

from grader.executors import bench, device
from grader.executors.device import Kernels
from grader.executors.proof import ByJudges
from grader.executors.regions import DeviceRegion, Memory
from grader.model.execution import Invocation
from grader.sandbox.messages import DeviceVerdict, Sweep, Swept

FILL_GRID, FILL_BLOCK = 1024, 256
POISON = 0xFF


def run(kernels: Kernels, request: Sweep) -> Swept:
    """The first wrong pattern of each kernel, and their number."""
    started = time.monotonic()
    stream = cupy.cuda.Stream(non_blocking=True)
    memory = Memory()
    try:
        regions = {
            name: DeviceRegion(np.dtype(dtype), (request.elements,), 1, memory)
            for name, (dtype, _) in request.arrays.items()
        }
        workspace = memory.allocate(request.workspace_bytes) if request.workspace_bytes else 0
        capability = device.describe().compute_capability
        judges = ByJudges(request.judges, memory, capability)
        fills = Kernels(bench.build(capability))
        verdicts: dict[str, DeviceVerdict] = {}
        inputs = 0

        def pointer(name: str) -> int:
            return regions[name].base if name in regions else workspace

        for invocation, call in zip(request.invocations, request.judges.calls, strict=True):
            patterns = 1 << 8 * regions[_inputs(invocation, request)[0]].dtype.itemsize
            inputs += patterns
            for base in range(0, max(patterns, 1), request.elements):
                _fill(fills, invocation, request, regions, base, stream.ptr)
                if workspace:
                    runtime.memsetAsync(workspace, 0, request.workspace_bytes, stream.ptr)
                kernels.launch(invocation, pointer, stream.ptr)
                judges.look_at(call, pointer, stream.ptr)
                found = judges.verdicts(stream.ptr)[call.kernel]
                if found.wrong and call.kernel not in verdicts:
                    verdicts[call.kernel] = DeviceVerdict(found.wrong, (base + found.first) % patterns)
            total = judges.verdicts(stream.ptr)[call.kernel].wrong
            first = verdicts[call.kernel].first if total else 0
            verdicts[call.kernel] = DeviceVerdict(total, first)
        stream.synchronize()
        return Swept(verdicts, inputs, time.monotonic() - started)
    finally:
        memory.free()


def _inputs(invocation: Invocation, request: Sweep) -> list[str]:
    """The arrays that a kernel reads, in parameter order."""
    arrays = (a for a in invocation.arguments if isinstance(a, str) and a in request.arrays)
    return [name for name in arrays if request.arrays[name][1] == "in"]


def _fill(
    fills: Kernels, invocation: Invocation, request: Sweep, regions: dict[str, DeviceRegion], base: int, stream: int
) -> None:
    inputs = _inputs(invocation, request)
    for name in invocation.arguments:
        if not isinstance(name, str) or name not in regions:
            continue
        region = regions[name]
        if name not in inputs:
            runtime.memsetAsync(region.base, POISON, region.bytes, stream)
        elif name != inputs[0]:
            _launch(fills, "sweep_random", region, base, stream)
        else:
            _launch(fills, "sweep_bytes" if region.dtype.itemsize == 1 else "sweep_patterns", region, base, stream)


def _launch(fills: Kernels, name: str, region: DeviceRegion, base: int, stream: int) -> None:
    values = (ctypes.c_uint64(region.base), ctypes.c_int64(region.elements), ctypes.c_uint64(base))
    addresses = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    grid, block = (FILL_GRID, 1, 1), (FILL_BLOCK, 1, 1)
    driver.launchKernel(fills.function(name), *grid, *block, 0, stream, ctypes.addressof(addresses), 0)

"""The measuring half of a timing, in the child: contenders as captured graphs, rounds, the proof of the results.

A *contender* is the submission or one route of the baseline. Its graph launches it once on every set of inputs. In a
round each contender's graph runs once; what a round measures is a graph's time over its number of launches.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from pathlib import Path

import cupy
import numpy as np
from cupy_backends.cuda.api import driver, runtime

from grader.compile import nvrtc, recipe
from grader.executors import device
from grader.executors.device import Kernels
from grader.model.execution import Invocation
from grader.sandbox.messages import Measure, Measured, Occupancy, Prepare, Prepared, Verified, Verify
from reference_kernels import cublas

SUBMISSION = "submission"
SOURCE = Path(__file__).with_name("bench_kernels.cu")

# What the arrays of a grouped GEMM are called; a baseline reads the submission's inputs and writes its own output.
A, B, C = "A_concat", "B_concat", "C_concat"

ALIGNMENT = 256
POISON = 0xFF  # NaN in every format: an element that a launch leaves out is wrong
FEW_SETS = 4
FEW_ROUNDS = 2
HOPELESS_FACTOR = 3.0
EMPTY_LAUNCHES = 64
EMPTY_ROUNDS = 9
WARP = 32
COMPARE_BLOCK = 256
COMPARE_GRID = 1024

Enqueue = Callable[[cupy.cuda.Stream, int], None]


class Region:
    """One array of every set, one behind the other at a fixed stride."""

    def __init__(self, dtype: np.dtype, shape: tuple[int, ...], sets: int, memory: Memory) -> None:
        self.elements = prod(shape)
        self.dtype = dtype
        self.stride = -(-max(1, self.elements * dtype.itemsize) // ALIGNMENT) * ALIGNMENT
        self.bytes = self.stride * sets
        self.sets = sets
        self.base = memory.allocate(self.bytes)

    def pointer(self, index: int) -> int:
        return self.base + index * self.stride


class Memory:
    """Device memory that is freed all at once."""

    def __init__(self) -> None:
        self._pointers: list[int] = []

    def allocate(self, size: int) -> int:
        pointer = int(runtime.malloc(max(1, size)))
        self._pointers.append(pointer)
        return pointer

    def free(self) -> None:
        for pointer in self._pointers:
            runtime.free(pointer)
        self._pointers = []


class Bench:
    """One problem, ready to be timed. To be closed."""

    def __init__(self, kernels: Kernels, request: Prepare, arrays: dict[str, np.ndarray]) -> None:
        self._kernels, self._request, self._sets = kernels, request, request.sets
        self._memory = Memory()
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._own = Kernels(build(device.describe().compute_capability))
        self._inputs = self._upload(arrays)
        self._outputs = {n: self._region(*spec) for n, spec in request.outputs.items()}
        self._workspace = self._memory.allocate(request.workspace_bytes) if request.workspace_bytes else 0
        self._baseline_output = self._region(*request.outputs[C])
        self._routes = cublas.Routes(cublas.Problem(*request.problem), self._operands())
        self._kept: list[int] = []
        self._turn = 0
        self._launches = {SUBMISSION: self._sets} | self._worth_capturing()
        contenders = {SUBMISSION: self._submission} | self._routes.enqueue
        self._graphs = {name: self._graph(contenders[name], count) for name, count in self._launches.items()}
        self.prepared = Prepared(
            launches=self._launches,
            unavailable=self._routes.unavailable,
            empty_us=self._empty_us(),
            occupancy=tuple(self._occupancy(invocation) for invocation in request.invocations),
            cublas=self._routes.version,
        )

    def close(self) -> None:
        self._graphs = {}
        self._routes.close()
        self._memory.free()

    def measure(self, request: Measure) -> Measured:
        """Everything is put on the stream before anything is waited for, so that the GPU never waits for us."""
        kept = self._make_room(request.rounds) if request.keep else []
        marks: dict[str, list[tuple[cupy.cuda.Event, cupy.cuda.Event]]] = {n: [] for n in request.contenders}
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record(self._stream)
        self._graphs[request.contenders[-1]].launch(self._stream)  # keeps the GPU busy while the rest is queued
        for turn in range(request.rounds):
            for name in self._order(request.contenders):
                self._poison(name)
                start, stop = cupy.cuda.Event(), cupy.cuda.Event()
                start.record(self._stream)
                self._graphs[name].launch(self._stream)
                stop.record(self._stream)
                marks[name].append((start, stop))
                if name == SUBMISSION and kept:
                    self._keep(kept[turn])
        end.record(self._stream)
        self._stream.synchronize()
        self._kept += kept
        times = {
            name: tuple(1000.0 * cupy.cuda.get_elapsed_time(*pair) / self._launches[name] for pair in pairs)
            for name, pairs in marks.items()
        }
        return Measured(times, cupy.cuda.get_elapsed_time(begin, end) / 1000.0)

    def verify(self, request: Verify, references: dict[str, np.ndarray]) -> Verified:
        """Every output that was kept, then each route's over all sets once more."""
        wanted = {name: self._reference(name, region, references) for name, region in self._outputs.items()}
        worst, wrong = 0.0, 0
        for kept in self._kept:
            offset = 0
            for name, region in self._outputs.items():
                found = self._compare(kept + offset, wanted[name], region, request.tolerance, self._sets)
                worst, wrong = _larger(worst, found[0]), wrong + found[1]
                offset += region.bytes
        routes = {}
        for name in self._routes.enqueue:
            if name != cublas.SINGLE_MATRIX:
                self._poison(name)
                self._graphs[name].launch(self._stream)
                base, sets = self._baseline_output, self._launches[name]
                routes[name] = self._compare(base.base, wanted[C], base, request.tolerance, sets)[1]
        elements = len(self._kept) * sum(r.elements * r.sets for r in self._outputs.values())
        return Verified(worst, wrong, elements, routes)

    def _upload(self, arrays: dict[str, np.ndarray]) -> dict[str, Region]:
        names = dict.fromkeys(name.rpartition("/")[0] for name in arrays)
        regions = {}
        for name in names:
            members = [np.ascontiguousarray(arrays[f"{name}/{index}"]) for index in range(self._sets)]
            regions[name] = self._region(members[0].dtype.str, members[0].shape)
            for index, member in enumerate(members):
                device.upload(regions[name].pointer(index), member)
        return regions

    def _region(self, dtype: str, shape: Sequence[int]) -> Region:
        return Region(np.dtype(dtype), tuple(shape), self._sets, self._memory)

    def _operands(self) -> list[cublas.Operands]:
        own = self._baseline_output
        return [
            cublas.Operands(self._inputs[A].pointer(i), self._inputs[B].pointer(i), own.pointer(i))
            for i in range(self._sets)
        ]

    def _submission(self, stream: cupy.cuda.Stream, index: int) -> None:
        """As every run: the workspace zeroed, then the kernels in order."""
        if self._workspace:
            runtime.memsetAsync(self._workspace, 0, self._request.workspace_bytes, stream.ptr)
        for invocation in self._request.invocations:
            self._kernels.launch(invocation, lambda name: self._pointer(name, index), stream.ptr)

    def _pointer(self, name: str, index: int) -> int:
        region = self._inputs.get(name) or self._outputs.get(name)
        return region.pointer(index) if region else self._workspace

    def _worth_capturing(self) -> dict[str, int]:
        """How many sets each route's graph goes through: all of them, where it has a chance to be the fastest.

        cuBLAS needs half a millisecond and 16 kernels for what another route does at once in 20 microseconds.
        To see that, a few sets are enough.
        """
        few = min(FEW_SETS, self._sets)
        best = {name: min(self._times(self._graph(e, few), FEW_ROUNDS)) for name, e in self._routes.enqueue.items()}
        fastest = min(us for name, us in best.items() if name != cublas.SINGLE_MATRIX)
        return {name: few if us > HOPELESS_FACTOR * fastest else self._sets for name, us in best.items()}

    def _times(self, graph: cupy.cuda.Graph, rounds: int) -> list[float]:
        """Milliseconds of a graph, one after the other."""
        times = []
        for _ in range(rounds):
            start, stop = cupy.cuda.Event(), cupy.cuda.Event()
            start.record(self._stream)
            graph.launch(self._stream)
            stop.record(self._stream)
            self._stream.synchronize()
            times.append(cupy.cuda.get_elapsed_time(start, stop))
        return times

    def _graph(self, enqueue: Enqueue, launches: int) -> cupy.cuda.Graph:
        """Run once before: what is loaded or tuned at a first call cannot be captured."""
        enqueue(self._stream, 0)
        self._stream.synchronize()
        self._stream.begin_capture()
        for index in range(launches):
            enqueue(self._stream, index)
        graph = self._stream.end_capture()
        graph.launch(self._stream)
        self._stream.synchronize()
        return graph

    def _order(self, contenders: Sequence[str]) -> Sequence[str]:
        """There and back: who came first in a round comes last in the next."""
        self._turn += 1
        return contenders if self._turn % 2 else contenders[::-1]

    def _poison(self, contender: str) -> None:
        regions = self._outputs.values() if contender == SUBMISSION else (self._baseline_output,)
        for region in regions:
            runtime.memsetAsync(region.base, POISON, region.bytes, self._stream.ptr)

    def _make_room(self, rounds: int) -> list[int]:
        size = sum(region.bytes for region in self._outputs.values())
        base = self._memory.allocate(rounds * size)
        return [base + turn * size for turn in range(rounds)]

    def _keep(self, into: int) -> None:
        for region in self._outputs.values():
            runtime.memcpyAsync(into, region.base, region.bytes, runtime.memcpyDeviceToDevice, self._stream.ptr)
            into += region.bytes

    def _reference(self, name: str, region: Region, references: dict[str, np.ndarray]) -> int:
        """On the device, in FP64, with the strides of the outputs; NaN where they are padded."""
        if region.dtype != np.float32:
            raise TypeError(f"{name} holds {region.dtype}; only float32 outputs can be verified on the device")
        values = np.full((self._sets, region.stride // region.dtype.itemsize), np.nan)
        for index in range(self._sets):
            values[index, : region.elements] = references[f"{name}/{index}"].reshape(-1)
        pointer = self._memory.allocate(values.nbytes)
        device.upload(pointer, values)
        return pointer

    def _compare(self, got: int, want: int, region: Region, tolerance: float, sets: int) -> tuple[float, int]:
        """(largest difference, elements that differ too much) over the first `sets`."""
        results = self._memory.allocate(16)
        runtime.memsetAsync(results, 0, 16, self._stream.ptr)
        values = (
            *(ctypes.c_uint64(got), ctypes.c_uint64(want)),
            ctypes.c_int64(sets * region.stride // region.dtype.itemsize),
            ctypes.c_double(tolerance),
            *(ctypes.c_uint64(results), ctypes.c_uint64(results + 8)),
        )
        addresses = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        function = self._own.function("bench_compare")
        grid, block = (COMPARE_GRID, 1, 1), (COMPARE_BLOCK, 1, 1)
        driver.launchKernel(function, *grid, *block, 0, self._stream.ptr, ctypes.addressof(addresses), 0)
        self._stream.synchronize()
        content = np.empty(16, np.uint8)
        device.download(content, results)
        worst, wrong = struct.unpack("<dQ", content.tobytes())
        return worst, wrong

    def _empty_us(self) -> float:
        function = self._own.function("bench_empty")

        def enqueue(stream: cupy.cuda.Stream, _: int) -> None:
            driver.launchKernel(function, 1, 1, 1, 32, 1, 1, 0, stream.ptr, 0, 0)

        graph = self._graph(enqueue, EMPTY_LAUNCHES)
        return 1000.0 * float(np.median(self._times(graph, EMPTY_ROUNDS))) / EMPTY_LAUNCHES

    def _occupancy(self, invocation: Invocation) -> Occupancy:
        blocks = self._kernels.resident_blocks(invocation)
        warps = -(-prod(invocation.config.block) // WARP)
        share = blocks * warps * WARP / device.threads_per_multiprocessor()
        return Occupancy(invocation.kernel, blocks, share, prod(invocation.config.grid))


@cache
def build(compute_capability: tuple[int, int]) -> bytes:
    """The kernels of bench_kernels.cu as a cubin. Needs no GPU, and takes a tenth of a second, once."""
    built = nvrtc.build(SOURCE.read_text(), recipe.gpu_arch(compute_capability))
    if not built.ok:
        raise RuntimeError(f"{SOURCE.name} does not compile: {built.log}")
    return built.cubin


def _larger(a: float, b: float) -> float:
    """A NaN stays."""
    return b if b != b or b > a else a

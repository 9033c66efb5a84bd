"""The measuring half of timing, in the child: contenders as captured graphs, rounds, the proof of the results.

A *contender* is the submission, its first few kernels if it has several, or one route of the baseline. Its
graph launches it once on every set of inputs. In a round, each contender's graph runs once; a round measures
a graph's time divided by its number of launches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from math import prod
from pathlib import Path

import cupy
import numpy as np
from cupy_backends.cuda.api import driver, runtime

from grader.baselines.baseline import Baseline, Device, DeviceArray, Enqueue
from grader.baselines.registry import BASELINES
from grader.compile import nvrtc, recipe
from grader.executors import block_trace, device
from grader.executors.device import Kernels
from grader.executors.proof import ByJudges, ByReference
from grader.executors.regions import DeviceRegion, Memory
from grader.model.execution import Invocation
from grader.model.measurements import Balance
from grader.sandbox.messages import (
    SUBMISSION,
    UP_TO,
    Judges,
    Measure,
    Measured,
    Occupancy,
    Prepared,
    Upload,
    Verified,
    Verify,
)

SOURCE = Path(__file__).with_name("bench_kernels.cu")

# CUresults of PTX that the driver does not take: too new for it, or for another device.
NOT_LOADED = (209, 218, 222)  # NO_BINARY_FOR_GPU, INVALID_PTX, UNSUPPORTED_PTX_VERSION

POISON = 0xFF  # NaN in every format, so that an element which a launch leaves out is wrong
FEW_SETS = 4
FEW_ROUNDS = 2
HOPELESS_FACTOR = 3.0
EMPTY_LAUNCHES = 64
EMPTY_ROUNDS = 9
WARP = 32


class Bench:
    """One problem on the GPU. Call `prepare` once before measuring. Must be closed."""

    def __init__(self, kernels: Kernels, request: Upload, arrays: dict[str, np.ndarray]) -> None:
        self._kernels, self._request, self._sets = kernels, request, request.sets
        self._memory = Memory()
        self._stream = cupy.cuda.Stream(non_blocking=True)
        compute_capability = device.describe().compute_capability
        self._own = Kernels(build(compute_capability))
        self._inputs = self._upload(arrays)
        self._outputs = {n: self._region(*spec) for n, spec in request.outputs.items()}
        self._workspace = self._memory.allocate(request.workspace_bytes) if request.workspace_bytes else 0
        self._baseline: Baseline = self._baseline_of(request)
        self._references = ByReference(self._outputs, self._own, self._memory)
        self._judges = ByJudges(request.judges, self._memory, compute_capability) if request.judges else None
        self._turn = 0
        self._launches: dict[str, int] = {}
        self._graphs: dict[str, cupy.cuda.Graph] = {}
        runtime.deviceSynchronize()

    def prepare(self) -> Prepared:
        """Captures every contender as a graph, and measures which routes are worth running on all sets."""
        contenders = {SUBMISSION: self._submission} | self._first_kernels() | dict(self._baseline.enqueue)
        self._launches = dict.fromkeys(contenders, self._sets) | self._worth_capturing()
        self._graphs = {name: self._graph(contenders[name], count) for name, count in self._launches.items()}
        return Prepared(
            launches=self._launches,
            unavailable=dict(self._baseline.unavailable),
            empty_us=self._empty_us(),
            occupancy=tuple(self._occupancy(invocation) for invocation in self._request.invocations),
            version=self._baseline.version,
        )

    def close(self) -> None:
        self._graphs = {}
        self._baseline.close()
        self._memory.free()

    def measure(self, request: Measure) -> Measured:
        """Enqueues everything before waiting for anything, so that the GPU never waits for us."""
        kept = self._references.make_room(request.rounds) if request.keep and not self._judges else []
        marks: dict[str, list[tuple[cupy.cuda.Event, cupy.cuda.Event]]] = {n: [] for n in request.contenders}
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record(self._stream)
        self._graphs[request.contenders[-1]].launch(self._stream)  # keeps the GPU busy while the rest is enqueued
        for turn in range(request.rounds):
            for name in self._order(request.contenders):
                self._poison(name)
                start, stop = cupy.cuda.Event(), cupy.cuda.Event()
                start.record(self._stream)
                self._graphs[name].launch(self._stream)
                stop.record(self._stream)
                marks[name].append((start, stop))
                if name == SUBMISSION and request.keep:
                    self._look() if self._judges else self._references.keep(kept[turn], self._stream.ptr)
        end.record(self._stream)
        self._stream.synchronize()
        times = {
            name: tuple(1000.0 * cupy.cuda.get_elapsed_time(*pair) / self._launches[name] for pair in pairs)
            for name, pairs in marks.items()
        }
        return Measured(times, cupy.cuda.get_elapsed_time(begin, end) / 1000.0)

    def trace(self, ptx: str) -> Balance | None:
        """How the kernel's blocks share its work; None for several kernels, or if the driver refuses the PTX."""
        invocations = self._request.invocations
        written = [n for i in invocations for n in i.arguments if isinstance(n, str) and n in self._outputs]
        if len(invocations) != 1 or len(written) != 1:
            return None
        output = self._outputs[written[0]]
        place = (output.pointer(0), output.elements * output.dtype.itemsize, output.dtype.itemsize)
        try:
            return block_trace.run(ptx, invocations[0], partial(self._pointer, index=0), self._zero_workspace, place)
        except driver.CUDADriverError as error:
            if int(error.status) in NOT_LOADED:
                return None
            raise

    def verify(self, request: Verify, references: dict[str, np.ndarray]) -> Verified:
        """Verifies every output of the rounds that count, then each route's once more over all sets."""
        if self._judges:
            return self._judged()
        wanted = self._references.references(references)
        worst, wrong = self._references.compare_kept(wanted, request.tolerance, self._stream.ptr)
        return Verified(worst, wrong, self._references.elements(), self._wrong_by_route(wanted, request.tolerance))

    def _wrong_by_route(self, wanted: Mapping[str, int], tolerance: float) -> dict[str, int]:
        """How many elements of the baseline's own output each route gets wrong."""
        base, writes = self._baseline.output, self._baseline.writes
        if base is None or writes is None:
            return {}
        found = {}
        for name in filter(self._decides, self._baseline.enqueue):
            self._run_route(name)
            _, found[name] = self._references.compare(
                base.base, wanted[writes[0]], base, tolerance, self._launches[name], self._stream.ptr
            )
        return found

    def _wrong_by_judges(self, judges: Judges) -> dict[str, int]:
        """The same, where judges decide: the one of this output looks at the route's in place of the submission's."""
        if self._baseline.output is None or self._baseline.writes is None:
            return {}
        its_own = [call for call in judges.calls if self._baseline.writes[0] in call.arguments]
        found = {}
        for name in filter(self._decides, self._baseline.enqueue):
            self._run_route(name)
            own = ByJudges(Judges(judges.source, tuple(its_own)), self._memory, device.describe().compute_capability)
            for index in range(self._launches[name]):
                own.look(partial(self._pointer_of_route, index=index), self._stream.ptr)
            found[name] = sum(verdict.wrong for verdict in own.verdicts(self._stream.ptr).values())
        return found

    def _run_route(self, name: str) -> None:
        """On every set of its graph, with its results in the baseline's output."""
        self._poison(name)
        self._baseline.poison(self._stream)
        self._graphs[name].launch(self._stream)
        self._baseline.finish(self._stream)

    def _decides(self, route: str) -> bool:
        return self._baseline.routes[route].decides

    def _look(self) -> None:
        assert self._judges is not None
        for index in range(self._sets):
            self._judges.look(partial(self._pointer, index=index), self._stream.ptr)

    def _judged(self) -> Verified:
        assert self._judges is not None
        assert self._request.judges is not None
        verdicts = self._judges.verdicts(self._stream.ptr)
        elements = self._judges.looks * sum(region.elements for region in self._outputs.values())
        wrong = sum(verdict.wrong for verdict in verdicts.values())
        return Verified(None, wrong, elements, self._wrong_by_judges(self._request.judges), verdicts)

    def _upload(self, arrays: dict[str, np.ndarray]) -> dict[str, DeviceRegion]:
        names = dict.fromkeys(name.rpartition("/")[0] for name in arrays)
        regions = {}
        for name in names:
            members = [np.ascontiguousarray(arrays[f"{name}/{index}"]) for index in range(self._sets)]
            regions[name] = self._region(members[0].dtype.str, members[0].shape)
            for index, member in enumerate(members):
                device.upload(regions[name].pointer(index), member)
        return regions

    def _region(self, dtype: str, shape: Sequence[int]) -> DeviceRegion:
        return DeviceRegion(np.dtype(dtype), shape, self._sets, self._memory)

    def _baseline_of(self, request: Upload) -> Baseline:
        """Raises TypeError where it is none for arrays of these types."""
        kind = BASELINES[request.baseline]
        arrays = {**self._inputs, **self._outputs}
        for name, dtype in [*kind.reads.items(), *([kind.writes] if kind.writes else [])]:
            if name not in arrays or arrays[name].dtype != np.dtype(dtype):
                raise TypeError(f"{kind.label} as the baseline {request.baseline!r} wants {name} of {dtype}")
        allocate = partial(DeviceRegion, sets=self._sets, memory=self._memory)
        return kind(request.problem, Device(self._sets, self._inputs, allocate))

    def _submission(self, stream: cupy.cuda.Stream, index: int) -> None:
        self._run(self._request.invocations, stream, index)

    def _first_kernels(self) -> dict[str, Enqueue]:
        """If there are several kernels, each but the last with all before it.

        None runs by itself: what it finds in the workspace must be what the kernels before it leave there.
        """
        every = self._request.invocations
        return {UP_TO + last.kernel: partial(self._run, every[: index + 1]) for index, last in enumerate(every[:-1])}

    def _run(self, invocations: Sequence[Invocation], stream: cupy.cuda.Stream, index: int) -> None:
        """As everywhere: zero the workspace, then launch the kernels in order."""
        self._zero_workspace(stream.ptr)
        for invocation in invocations:
            self._kernels.launch(invocation, partial(self._pointer, index=index), stream.ptr)

    def _zero_workspace(self, stream: int = 0) -> None:
        if self._workspace:
            runtime.memsetAsync(self._workspace, 0, self._request.workspace_bytes, stream)

    def _pointer(self, name: str, index: int) -> int:
        region = self._inputs.get(name) or self._outputs.get(name)
        return region.pointer(index) if region else self._workspace

    def _pointer_of_route(self, name: str, index: int) -> int:
        """Where a judge finds an array when it looks at what the baseline computed."""
        base, writes = self._baseline.output, self._baseline.writes
        return base.pointer(index) if base and writes and name == writes[0] else self._pointer(name, index)

    def _worth_capturing(self) -> dict[str, int]:
        """The number of sets in each route's graph: all of them if the route has a chance to be the fastest.

        One route may need half a millisecond and 16 kernels where another needs 20 microseconds and one kernel.
        A few sets are enough to see that.
        """
        few = min(FEW_SETS, self._sets)
        best = {n: min(self._times(self._graph(e, few), FEW_ROUNDS)) for n, e in self._baseline.enqueue.items()}
        fastest = min(us for name, us in best.items() if self._decides(name))
        return {name: few if us > HOPELESS_FACTOR * fastest else self._sets for name, us in best.items()}

    def _times(self, graph: cupy.cuda.Graph, rounds: int) -> list[float]:
        """Milliseconds per graph, one after the other."""
        times = []
        for _ in range(rounds):
            start, stop = cupy.cuda.Event(), cupy.cuda.Event()
            start.record(self._stream)
            graph.launch(self._stream)
            stop.record(self._stream)
            self._stream.synchronize()
            times.append(cupy.cuda.get_elapsed_time(start, stop))
        return times

    def _graph(self, enqueue: Callable[[cupy.cuda.Stream, int], None], launches: int) -> cupy.cuda.Graph:
        """Runs once before capture, since whatever is loaded or tuned on the first call cannot be captured."""
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
        """Alternates direction: the first contender of a round is the last of the next."""
        self._turn += 1
        return contenders if self._turn % 2 else contenders[::-1]

    def _poison(self, contender: str) -> None:
        """The arrays a contender writes."""
        own = self._baseline.output
        regions: list[DeviceArray] = [own] if own else []
        if contender == SUBMISSION or contender.startswith(UP_TO):
            regions = list(self._outputs.values())
        for region in regions:
            runtime.memsetAsync(region.base, POISON, region.bytes, self._stream.ptr)

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
    """The kernels of bench_kernels.cu as a cubin. Needs no GPU; takes a tenth of a second, once."""
    built = nvrtc.build(SOURCE.read_text(), recipe.gpu_arch(compute_capability))
    if not built.ok:
        raise RuntimeError(f"{SOURCE.name} does not compile: {built.log}")
    return built.cubin

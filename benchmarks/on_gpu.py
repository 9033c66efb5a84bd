"""Times of torch code on a GPU: captured graphs over inputs in rotation, so that nothing is found in the cache."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from grader import machine
from grader.timing import lock, rotation

REPLAYS = 30  # of a graph that runs every set of inputs once
MAX_SETS = 64  # of inputs: a graph of many small launches takes long to capture
WARM_UP = 3


@dataclass(frozen=True)
class Microseconds:
    """Of one launch: the median over the replays, and between which values four fifths of them lie."""

    median: float
    low: float
    high: float


def missing() -> str:
    """Why nothing can be timed on this machine; "" if it can."""
    if not machine.gpus():
        return "needs an NVIDIA GPU"
    if importlib.util.find_spec("torch") is None:
        return "needs torch: python -m pip install 'cuda-kernel-grader[gpu]'"
    import torch

    if not torch.cuda.is_available():
        return "torch does not see the GPU: this is a CPU build, or the driver is too old"
    return ""


def describe() -> dict[str, str]:
    import torch

    return {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": str(torch.version.cuda)}


def sets(bytes_each: int) -> int:
    """How many sets of inputs exceed twice the L2 cache together. `bytes_each`: what the leanest contender reads."""
    import torch

    l2_bytes = torch.cuda.get_device_properties(0).L2_cache_size
    return min(MAX_SETS, rotation.sets(bytes_each, l2_bytes))


def microseconds(run: Callable[[Any], object], inputs: Sequence[Any]) -> Microseconds:
    """Of `run` on one of the inputs. It is captured into a CUDA graph, so it may not wait for the GPU.

    Waits until no grading uses the GPU.
    """
    from cupy_backends.cuda.api import runtime

    with lock.timing(str(runtime.deviceGetPCIBusId(0))):
        return _microseconds(run, inputs)


def _microseconds(run: Callable[[Any], object], inputs: Sequence[Any]) -> Microseconds:
    import torch

    for _ in range(WARM_UP):
        run(inputs[0])
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for one in inputs:
            run(one)
    graph.replay()
    times = []
    for _ in range(REPLAYS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1000 / len(inputs))
    tenths = statistics.quantiles(times, n=10)
    return Microseconds(statistics.median(times), tenths[0], tenths[-1])

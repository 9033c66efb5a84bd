"""FP8 grouped GEMM on a Hopper GPU: our kernel, torch's row-wise grouped product, cuBLASLt's with block scales.

    python benchmarks/bench_hopper_gemm.py --output benchmarks/results/hopper_gemm.json

All in one process and in turn, as captured graphs over inputs in rotation that exceed twice the L2 cache together.
Each result is compared with an FP32 product first. Needs torch.
"""

# ruff: noqa: N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

import argparse
import json
import statistics as median_of
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import on_gpu  # noqa: E402
from grader.reference_kernels.cublas import GroupedSizes  # noqa: E402
from grader.reference_kernels.fp8_cublaslt import Arrays, Routes  # noqa: E402
from grader.reference_kernels.fp8_grouped_gemm_hopper import GroupedGemm  # noqa: E402
from grader.reference_kernels.grouped_gemm_cases import zipf  # noqa: E402
from grader.timing import statistics  # noqa: E402
from grader.timing.clocks import Clocks  # noqa: E402

# groups, rows of each, N, K
SHAPES = (
    (8, 2048, 2048, 2048),
    (8, 4096, 4096, 7168),
    (4, 8192, 4096, 4096),
    (32, 256, 4096, 7168),
    (8, 4096, 7168, 3072),
)
OURS, ROW_WISE, CUBLASLT = "ours", "torch row-wise", "cuBLASLt"
BLOCK = 128
LARGEST = 448.0
BLOCKS, ROUNDS = 6, 5  # of rounds in a block
L2_MULTIPLE = 2.05
ROUNDING, ACCUMULATION = 2**-8, 0.01  # what an element's error may be: of itself, and of a typical element
FAST_ACCUMULATION = 10  # times that, where sums stay in the tensor cores

Run = Callable[[int], object]  # enqueues the product of set i on torch's current stream


@dataclass(frozen=True)
class Set:
    """One set of inputs on the GPU; `row_scales_*` are torch's, of the same codes."""

    A: Any
    A_scales: Any
    B: Any
    B_scales: Any
    C: Any
    row_scales_a: Any
    row_scales_b: Any

    @property
    def arrays(self) -> Arrays:
        return Arrays(*(one.data_ptr() for one in (self.A, self.A_scales, self.B, self.B_scales, self.C)))


@dataclass(frozen=True)
class Figures:
    """Of one contender: TFLOPS, and how many times as long it takes as `ours`, with the interval of that median."""

    tflops: float
    us: float
    ratio: float
    low: float
    high: float
    mhz: float


def problems(seed: int) -> dict[str, GroupedSizes]:
    made = {}
    for groups, rows, N, K in SHAPES:
        name = f"{groups} x {rows}·{N}·{K}"
        made[name] = GroupedSizes((rows,) * groups, K, N)
        drawn = zipf(np.random.default_rng([seed, groups, K]), groups, groups * rows)
        made[f"{name}, Zipf"] = GroupedSizes(tuple(drawn), K, N)
    return made


def inputs(sizes: GroupedSizes, seed: int) -> Set:
    """Normally distributed numbers, quantized with block scales; row-wise scales are 1."""
    import torch

    generator = torch.Generator("cuda").manual_seed(seed)
    rows, groups, blocks = sum(sizes.M_sizes), len(sizes.M_sizes), -(-sizes.K // BLOCK)

    def codes(*shape: int) -> Any:
        drawn = torch.randn(shape, generator=generator, device="cuda", dtype=torch.bfloat16)
        return (drawn * (LARGEST / 4)).clamp_(-LARGEST, LARGEST).to(torch.float8_e4m3fn)

    def scales(*shape: int) -> Any:
        return torch.rand(shape, generator=generator, device="cuda") + 0.5

    return Set(
        A=codes(rows, sizes.K),
        A_scales=scales(rows, blocks),
        B=codes(groups, sizes.N, sizes.K),
        B_scales=scales(groups, -(-sizes.N // BLOCK), blocks),
        C=torch.empty((rows, sizes.N), dtype=torch.bfloat16, device="cuda"),
        row_scales_a=torch.ones(rows, device="cuda"),
        row_scales_b=torch.ones((groups, sizes.N), device="cuda"),
    )


def error(sizes: GroupedSizes, one: Set, *, scaled: bool) -> float:
    """The largest error of an element of C, as a multiple of what it may be; NaN where nothing was written.

    Compared with the FP32 product of each group: BF16 rounds by 2^-9, and FP8 tensor cores keep 13 bits.
    """
    import torch

    worst = []
    for group, first, rows in sizes.groups():
        of_group = slice(first, first + rows)
        A, B = one.A[of_group].float(), one.B[group].float()
        if scaled:
            A *= one.A_scales[of_group].repeat_interleave(BLOCK, 1)[:, : sizes.K]
            of_B = one.B_scales[group].repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
            B *= of_B[: sizes.N, : sizes.K]
        expected = A @ B.T
        allowed = expected.abs() * ROUNDING + expected.square().mean().sqrt() * ACCUMULATION
        worst.append(((one.C[of_group].float() - expected).abs_() / allowed).max())
    return float(torch.stack(worst).max())


def row_wise(sizes: GroupedSizes, sets: Sequence[Set]) -> Run:
    import torch

    ends = torch.tensor(np.cumsum(sizes.M_sizes), dtype=torch.int32, device="cuda")

    def run(i: int) -> object:
        one, options = sets[i], {"offs": ends, "out_dtype": torch.bfloat16, "use_fast_accum": True}
        return torch._scaled_grouped_mm(one.A, one.B.mT, one.row_scales_a, one.row_scales_b, **options)

    return run


def ours(sizes: GroupedSizes, sets: Sequence[Set], gemm: GroupedGemm, **options: Any) -> Run:
    import torch

    M_sizes = torch.tensor(sizes.M_sizes, dtype=torch.int32, device="cuda")
    shape = (sum(sizes.M_sizes), sizes.K, sizes.N, len(sizes.M_sizes))

    def run(i: int) -> object:
        stream = torch.cuda.current_stream().cuda_stream
        gemm.enqueue(sets[i].arrays, M_sizes.data_ptr(), shape, stream, **options)
        return M_sizes  # kept as long as the graph

    return run


def captured(run: Run, count: int) -> Any:
    import torch

    run(0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = [run(i) for i in range(count)]
    return graph, kept


def captured_routes(routes: Routes, name: str, count: int) -> Any:
    """CuPy's streams cannot be captured by torch."""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    for recording in (False, True):
        if recording:
            stream.begin_capture()
        for i in range(count):
            routes.enqueue[name](stream, i)
        if not recording:
            stream.synchronize()
    return stream.end_capture()


def timed(replays: Mapping[str, Callable[[], object]], count: int) -> dict[str, list[list[tuple[float, float]]]]:
    """Blocks of rounds, in each of which everyone has a turn: (microseconds a launch, MHz)."""
    import torch
    from cupy_backends.cuda.api import runtime

    found: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in replays}
    with Clocks(str(runtime.deviceGetPCIBusId(0))) as clocks:
        for _ in range(BLOCKS):
            for name in replays:
                found[name].append([])
            for _ in range(ROUNDS):
                for name, replay in replays.items():
                    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                    begin.record()
                    replay()
                    end.record()
                    reading = clocks.read()
                    end.synchronize()
                    us = begin.elapsed_time(end) * 1000 / count
                    found[name][-1].append((us, reading.sm_mhz if reading else float("nan")))
    return found


def figures(sizes: GroupedSizes, times: Mapping[str, list[list[tuple[float, float]]]]) -> dict[str, Figures]:
    made = {}
    for name, blocks in times.items():
        ratios = [
            [other[0] / own[0] for other, own in zip(theirs, mine, strict=True)]
            for theirs, mine in zip(blocks, times[OURS], strict=True)
        ]
        us = median_of.median(one for block in blocks for one, _ in block)
        mhz = median_of.median(one for block in blocks for _, one in block)
        interval = statistics.interval(ratios)
        made[name] = Figures(sizes.flops / us / 1e6, us, interval.ratio, interval.low, interval.high, mhz)
    return made


def measure(
    sizes: GroupedSizes, gemm: GroupedGemm, seed: int, others: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Figures]:
    """`others`: contenders that are our kernel with other options. Raises ValueError where a result is wrong."""
    import torch

    bytes_each = (sum(sizes.M_sizes) + len(sizes.M_sizes) * sizes.N) * sizes.K
    l2_bytes = torch.cuda.get_device_properties(0).L2_cache_size
    count = max(2, -(-int(L2_MULTIPLE * l2_bytes) // bytes_each))
    sets = [inputs(sizes, seed + i) for i in range(count)]
    runs = {OURS: ours(sizes, sets, gemm)}
    runs |= {name: ours(sizes, sets, gemm, **options) for name, options in (others or {}).items()}
    replays: dict[str, Callable[[], object]] = {}
    for name, run in runs.items():
        sets[-1].C.view(torch.int16).fill_(-1)
        run(count - 1)
        if not (wrong := error(sizes, sets[-1], scaled=True)) < 1:
            raise ValueError(f"{name}: an element is off by {wrong} times what it may be")
        replays[name] = partial(_replay, captured(run, count))
    run = row_wise(sizes, sets)
    sets[-1].C.copy_(run(count - 1))
    if not (wrong := error(sizes, sets[-1], scaled=False)) < FAST_ACCUMULATION:
        raise ValueError(f"{ROW_WISE}: an element is off by {wrong} times what it may be")
    replays[ROW_WISE] = partial(_replay, captured(run, count))
    routes = Routes(sizes, [one.arrays for one in sets])
    try:
        for name in ("sequence", "streams"):
            graph = captured_routes(routes, name, count)
            replays[f"{CUBLASLT} {name}"] = partial(_launch, graph)
        for replay in replays.values():
            replay()
        torch.cuda.synchronize()
        return figures(sizes, timed(replays, count))
    finally:
        torch.cuda.synchronize()
        routes.close()


def _replay(kept: Any) -> None:
    kept[0].replay()


def _launch(graph: Any) -> None:
    import cupy
    import torch

    graph.launch(cupy.cuda.Stream.from_external(torch.cuda.current_stream()))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="a JSON file")
    options = parser.parse_args(arguments)
    if missing := on_gpu.missing():
        parser.error(missing)
    import torch

    gemm = GroupedGemm(torch.cuda.get_device_properties(0).multi_processor_count)
    every = {}
    for name, sizes in problems(options.seed).items():
        every[name] = {which: asdict(found) for which, found in measure(sizes, gemm, options.seed).items()}
        print(line(name, every[name]), flush=True)
    if options.output:
        about = {**on_gpu.describe(), "seed": options.seed}
        options.output.write_text(json.dumps(about | {"problems": every}, indent=1) + "\n", encoding="utf-8")
    return 0


def line(name: str, found: Mapping[str, Mapping[str, float]]) -> str:
    cells = [f"{which} {one['tflops']:.0f} ({one['ratio']:.3f})" for which, one in found.items()]
    return f"{name}: {', '.join(cells)}; {found[OURS]['mhz']:.0f} MHz"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How to launch the kernels of fast_quantization.cu, and the ladders that lead to them.

BF16 is carried as its bits, uint16. Predictions are for an H200: a device copy moves 4.3 TB/s.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from grader.reference_kernels.fp8_grouped_gemm import from_bf16, to_bf16
from grader.reference_kernels.fp8_layers import quantize_rows
from grader.reference_kernels.quantization import (
    BLOCK_WISE,
    FINE_GRAINED,
    PER_CHANNEL,
    PER_TENSOR,
    Granularity,
    dequantize,
    quantize,
)
from grader.reference_kernels.steps import Arrays, Ladder, Launch, Shape, Step

FP32, BF16 = "fp32", "bf16"
WIDTH = {FP32: 4, BF16: 8}  # values in 16 bytes
BLOCK, WARP, THREADS, CLUSTER = 128, 32, 256, 8  # as in the source
TILE_THREADS = {FP32: 512, BF16: 256}
STRIP_LANES, STRIP_THREADS, STRIP_STEPS = 8, 512, 16
STRIP_BYTES = STRIP_STEPS * STRIP_THREADS * 16  # of shared memory, for what comes next
ROW_THREADS, LOADS = 128, 2  # of 1×128; and how many loads each has under way
SMS = 132  # of an H200; each has room for 8 blocks of 256 threads

# ---- launches


def rows_launch(
    kernel: str, width: int, loads: int, shape: Shape, *, source: str = "x", threads: int = ROW_THREADS
) -> Launch:
    """A 1×128 kernel in which each thread takes `loads` times `width` values of a row."""
    rows, cols = shape
    grid = rows * _count(cols, width * loads * threads)
    return Launch(kernel, grid, threads, (source, "q", "scale", np.int32(rows), np.int32(cols)))


def row_blocks(dtype: str, cols: int) -> int:
    """Blocks of ROW_THREADS threads that take a row."""
    return _count(cols, WIDTH[dtype] * LOADS * ROW_THREADS)


def rows_of(dtype: str, shape: Shape) -> tuple[Launch, ...]:
    return (rows_launch(f"quantize_rows_{dtype}", WIDTH[dtype], LOADS, shape),)


def rows_to_places(dtype: str, shape: Shape, k: int) -> tuple[Launch, ...]:
    """Shape: of x. Arrays `places` (rows, k), q (rows * k, cols) and its scales."""
    rows, cols = shape
    grid = rows * row_blocks(dtype, cols)
    arguments = ("x", "places", "q", "scale", np.int32(rows), np.int32(cols), np.int32(k))
    return (Launch(f"quantize_to_places_{dtype}", grid, ROW_THREADS, arguments),)


def swiglu(shape: Shape) -> tuple[Launch, ...]:
    """Shape: of the result."""
    return (rows_launch("swiglu_quantize", WIDTH[BF16], LOADS, shape, source="gate_up"),)


def swiglu_in_two_passes(shape: Shape) -> tuple[Launch, ...]:
    rows, cols = shape
    grid = rows * row_blocks(BF16, cols)
    first = Launch("swiglu_bf16", grid, ROW_THREADS, ("gate_up", "h", np.int32(rows), np.int32(cols)))
    return first, rows_launch("quantize_rows_bf16", WIDTH[BF16], LOADS, shape, source="h")


def tiles(dtype: str, shape: Shape) -> tuple[Launch, ...]:
    return (_weights(f"quantize_tiles_{dtype}", BLOCK_WISE.grid(shape), TILE_THREADS[dtype], shape),)


def channels(dtype: str, shape: Shape) -> tuple[Launch, ...]:
    """As many clusters as fit at once, each with strips in turn."""
    (each,) = _clusters(f"quantize_channels_{dtype}", dtype, shape)
    return (replace(each, grid=min(each.grid, SMS // CLUSTER * CLUSTER), shared_bytes=STRIP_BYTES),)


def _clusters(kernel: str, dtype: str, shape: Shape) -> tuple[Launch, ...]:
    """One for each strip."""
    groups, _, cols = shape
    strips = groups * _count(cols, STRIP_LANES * WIDTH[dtype])
    return (_weights(kernel, (strips, CLUSTER), STRIP_THREADS, shape),)


def tensor(dtype: str, shape: Shape) -> tuple[Launch, ...]:
    """Scale and codes; `amax` starts as 0."""
    size = int(np.prod(shape))
    grid = min(8 * SMS, _count(size // WIDTH[dtype], THREADS))
    amax = Launch(f"tensor_amax_{dtype}", grid, THREADS, ("x", "amax", np.int64(size)))
    arguments = ("x", "q", "scale", "amax", np.int64(size))
    return amax, Launch(f"quantize_by_amax_{dtype}", grid, THREADS, arguments)


def tensor_by_scale(dtype: str, shape: Shape) -> tuple[Launch, ...]:
    """The codes under a scale that is known."""
    size = int(np.prod(shape))
    grid = _count(size // WIDTH[dtype], ROW_THREADS * LOADS)
    return (Launch(f"quantize_tensor_{dtype}", grid, ROW_THREADS, ("x", "q", "scale", np.int64(size))),)


def _weights(kernel: str, work: Shape, block: int, shape: Shape) -> Launch:
    return Launch(kernel, int(np.prod(work)), block, ("x", "q", "scale", *map(np.int32, shape)))


def _rows_step(number: int, loads: int, shape: Shape) -> tuple[Launch, ...]:
    return (rows_launch(f"quantize_rows_step{number}", WIDTH[FP32], loads, shape, threads=THREADS),)


def _naive_rows(number: int, threads_each: int, shape: Shape) -> tuple[Launch, ...]:
    """`threads_each`: of a block of 128 values."""
    rows, cols = shape
    grid = _count(rows * _count(cols, BLOCK) * threads_each, THREADS)
    sizes = (np.int32(rows), np.int32(cols))
    return (Launch(f"quantize_rows_step{number}", grid, THREADS, ("x", "q", "scale", *sizes)),)


def _naive_tiles(shape: Shape) -> tuple[Launch, ...]:
    return (_weights("quantize_tiles_step1", BLOCK_WISE.grid(shape), THREADS, shape),)


def _naive_channels(shape: Shape) -> tuple[Launch, ...]:
    groups, _, cols = shape
    return (_weights("quantize_channels_step1", (_count(groups * cols, THREADS),), THREADS, shape),)


def _count(elements: int, each: int) -> int:
    return -(-elements // each)


# ---- problems


def values(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """FP32 of many magnitudes, with whole rows of zeros, zeros of both signs, and ties between two codes."""
    x = rng.uniform(-1, 1, shape) * 10.0 ** rng.integers(-6, 7, (*shape[:-1], 1))
    rows = rng.random((*shape[:-1], 1))
    x = np.where(rows < 0.1, 0.0, x)
    x = np.where((rows > 0.1) & (rows < 0.3), np.round(rng.uniform(-1, 1, shape) * 448 * 16) / 16, x)
    return np.where(rng.random(shape) < 0.02, -0.0, x).astype(np.float32)


def of_type(dtype: str, x: np.ndarray) -> np.ndarray:
    """BF16: rounded toward zero, whose sign stays."""
    return x if dtype == FP32 else (x.view(np.uint32) >> 16).astype(np.uint16)


def _x(dtype: str, shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": of_type(dtype, values(shape, rng))}


def _outputs(granularity: Granularity, shape: Shape) -> dict[str, np.ndarray]:
    scale = np.full(granularity.scale_shape(shape), np.nan, np.float32)
    return {"q": np.full(shape, 0xFF, np.uint8), "scale": scale, "amax": np.zeros(1, np.uint32)}


def _wrong(granularity: Granularity, arrays: Arrays) -> int:
    """Bits that differ from NumPy's."""
    x = arrays["x"]
    codes, scales = quantize(x if x.dtype == np.float32 else from_bf16(x), granularity)
    differ = scales.view(np.uint32) != arrays["scale"].view(np.uint32)
    return int((codes != arrays["q"]).sum() + differ.sum())


def _gate_up(shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    rows, cols = shape
    return {"gate_up": to_bf16(rng.standard_normal((rows, 2 * cols)).astype(np.float32) * 3)}


def _swiglu_outputs(shape: Shape) -> dict[str, np.ndarray]:
    return _outputs(FINE_GRAINED, shape) | {"h": np.full(shape, 0x7FC0, np.uint16)}


def _wrong_swiglu(arrays: Arrays) -> int:
    """Elements that are off by more than a code's half step, and a BF16's for the way in two passes."""
    gate, up = np.split(from_bf16(arrays["gate_up"]).astype(np.float64), 2, axis=1)
    exact = gate / (1 + np.exp(-gate)) * up
    scales = arrays["scale"]
    got = dequantize(arrays["q"], scales, FINE_GRAINED)
    smallest = scales.repeat(BLOCK, axis=1)[:, : exact.shape[1]] * 2.0**-10
    expected_scales = quantize_rows(exact.astype(np.float32))[1]
    off = ~(np.abs(got - exact) <= np.abs(exact) * (2.0**-4 + 2.0**-7) + 1.01 * smallest)
    return int(off.sum() + (~(np.abs(scales / expected_scales - 1) < 2.0**-8)).sum())


# ---- ladders

SIZE = 8192
FLAT: tuple[Shape, ...] = ((1, 16), (5, 128), (131, 272), (128, 144))
DEEP: tuple[Shape, ...] = ((1, 16, 16), (2, 128, 128), (3, 144, 272), (2, 304, 48))


def _ladder(title: str, granularity: Granularity, dtype: str, *steps: Step, beside: tuple[Step, ...] = ()) -> Ladder:
    deep = len(granularity.block) == 3
    width = 4 if dtype == FP32 else 2
    readings = 2 if granularity is PER_TENSOR else 1  # a tensor is larger than what a GPU keeps
    return Ladder(
        title,
        (1, SIZE, SIZE) if deep else (SIZE, SIZE),
        DEEP if deep else FLAT,
        partial(_x, dtype),
        partial(_outputs, granularity),
        partial(_wrong, granularity),
        lambda shape: int(np.prod(shape)) * (readings * width + 1) + 4 * int(np.prod(granularity.scale_shape(shape))),
        steps,
        beside,
        zeroed=("amax",) if granularity is PER_TENSOR else (),
    )


def _known_scale(dtype: str, microseconds: float) -> tuple[Step, ...]:
    because = "the same bytes, and no scale to find: what memory allows"
    return (Step("one scale, known before", partial(tensor_by_scale, dtype), microseconds, because),)


def _single(title: str, granularity: Granularity, dtype: str, microseconds: float, because: str) -> Ladder:
    """Whose steps are those of FP32: only the last."""
    launches = {FINE_GRAINED: rows_of, BLOCK_WISE: tiles, PER_CHANNEL: channels, PER_TENSOR: tensor}[granularity]
    step = Step("the last step of FP32", partial(launches, dtype), microseconds, because)
    return _ladder(title, granularity, dtype, step, beside=_known_scale(dtype, 48))


ROWS_FP32 = _ladder(
    "1×128, FP32",
    FINE_GRAINED,
    FP32,
    Step(
        "a thread takes a block and reads it twice",
        partial(_naive_rows, 1, 1),
        700,
        "lanes are 512 bytes apart: every access of a warp touches 32 lines",
    ),
    Step(
        "a warp takes a block, 4 bytes at a time, and keeps it",
        partial(_naive_rows, 2, WARP),
        105,
        "coalesced and read once; but four narrow loads, and a division for each element",
    ),
    Step(
        "16 bytes at a time",
        partial(_rows_step, 3, 1),
        90,
        "a quarter of the load and store instructions; one load of each thread under way",
    ),
    Step(
        "four loads under way",
        partial(_rows_step, 4, 4),
        82,
        "bytes in flight cover the latency of memory",
    ),
    Step(
        "a product with the reciprocal, put right, in place of the division",
        partial(_rows_step, 5, 4),
        79,
        "three instructions for each element instead of ten and a branch",
    ),
    Step(
        "two loads under way, blocks of 128 threads",
        partial(rows_of, FP32),
        None,
        "found by trying: blocks that live shorter leave a shorter tail",
    ),
    beside=_known_scale(FP32, 79),
)

TILES_FP32 = _ladder(
    "128×128, FP32",
    BLOCK_WISE,
    FP32,
    Step(
        "a block of threads takes a block, 4 bytes at a time, and reads it twice",
        _naive_tiles,
        170,
        "the second reading comes from the caches, but one barrier and one division for each element are in its way",
    ),
    Step(
        "16 bytes at a time, kept in registers",
        partial(tiles, FP32),
        82,
        "eight loads of each thread under way, two blocks of threads on a multiprocessor: one stores, one loads",
    ),
    beside=_known_scale(FP32, 79),
)

CHANNELS_FP32 = _ladder(
    "a scale for each column, FP32",
    PER_CHANNEL,
    FP32,
    Step(
        "a thread takes a column and reads it twice",
        _naive_channels,
        1500,
        "8192 threads cannot keep enough loads under way, and everything is read twice",
    ),
    Step(
        "a cluster keeps a strip of 128 bytes across",
        partial(_clusters, "quantize_channels_step2", FP32),
        110,
        "read once; but all threads of a multiprocessor load, wait and store at the same time",
    ),
    Step(
        "the next strip comes to shared memory meanwhile",
        partial(channels, FP32),
        90,
        "memory is never idle while maxima are exchanged; rows of 128 bytes leave it some of its speed",
    ),
    beside=_known_scale(FP32, 79),
)

TENSOR_FP32 = _ladder(
    "one scale from the tensor itself, FP32",
    PER_TENSOR,
    FP32,
    Step(
        "the largest magnitude first, then the codes, from the end",
        partial(tensor, FP32),
        130,
        "two passes: 268 MB, then 268 MB less what the L2 cache still has, and 67 MB of codes",
    ),
    beside=_known_scale(FP32, 79),
)

SWIGLU = Ladder(
    "SwiGLU, then 1×128, BF16",
    (4 * SIZE, SIZE // 4),  # of a layer with 4096 tokens, 8 experts each, 2048 columns between the products
    FLAT,
    _gate_up,
    _swiglu_outputs,
    _wrong_swiglu,
    lambda shape: int(np.prod(shape)) * 5 + 4 * int(np.prod(FINE_GRAINED.scale_shape(shape))),
    (
        Step(
            "two passes: silu(gate) * up to BF16, then quantized",
            swiglu_in_two_passes,
            142,
            "nine bytes of each element are moved, and there are two launches",
        ),
        Step("one pass", swiglu, 78, "five bytes of each element are moved"),
    ),
    same_bits=False,  # between the two passes h is rounded to BF16
)

LADDERS = (
    ROWS_FP32,
    _single("1×128, BF16", FINE_GRAINED, BF16, 48, "201 MB; half of the time for as many elements"),
    TILES_FP32,
    _single("128×128, BF16", BLOCK_WISE, BF16, 50, "four blocks of threads on a multiprocessor"),
    CHANNELS_FP32,
    _single("a scale for each column, BF16", PER_CHANNEL, BF16, 58, "as for FP32, with strips of 64 columns"),
    TENSOR_FP32,
    _single("one scale from the tensor itself, BF16", PER_TENSOR, BF16, 72, "134 MB, a good part of it twice"),
    SWIGLU,
)

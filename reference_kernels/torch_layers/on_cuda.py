"""The layers' operators on a GPU: fp8_layers.cu and fast_quantization.cu, on torch's memory and current stream.

Kernels get torch's pointers. Nothing is copied to the host and nothing waits, so the operators can be captured into a
CUDA graph once the kernels are compiled.
"""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grader.reference_kernels.fast_quantization import ROW_THREADS, TILE_THREADS, row_blocks
from grader.reference_kernels.torch_layers import on_hopper

Quantized = tuple[Tensor, Tensor]

FOLDER = Path(__file__).parents[1]
LAYERS, FAST = "fp8_layers.cu", "fast_quantization.cu"
LEAST_CAPABILITY = (8, 9)  # FP8 conversions and mma.sync on FP8
BLOCK = 128  # elements that share a scale
CHUNK = 16  # the product copies rows in pieces of this many bytes; so does fast quantization
WARP, THREADS, PRODUCT_THREADS = 32, 256, 128  # as in fp8_layers.cu
BLOCKS_ON_AN_SM = 8  # of THREADS: what fits
PRODUCTS_ON_AN_SM = 2  # of PRODUCT_THREADS: each thread has 184 registers
TENSOR_CORE_TOKENS = 512
ANY = 1 << 20  # blocks on a multiprocessor, one after the other: each is given one piece of the work


def quantize_rows(x: Tensor) -> Quantized:
    rows, cols = x.shape
    codes, scales = _quantized(x, (rows, cols), (rows, _blocks(cols)))
    arguments = (x, codes, scales, rows, cols)
    if _is_fast(x, cols):
        _launch_fast(f"quantize_rows_{_type(x)}", _row_work(x, rows, cols), *arguments)
    else:
        _launch(f"quantize_rows_{_type(x)}", scales.numel() * WARP, *arguments)
    return codes, scales


def quantize_blocks(weights: Tensor) -> Quantized:
    groups, rows, cols = weights.shape
    codes, scales = _quantized(weights, weights.shape, (groups, _blocks(rows), _blocks(cols)))
    arguments = (weights, codes, scales, groups, rows, cols)
    if _is_fast(weights, cols):
        threads = TILE_THREADS[_type(weights)]
        _launch_fast(f"quantize_tiles_{_type(weights)}", scales.numel() * threads, *arguments, threads=threads)
    else:
        _launch("quantize_blocks", scales.numel() * THREADS, *arguments)
    return codes, scales


def quantize_permuted(x: Tensor, rows: Tensor, tokens_of: Tensor) -> Quantized:
    tokens, cols = x.shape
    if not _is_fast(x, cols):
        return quantize_rows(x.index_select(0, tokens_of))
    copies = tokens_of.shape[0]
    codes, scales = _quantized(x, (copies, cols), (copies, _blocks(cols)))
    work = _row_work(x, tokens, cols)
    arguments = (x, rows, codes, scales, tokens, cols, rows.shape[1])
    _launch_fast(f"quantize_to_places_{_type(x)}", work, *arguments)
    return codes, scales


def grouped_product(
    A: Tensor, A_scales: Tensor, B: Tensor, B_scales: Tensor, M_sizes: Tensor, bias: Tensor | None
) -> Tensor:
    groups, N, K = B.shape
    if K % CHUNK:  # a copy of both, with zeros behind each row: it adds nothing to any sum
        A, B = _padded(A), _padded(B)
    C = A.new_empty((len(A), N), dtype=torch.bfloat16)
    if on_hopper.takes(A, B, bias):
        on_hopper.grouped_product(A, A_scales, B, B_scales, M_sizes, C)
        return C
    tiles = _count(len(A), 64) + groups  # of rows: at most, since the host does not know M_sizes
    work = tiles * _count(N, 64) * PRODUCT_THREADS
    arguments = (A, A_scales, B, B_scales, bias, C, M_sizes, B.shape[2], N, groups)
    _launch("grouped_product", work if len(A) else 0, *arguments, threads=PRODUCT_THREADS, on_an_sm=PRODUCTS_ON_AN_SM)
    return C


def router_logits(x: Tensor, router: Tensor) -> Tensor:
    """x @ router^T in FP32.

    Of BF16 tokens, on tensor cores: an FP32 weight is the sum of three BF16 numbers, whose products are exact. Only
    the sums differ: tensor cores truncate where FP32 rounds. For few tokens the plain product takes no longer.
    """
    if x.dtype is not torch.bfloat16 or len(x) < TENSOR_CORE_TOKENS:
        return torch.nn.functional.linear(x.float(), router)
    parts, rest = [], router
    for _ in range(3):
        parts.append(rest.to(torch.bfloat16))
        rest = rest - parts[-1]
    first, second, third = torch.mm(x, torch.cat(parts).T, out_dtype=torch.float32).chunk(3, dim=1)
    return first + (second + third)


def route(logits: Tensor, k: int, renormalize: bool) -> tuple[Tensor, Tensor]:
    tokens, num_experts = logits.shape
    experts = logits.new_empty((tokens, k), dtype=torch.int32)
    weights = logits.new_empty((tokens, k))
    _launch("route", tokens * WARP, logits, experts, weights, tokens, num_experts, k, int(renormalize))
    return experts, weights


def permute(experts: Tensor, num_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    rows, tokens_of = torch.empty_like(experts), experts.new_empty(experts.numel())
    M_sizes = experts.new_zeros(num_experts)
    copies = experts.numel()
    arguments = (experts, M_sizes, rows, tokens_of, copies, experts.shape[1], num_experts)
    _launch("permute", num_experts * THREADS if copies else 0, *arguments)
    return rows, tokens_of, M_sizes


def swiglu_quantize(gate_up: Tensor) -> Quantized:
    rows, cols = gate_up.shape[0], gate_up.shape[1] // 2
    codes, scales = _quantized(gate_up, (rows, cols), (rows, _blocks(cols)))
    arguments = (gate_up, codes, scales, rows, cols)
    if _is_fast(gate_up, cols):
        _launch_fast("swiglu_quantize", _row_work(gate_up, rows, cols), *arguments)
    else:
        _launch("swiglu_quantize", scales.numel() * WARP, *arguments)
    return codes, scales


def combine(y: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    tokens, k = rows.shape
    out = y.new_empty((tokens, y.shape[1]))
    work = out.numel() if y.shape[1] % 8 else out.numel() // 8
    _launch("combine", work, y, rows, weights, out, tokens, y.shape[1], k)
    return out


def _is_fast(x: Tensor, cols: int) -> bool:
    return cols % CHUNK == 0 and x.data_ptr() % CHUNK == 0


def _type(x: Tensor) -> str:
    return "bf16" if x.dtype is torch.bfloat16 else "fp32"


def _row_work(x: Tensor, rows: int, cols: int) -> int:
    return rows * row_blocks(_type(x), cols) * ROW_THREADS


def _launch_fast(name: str, work: int, *arguments: Any, threads: int = ROW_THREADS) -> None:
    _launch(name, work, *arguments, source=FAST, threads=threads, on_an_sm=ANY)


def _launch(
    name: str,
    work: int,
    *arguments: Any,
    source: str = LAYERS,
    threads: int = THREADS,
    on_an_sm: int = BLOCKS_ON_AN_SM,
) -> None:
    """On the current stream of the tensors' device. `work`: threads that have something to do; 0 launches nothing."""
    import cupy

    if work == 0:
        return
    device: int = arguments[0].device.index
    stream = cupy.cuda.Stream.from_external(_Current(torch.cuda.current_stream(device).cuda_stream))
    grid = min(_count(work, threads), on_an_sm * _multiprocessors(device))
    given = [a.contiguous() if isinstance(a, Tensor) else a for a in arguments]  # kept until the launch
    with cupy.cuda.Device(device), stream:
        _module(device, source).get_function(name)((grid,), (threads,), tuple(map(_argument, given)))


class _Current:
    """A stream as CuPy takes it from other libraries. Not every torch has this protocol yet."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._pointer  # the protocol's version, and the stream


def _argument(value: Any) -> Any:
    """A tensor as its address, None as a null pointer, an int as CUDA's int."""
    if isinstance(value, Tensor):
        return np.uint64(value.data_ptr())
    return np.uint64(0) if value is None else np.int32(value)


@cache
def _module(device: int, source: str) -> Any:
    """Compiled once for each GPU; CuPy keeps the result on disk. Raises RuntimeError where FP8 is missing."""
    import cupy

    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        has, needs = (".".join(map(str, version)) for version in (capability, LEAST_CAPABILITY))
        raise RuntimeError(f"FP8 needs an NVIDIA GPU of compute capability {needs}; this one has {has}: use the CPU")
    return cupy.RawModule(code=(FOLDER / source).read_text(encoding="utf-8"), options=("-std=c++17",))


@cache
def _multiprocessors(device: int) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def _quantized(like: Tensor, codes: Any, scales: Any) -> Quantized:
    empty = like.new_empty
    return empty(codes, dtype=torch.float8_e4m3fn), empty(scales, dtype=torch.float32)


def _padded(codes: Tensor) -> Tensor:
    missing = -codes.shape[-1] % CHUNK
    padded = torch.nn.functional.pad(codes.view(torch.uint8), (0, missing))
    return padded.view(torch.float8_e4m3fn)


def _blocks(elements: int) -> int:
    return _count(elements, BLOCK)


def _count(elements: int, each: int) -> int:
    return -(-elements // each)

"""The layers' operators on a GPU: fp8_layers.cu, compiled by CuPy, on torch's memory and current stream.

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

Quantized = tuple[Tensor, Tensor]

SOURCE = Path(__file__).parents[1] / "fp8_layers.cu"
LEAST_CAPABILITY = (8, 9)  # FP8 conversions and mma.sync on FP8
BLOCK = 128  # elements that share a scale
CHUNK = 16  # the product copies rows in pieces of this many bytes
WARP, THREADS, PRODUCT_THREADS = 32, 256, 128  # as in fp8_layers.cu
BLOCKS_ON_AN_SM = 8  # of THREADS: what fits
PRODUCTS_ON_AN_SM = 2  # of PRODUCT_THREADS: each thread has 184 registers


def quantize_rows(x: Tensor) -> Quantized:
    rows, cols = x.shape
    codes, scales = _quantized(x, (rows, cols), (rows, _blocks(cols)))
    name = "quantize_rows_bf16" if x.dtype is torch.bfloat16 else "quantize_rows_fp32"
    _launch(name, scales.numel() * WARP, x, codes, scales, rows, cols)
    return codes, scales


def quantize_blocks(weights: Tensor) -> Quantized:
    groups, rows, cols = weights.shape
    codes, scales = _quantized(weights, weights.shape, (groups, _blocks(rows), _blocks(cols)))
    _launch("quantize_blocks", scales.numel() * THREADS, weights, codes, scales, groups, rows, cols)
    return codes, scales


def grouped_product(
    A: Tensor, A_scales: Tensor, B: Tensor, B_scales: Tensor, M_sizes: Tensor, bias: Tensor | None
) -> Tensor:
    groups, N, K = B.shape
    if K % CHUNK:  # a copy of both, with zeros behind each row: it adds nothing to any sum
        A, B = _padded(A), _padded(B)
    C = A.new_empty((len(A), N), dtype=torch.bfloat16)
    tiles = _count(len(A), 64) + groups  # of rows: at most, since the host does not know M_sizes
    work = tiles * _count(N, 64) * PRODUCT_THREADS
    arguments = (A, A_scales, B, B_scales, bias, C, M_sizes, B.shape[2], N, groups)
    _launch("grouped_product", work if len(A) else 0, *arguments, threads=PRODUCT_THREADS, on_an_sm=PRODUCTS_ON_AN_SM)
    return C


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
    work = num_experts * WARP if copies else 0
    every = _count(work, THREADS)  # a warp for each expert, however many there are
    _launch("count", work, experts, M_sizes, copies, num_experts, on_an_sm=every)
    _launch("place", work, experts, M_sizes, rows, tokens_of, copies, experts.shape[1], num_experts, on_an_sm=every)
    return rows, tokens_of, M_sizes


def swiglu_quantize(gate_up: Tensor) -> Quantized:
    rows, cols = gate_up.shape[0], gate_up.shape[1] // 2
    codes, scales = _quantized(gate_up, (rows, cols), (rows, _blocks(cols)))
    _launch("swiglu_quantize", scales.numel() * WARP, gate_up, codes, scales, rows, cols)
    return codes, scales


def combine(y: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    tokens, k = rows.shape
    out = y.new_empty((tokens, y.shape[1]))
    _launch("combine", out.numel(), y, rows, weights, out, tokens, y.shape[1], k)
    return out


def _launch(name: str, work: int, *arguments: Any, threads: int = THREADS, on_an_sm: int = BLOCKS_ON_AN_SM) -> None:
    """On the current stream of the tensors' device. `work`: threads that have something to do; 0 launches nothing."""
    import cupy

    if work == 0:
        return
    device: int = arguments[0].device.index
    stream = torch.cuda.current_stream(device).cuda_stream
    grid = min(_count(work, threads), on_an_sm * _multiprocessors(device))
    given = [a.contiguous() if isinstance(a, Tensor) else a for a in arguments]  # kept until the launch
    with cupy.cuda.Device(device), cupy.cuda.ExternalStream(stream, device):
        _module(device).get_function(name)((grid,), (threads,), tuple(map(_argument, given)))


def _argument(value: Any) -> Any:
    """A tensor as its address, None as a null pointer, an int as CUDA's int."""
    if isinstance(value, Tensor):
        return np.uint64(value.data_ptr())
    return np.uint64(0) if value is None else np.int32(value)


@cache
def _module(device: int) -> Any:
    """Compiled once for each GPU; CuPy keeps the result on disk. Raises RuntimeError where FP8 is missing."""
    import cupy

    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        has, needs = (".".join(map(str, version)) for version in (capability, LEAST_CAPABILITY))
        raise RuntimeError(f"FP8 needs an NVIDIA GPU of compute capability {needs}; this one has {has}: use the CPU")
    return cupy.RawModule(code=SOURCE.read_text(encoding="utf-8"), options=("-std=c++17",))


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

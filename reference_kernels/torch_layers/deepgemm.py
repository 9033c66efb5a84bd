"""The grouped product through DeepGEMM, where it is installed (github.com/deepseek-ai/DeepGEMM; Hopper or newer).

DeepGEMM wants every group's rows to start at a multiple of its own tile, and a group number for each row, -1 for
rows that only fill up ("contiguous layout"). One group needs neither.
"""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch
from torch import Tensor

NAME = "deep_gemm"
BLOCK = 128  # K and N are multiples of it here: other sizes depend on DeepGEMM's version
ALIGNMENT_CALLS = ("get_mk_alignment_for_contiguous_layout", "get_m_alignment_for_contiguous_layout")  # new, old


def installed() -> bool:
    return importlib.util.find_spec(NAME) is not None


def grouped_product(
    A: Tensor, A_scales: Tensor, B: Tensor, B_scales: Tensor, M_sizes: Tensor, bias: Tensor | None
) -> Tensor:
    """As on_cuda.grouped_product, but a bias is added to the BF16 result, which is rounded once more."""
    groups, N, K = B.shape
    if K % BLOCK or N % BLOCK:
        raise ValueError(f"with DeepGEMM, K and N must be multiples of {BLOCK}, got {K} and {N}")
    C = A.new_empty((len(A), N), dtype=torch.bfloat16)
    if len(A) == 0:
        return C
    deep_gemm = importlib.import_module(NAME)
    if groups == 1:
        deep_gemm.fp8_gemm_nt((A, A_scales), (B[0], B_scales[0]), C)
    else:
        C = _contiguous(deep_gemm, A, A_scales, B, B_scales, M_sizes)
    if bias is None:
        return C
    return (C.float() + _of_each_row(bias, M_sizes, len(A))).to(torch.bfloat16)


def _contiguous(deep_gemm: Any, A: Tensor, A_scales: Tensor, B: Tensor, B_scales: Tensor, M_sizes: Tensor) -> Tensor:
    """Spreads the rows, multiplies, and gathers them again; nothing waits for the group sizes."""
    groups, N, _ = B.shape
    alignment = _alignment(deep_gemm)
    padded_sizes = (M_sizes + alignment - 1) // alignment * alignment
    shift = _starts(padded_sizes) - _starts(M_sizes)  # how far each group moves
    numbers = torch.arange(groups, device=A.device, dtype=torch.int32)
    places = torch.arange(len(A), device=A.device) + _of_each_row(shift, M_sizes, len(A))
    room = (len(A) // alignment + groups) * alignment  # enough, whatever the sizes are
    of_row = torch.full((room,), -1, device=A.device, dtype=torch.int32)
    of_row[places] = _of_each_row(numbers, M_sizes, len(A))
    spread = A.new_zeros((room, A.shape[1]), dtype=torch.uint8)
    spread[places] = A.view(torch.uint8)
    scales = A_scales.new_zeros((room, A_scales.shape[1]))
    scales[places] = A_scales
    C = A.new_empty((room, N), dtype=torch.bfloat16)
    left = (spread.view(torch.float8_e4m3fn), scales)
    deep_gemm.m_grouped_fp8_gemm_nt_contiguous(left, (B, B_scales), C, of_row)
    return C[places]


def _alignment(deep_gemm: Any) -> int:
    call = next(call for name in ALIGNMENT_CALLS if (call := getattr(deep_gemm, name, None)))
    return int(call())


def _starts(sizes: Tensor) -> Tensor:
    return sizes.cumsum(0) - sizes


def _of_each_row(of_groups: Tensor, M_sizes: Tensor, rows: int) -> Tensor:
    return of_groups.repeat_interleave(M_sizes, dim=0, output_size=rows)

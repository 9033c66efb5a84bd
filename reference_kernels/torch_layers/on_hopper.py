"""The grouped product on a Hopper GPU: the kernels of fp8_grouped_gemm_hopper.py, on torch's memory and stream."""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from grader.reference_kernels.fp8_cublaslt import Arrays
from grader.reference_kernels.fp8_grouped_gemm_hopper import ALIGNMENT, CAPABILITY, GroupedGemm


def takes(A: Tensor, B: Tensor, bias: Tensor | None) -> bool:
    """Whether these kernels are for that product; on_cuda's are for every other."""
    sizes_fit = len(A) > 0 and not any(size % ALIGNMENT for size in B.shape[1:])
    return A.is_cuda and bias is None and sizes_fit and torch.cuda.get_device_capability(A.device) == CAPABILITY


def grouped_product(A: Tensor, A_scales: Tensor, B: Tensor, B_scales: Tensor, M_sizes: Tensor, C: Tensor) -> None:
    """Writes C. Nothing waits, and all but the first call can be captured into a graph."""
    groups, N, K = B.shape
    given = [one.contiguous() for one in (A, A_scales, B, B_scales, C, M_sizes)]  # kept until the launch
    *arrays, sizes = (one.data_ptr() for one in given)
    with torch.cuda.device(A.device):
        stream = torch.cuda.current_stream().cuda_stream
        _kernels(A.device.index).enqueue(Arrays(*arrays), sizes, (len(A), K, N, groups), stream)


@cache
def _kernels(device: int) -> GroupedGemm:
    """Compiled once for each GPU."""
    return GroupedGemm(torch.cuda.get_device_properties(device).multi_processor_count)

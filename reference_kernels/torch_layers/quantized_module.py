"""What FP8Linear and MoELayer have in common: buffers that keep their types, and no gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from grader.reference_kernels.torch_layers import deepgemm, ops

INPUTS = (torch.bfloat16, torch.float16, torch.float32)
BITS = {torch.float8_e4m3fn: torch.uint8, torch.float32: torch.int32}


class QuantizedModule(torch.nn.Module):  # type: ignore[misc]
    """Raises ValueError for an unknown backend, RuntimeError where DeepGEMM is asked for and missing."""

    def __init__(self, backend: str) -> None:
        super().__init__()
        if backend not in (ops.KERNELS, ops.DEEPGEMM):
            raise ValueError(f"backend is {backend!r}; known are {ops.KERNELS!r} and {ops.DEEPGEMM!r}")
        if backend == ops.DEEPGEMM and not deepgemm.installed():
            raise RuntimeError(
                "DeepGEMM is not installed: see github.com/deepseek-ai/DeepGEMM, or use backend='kernels'"
            )
        self.backend = backend

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """`module.bfloat16()` and the like leave the buffers' types alone: they see integers, which they only move.

        Codes would be decoded without their scales, and scales rounded.
        """
        own = {id(buffer) for buffer in self.buffers(recurse=False)}

        def moved(tensor: Tensor) -> Tensor:
            if id(tensor) not in own:
                return fn(tensor)
            return fn(tensor.view(BITS[tensor.dtype])).view(tensor.dtype)

        return super()._apply(moved, recurse)

    def _rows_of(self, x: Tensor, features: int) -> Tensor:
        """x as a matrix of BF16 or FP32. Raises where it cannot be an input."""
        name = type(self).__name__
        if x.dtype not in INPUTS:
            raise TypeError(f"{name} takes BF16, FP16 or FP32, got {x.dtype}")
        if x.shape[-1] != features:
            raise ValueError(f"{name} takes {features} features, got {tuple(x.shape)}")
        if torch.is_grad_enabled() and x.requires_grad:
            raise RuntimeError(f"{name} is for inference only, it has no gradient: use torch.no_grad() or x.detach()")
        rows = x.reshape(-1, features).contiguous()
        return rows.float() if x.dtype is torch.float16 else rows


def quantized_weights(weights: Tensor) -> tuple[Tensor, Tensor]:
    """E4M3 codes and 128x128 scales of (groups, N, K) in any float type. Raises ValueError for NaN and Inf."""
    if not bool(weights.isfinite().all()):
        raise ValueError("the weights contain NaN or Inf, for which there is no scale")
    codes, scales = ops.quantize_blocks(weights.detach().float().contiguous())
    return codes, scales


def zeros(device: Any, *shape: int) -> tuple[Tensor, Tensor]:
    """Codes of (..., N, K) and their scales, as the buffers of a layer without weights."""
    *groups, rows, cols = shape
    scales = (*groups, -(-rows // ops.BLOCK), -(-cols // ops.BLOCK))
    return torch.zeros(shape, dtype=ops.E4M3, device=device), torch.ones(scales, device=device)

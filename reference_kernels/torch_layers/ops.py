"""The layers' operators as torch sees them: `torch.library` custom operators, opaque to torch.compile.

A compiled model calls the same code as an eager one, so both give the same bits. Each operator has a definition for
the CPU (fp8_layers.py, NumPy), one for CUDA (on_cuda.py, or deepgemm.py), and a fake that only says shapes and types.
None has a gradient: they are for inference.
"""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor

from grader.reference_kernels import fp8_layers
from grader.reference_kernels.fp8_grouped_gemm import Operands
from grader.reference_kernels.torch_layers import deepgemm, on_cuda

NAMESPACE = "fp8_layers"
BLOCK = 128  # elements that share a scale
KERNELS, DEEPGEMM = "kernels", "deepgemm"  # who multiplies on a GPU

E4M3 = torch.float8_e4m3fn


# ---- on the CPU: NumPy on torch's memory


def _to_numpy(tensor: Tensor) -> Any:
    """Without a copy, FP8 and BF16 as their bits. FP32 of other float types is made before."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype is E4M3:
        return tensor.view(torch.uint8).numpy()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


def _fp8(codes: Any, scales: Any) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(codes).view(E4M3), torch.from_numpy(scales)


def _bf16(bits: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(bits).view(np.int16)).view(torch.bfloat16)


def _quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    return _fp8(*fp8_layers.quantize_rows(_to_numpy(x.float())))


def _quantize_blocks(weights: Tensor) -> tuple[Tensor, Tensor]:
    return _fp8(*fp8_layers.quantize_blocks(_to_numpy(weights)))


def _grouped_product(
    A: Tensor,
    A_scales: Tensor,
    B: Tensor,
    B_scales: Tensor,
    M_sizes: Tensor,
    bias: Optional[Tensor],  # noqa: UP045 - torch reads the schema from this
    backend: str,  # noqa: ARG001 - a CPU has one
) -> Tensor:
    operands = Operands(*map(_to_numpy, (A, A_scales, B, B_scales, M_sizes)))
    return _bf16(fp8_layers.grouped_product(operands, None if bias is None else _to_numpy(bias)))


def _router_logits(x: Tensor, router: Tensor) -> Tensor:
    return torch.nn.functional.linear(x.float(), router)


def _route(logits: Tensor, k: int, renormalize: bool) -> tuple[Tensor, Tensor]:
    experts, weights = fp8_layers.route(_to_numpy(logits), k, renormalize)
    return torch.from_numpy(experts), torch.from_numpy(weights)


def _permute(experts: Tensor, num_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    rows, tokens_of, M_sizes = map(torch.from_numpy, fp8_layers.permute(_to_numpy(experts), num_experts))
    return rows, tokens_of, M_sizes


def _quantize_permuted(x: Tensor, rows: Tensor, tokens_of: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return _fp8(*fp8_layers.quantize_permuted(_to_numpy(x.float()), _to_numpy(tokens_of)))


def _swiglu_quantize(gate_up: Tensor) -> tuple[Tensor, Tensor]:
    return _fp8(*fp8_layers.swiglu_quantize(_to_numpy(gate_up)))


def _combine(y: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    return _bf16(fp8_layers.combine(*map(_to_numpy, (y, rows, weights))))


# ---- on a GPU, where it differs from on_cuda


def _grouped_product_cuda(
    A: Tensor,
    A_scales: Tensor,
    B: Tensor,
    B_scales: Tensor,
    M_sizes: Tensor,
    bias: Optional[Tensor],  # noqa: UP045
    backend: str,
) -> Tensor:
    multiply = deepgemm.grouped_product if backend == DEEPGEMM else on_cuda.grouped_product
    return multiply(A, A_scales, B, B_scales, M_sizes, bias)


# ---- shapes and types


def _blocks(elements: Any) -> Any:
    return (elements + BLOCK - 1) // BLOCK


def _fake_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    rows, cols = x.shape
    return x.new_empty((rows, cols), dtype=E4M3), x.new_empty((rows, _blocks(cols)), dtype=torch.float32)


def _fake_blocks(weights: Tensor) -> tuple[Tensor, Tensor]:
    groups, rows, cols = weights.shape
    scales = weights.new_empty((groups, _blocks(rows), _blocks(cols)), dtype=torch.float32)
    return weights.new_empty((groups, rows, cols), dtype=E4M3), scales


def _fake_product(A: Tensor, A_scales: Tensor, B: Tensor, *_: Any) -> Tensor:  # noqa: ARG001
    return A.new_empty((A.shape[0], B.shape[1]), dtype=torch.bfloat16)


def _fake_logits(x: Tensor, router: Tensor) -> Tensor:
    return x.new_empty((x.shape[0], router.shape[0]), dtype=torch.float32)


def _fake_route(logits: Tensor, k: int, renormalize: bool) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    tokens = logits.shape[0]
    return logits.new_empty((tokens, k), dtype=torch.int32), logits.new_empty((tokens, k))


def _fake_permute(experts: Tensor, num_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    copies = experts.shape[0] * experts.shape[1]
    return torch.empty_like(experts), experts.new_empty((copies,)), experts.new_empty((num_experts,))


def _fake_permuted(x: Tensor, rows: Tensor, tokens_of: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return _fake_rows(x.new_empty((tokens_of.shape[0], x.shape[1])))


def _fake_swiglu(gate_up: Tensor) -> tuple[Tensor, Tensor]:
    rows, cols = gate_up.shape[0], gate_up.shape[1] // 2
    return gate_up.new_empty((rows, cols), dtype=E4M3), gate_up.new_empty((rows, _blocks(cols)), dtype=torch.float32)


def _fake_combine(y: Tensor, rows: Tensor, weights: Tensor) -> Tensor:  # noqa: ARG001
    return y.new_empty((rows.shape[0], y.shape[1]))


def _operator(name: str, cpu: Callable[..., Any], cuda: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    operator = torch.library.custom_op(f"{NAMESPACE}::{name}", cpu, mutates_args=(), device_types="cpu")
    operator.register_kernel("cuda")(cuda)
    operator.register_fake(fake)
    return operator


quantize_rows = _operator("quantize_rows", _quantize_rows, on_cuda.quantize_rows, _fake_rows)
quantize_blocks = _operator("quantize_blocks", _quantize_blocks, on_cuda.quantize_blocks, _fake_blocks)
grouped_product = _operator("grouped_product", _grouped_product, _grouped_product_cuda, _fake_product)
router_logits = _operator("router_logits", _router_logits, on_cuda.router_logits, _fake_logits)
route = _operator("route", _route, on_cuda.route, _fake_route)
permute = _operator("permute", _permute, on_cuda.permute, _fake_permute)
quantize_permuted = _operator("quantize_permuted", _quantize_permuted, on_cuda.quantize_permuted, _fake_permuted)
swiglu_quantize = _operator("swiglu_quantize", _swiglu_quantize, on_cuda.swiglu_quantize, _fake_swiglu)
combine = _operator("combine", _combine, on_cuda.combine, _fake_combine)

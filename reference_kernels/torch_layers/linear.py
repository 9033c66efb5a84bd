"""A linear layer in FP8: in place of torch.nn.Linear, for inference."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from grader.reference_kernels.torch_layers import ops
from grader.reference_kernels.torch_layers.quantized_module import QuantizedModule, quantized_weights, zeros


class FP8Linear(QuantizedModule):
    """y = x @ weight^T + bias. x has any leading shape and any length K; y has x's type.

    Activations are quantized to E4M3 at every call, 1x128; weights once, 128x128. Products are summed in FP32, the
    bias is added, and the result is rounded to BF16.

    The state dict has `weight` (N, K) in E4M3, `weight_scale_inv` (ceil(N/128), ceil(K/128)) in FP32, which are the
    names in DeepSeek-V3's checkpoints, and `bias` (N) in FP32. A state dict of torch.nn.Linear can be loaded, too.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        backend: str = ops.KERNELS,
        device: Any = None,
    ) -> None:
        super().__init__(backend)
        self.in_features, self.out_features = in_features, out_features
        codes, scales = zeros(device, out_features, in_features)
        self.register_buffer("weight", codes)
        self.register_buffer("weight_scale_inv", scales)
        self.register_buffer("bias", torch.zeros(out_features, device=device) if bias else None)

    @classmethod
    def from_linear(cls, linear: Any, *, backend: str = ops.KERNELS) -> Self:
        """Of a torch.nn.Linear in BF16 or another float type, on the same device."""
        weight = linear.weight
        made = cls(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            backend=backend,
            device=weight.device,
        )
        made.load_state_dict(linear.state_dict())
        return made

    def forward(self, x: Tensor) -> Tensor:
        rows = self._rows_of(x, self.in_features)
        codes, scales = ops.quantize_rows(rows)
        sizes = torch.full((1,), rows.shape[0], dtype=torch.int32, device=x.device)
        weight, weight_scales = self.weight[None], self.weight_scale_inv[None]
        bias = None if self.bias is None else self.bias[None]
        y = ops.grouped_product(codes, scales, weight, weight_scales, sizes, bias, self.backend)
        return y.view(*x.shape[:-1], self.out_features).to(x.dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Quantizes a weight that is not in FP8. `state_dict` is torch's own copy of the caller's."""
        weight = state_dict.get(f"{prefix}weight")
        if weight is not None and weight.dtype is not ops.E4M3:
            codes, scales = quantized_weights(weight[None])
            state_dict |= {f"{prefix}weight": codes[0], f"{prefix}weight_scale_inv": scales[0]}
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}, {self.backend}"

"""A Mixture-of-Experts layer in FP8, for inference; and the same layer in BF16 or FP32.

    logits = x @ router^T                              FP32
    the k best experts of each token, each weighted by the softmax over all logits (or over the k, to renormalize)
    h = silu(x @ gate^T) * (x @ up^T)                  for each of them
    y = the weighted sum of h @ down^T

Of equal logits, the expert of the lowest number is chosen.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

from grader.reference_kernels.torch_layers import ops
from grader.reference_kernels.torch_layers.quantized_module import QuantizedModule, quantized_weights, zeros


class FloatMoE(torch.nn.Module):  # type: ignore[misc]
    """Expert by expert, as plainly as possible: what MoELayer is made from and compared with.

    Parameters: `router` (E, H), `gate_up` (E, 2 * I, H) with the gates first, `down` (E, H, I).
    """

    def __init__(
        self,
        hidden: int,
        intermediate: int,
        experts: int,
        top_k: int = 2,
        *,
        renormalize: bool = False,
        dtype: Any = torch.bfloat16,
        device: Any = None,
    ) -> None:
        super().__init__()
        _check(experts, top_k)
        self.hidden, self.intermediate, self.experts = hidden, intermediate, experts
        self.top_k, self.renormalize = top_k, renormalize

        def weights(*shape: int) -> Any:
            drawn = torch.randn(shape, device=device) / shape[-1] ** 0.5
            return torch.nn.Parameter(drawn.to(dtype), requires_grad=False)

        self.router = weights(experts, hidden)
        self.gate_up = weights(experts, 2 * intermediate, hidden)
        self.down = weights(experts, hidden, intermediate)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, self.hidden)
        logits = linear(tokens.float(), self.router.float())
        experts, weights = ops.route(logits, self.top_k, self.renormalize)
        y = torch.zeros_like(tokens, dtype=torch.float32)
        for expert in range(self.experts):
            token, slot = (experts == expert).nonzero(as_tuple=True)
            gate, up = linear(tokens[token], self.gate_up[expert]).chunk(2, dim=-1)
            result = linear(silu(gate) * up, self.down[expert])
            y.index_add_(0, token, weights[token, slot, None] * result.float())
        return y.to(x.dtype).view(x.shape)


class MoELayer(QuantizedModule):
    """FloatMoE in FP8: activations 1x128, weights 128x128, FP32 sums, BF16 between the steps. y has x's type.

    The state dict has FloatMoE's names, and a `..._scale_inv` in FP32 for each of the two weights in E4M3; the
    router stays in FP32. How many tokens an expert gets never leaves the GPU.
    """

    def __init__(
        self,
        hidden: int,
        intermediate: int,
        experts: int,
        top_k: int = 2,
        *,
        renormalize: bool = False,
        backend: str = ops.KERNELS,
        device: Any = None,
    ) -> None:
        super().__init__(backend)
        _check(experts, top_k)
        self.hidden, self.intermediate, self.experts = hidden, intermediate, experts
        self.top_k, self.renormalize = top_k, renormalize
        self.register_buffer("router", torch.zeros(experts, hidden, device=device))
        for name, shape in (("gate_up", (2 * intermediate, hidden)), ("down", (hidden, intermediate))):
            codes, scales = zeros(device, experts, *shape)
            self.register_buffer(name, codes)
            self.register_buffer(f"{name}_scale_inv", scales)

    @classmethod
    def from_float(cls, layer: FloatMoE, *, backend: str = ops.KERNELS) -> Self:
        """Quantizes the experts; the router is copied."""
        made = cls(
            layer.hidden,
            layer.intermediate,
            layer.experts,
            layer.top_k,
            renormalize=layer.renormalize,
            backend=backend,
            device=layer.router.device,
        )
        state = {"router": layer.router}
        for name in ("gate_up", "down"):
            state[name], state[f"{name}_scale_inv"] = quantized_weights(getattr(layer, name))
        made.load_state_dict(state)
        return made

    def forward(self, x: Tensor) -> Tensor:
        tokens = self._rows_of(x, self.hidden)
        logits = ops.router_logits(tokens, self.router)
        experts, weights = ops.route(logits, self.top_k, self.renormalize)
        rows, tokens_of, sizes = ops.permute(experts, self.experts)
        permuted = ops.quantize_permuted(tokens, rows, tokens_of)
        gate_up = self._product(permuted, self.gate_up, self.gate_up_scale_inv, sizes)
        y = self._product(ops.swiglu_quantize(gate_up), self.down, self.down_scale_inv, sizes)
        return ops.combine(y, rows, weights).view(x.shape).to(x.dtype)

    def _product(self, left: tuple[Tensor, Tensor], right: Tensor, right_scales: Tensor, sizes: Tensor) -> Tensor:
        return ops.grouped_product(*left, right, right_scales, sizes, None, self.backend)

    def extra_repr(self) -> str:
        sizes = f"hidden={self.hidden}, intermediate={self.intermediate}, experts={self.experts}"
        return f"{sizes}, top_k={self.top_k}, {self.backend}"


def _check(experts: int, top_k: int) -> None:
    if not 1 <= top_k <= experts:
        raise ValueError(f"top_k is {top_k}; it must be from 1 to the number of experts, {experts}")

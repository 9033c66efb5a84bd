"""A whole Mixture-of-Experts layer in one CUDA graph: ours in FP8 next to torch's grouped products in BF16 and FP8.

    python benchmarks/bench_moe_layer.py --tokens 1,128,4096 --output moe_layer.csv

Router, top-k, permutation, two grouped products with SwiGLU between them, and the weighted sum, from tokens to their
results; the default sizes are those of a DeepSeek-V3 layer. Nothing waits for the host. torch's layers are the same
steps in torch's own operators; FP8 there has a scale for each row and each column. With --steps, the time of each of
our operators is shown, too. Needs an NVIDIA GPU (compute capability 9.0) and torch; each result is checked first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import measured, on_gpu  # noqa: E402
from benchmarks.measured import Row  # noqa: E402

LARGEST_ERROR = 0.1  # relative, of a layer in FP8 from the one in BF16; 0.06 to 0.07 is usual
SETS = 4  # of tokens; the weights are far larger than the cache

TIME, SPEEDUP, STEPS = "time of a layer", "speed, as a multiple of torch's", "time of each step of ours"
OURS, TORCH_BF16, TORCH_FP8 = "FP8, our kernels", "BF16, torch._grouped_mm", "FP8 row-wise, torch._scaled_grouped_mm"
METHODS = (OURS, TORCH_BF16, TORCH_FP8)
WRONG = "not measured: wrong result"
WORDS = {TIME: "From the tokens' activations to theirs, as one captured graph; medians, a tenth to nine tenths."}


@dataclass(frozen=True)
class Sizes:
    hidden: int
    intermediate: int
    experts: int
    top_k: int


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--tokens", type=measured.numbers, default=(1, 128, 4096), help="1,128,4096")
    parser.add_argument("--hidden", type=int, default=7168)
    parser.add_argument("--intermediate", type=int, default=2048)
    parser.add_argument("--experts", type=int, default=256)
    parser.add_argument("--top-k", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", action="store_true", help="also time each of our operators")
    measured.output(parser)
    options = parser.parse_args(arguments)
    measured.check_output(parser, options.output)
    if options.hidden % 128 or options.intermediate % 128:
        parser.error("--hidden and --intermediate must be multiples of 128, the length of a block of scales")
    if not 1 <= options.top_k <= options.experts:
        parser.error(f"--top-k {options.top_k}: it must be from 1 to the number of experts, {options.experts}")

    missing = on_gpu.missing()
    sizes = Sizes(options.hidden, options.intermediate, options.experts, options.top_k)
    if missing:
        cases = [(str(tokens), method) for tokens in options.tokens for method in METHODS]
        rows = [Row(TIME, case, method, None, "", note=f"not measured: {missing}") for case, method in cases]
    else:
        rows = list(said(timed(sizes, options.tokens, options.seed, options.steps)))
    command = f"bench_moe_layer.py --tokens {','.join(map(str, options.tokens))} --hidden {sizes.hidden}"
    command += f" --intermediate {sizes.intermediate} --experts {sizes.experts} --top-k {sizes.top_k}"
    about = {"command": f"{command} --seed {options.seed}"}
    measured.finish(rows, options.output, about | ({"gpu": None} if missing else on_gpu.describe()), WORDS)
    return int(any(row.note.startswith(WRONG) for row in rows))


def said(rows: Iterator[Row]) -> Iterator[Row]:
    """As they come: the largest sizes take a while."""
    for row in rows:
        print(f"{row.case}, {row.method}: {row.note or f'{row.value:.4g} {row.unit}'}", file=sys.stderr)
        yield row


# ---- torch's layers


def torch_bf16(layer: Any, x: Any) -> Any:
    """`layer`: a FloatMoE in BF16."""
    import torch

    weights, order, ends = torch_routing(layer, x)
    rows = x.index_select(0, order // layer.top_k)
    gate, up = torch._grouped_mm(rows, layer.gate_up.mT, offs=ends).chunk(2, dim=-1)
    h = torch.nn.functional.silu(gate) * up
    return torch_combine(torch._grouped_mm(h, layer.down.mT, offs=ends), order, weights)


@dataclass(frozen=True)
class RowWise:
    """The same weights in E4M3, with a scale for each of their rows."""

    layer: Any
    gate_up: tuple[Any, Any]
    down: tuple[Any, Any]
    quantize: Callable[[Any], tuple[Any, Any]]
    swiglu_quantize: Callable[[Any], tuple[Any, Any]]


def row_wise(layer: Any) -> RowWise:
    import torch

    codes_and_scales = [expert_by_expert(weights) for weights in (layer.gate_up, layer.down)]
    return RowWise(layer, *codes_and_scales, torch.compile(quantize_row_wise), torch.compile(swiglu_row_wise))


def expert_by_expert(weights: Any) -> tuple[Any, Any]:
    import torch

    codes, scales = zip(*map(quantize_row_wise, weights), strict=True)
    return torch.stack(codes), torch.stack(scales)


def quantize_row_wise(x: Any) -> tuple[Any, Any]:
    import torch

    values = x.float()
    scale = values.abs().amax(dim=-1).clamp(min=1e-6) / 448
    return (values / scale[..., None]).clamp(-448, 448).to(torch.float8_e4m3fn), scale


def swiglu_row_wise(gate_up: Any) -> tuple[Any, Any]:
    import torch

    gate, up = gate_up.float().chunk(2, dim=-1)
    return quantize_row_wise(torch.nn.functional.silu(gate) * up)


def torch_fp8(fp8: RowWise, x: Any) -> Any:
    import torch

    layer = fp8.layer
    weights, order, ends = torch_routing(layer, x)
    codes, scales = fp8.quantize(x)  # once for each token, before they are copied
    of_row = order // layer.top_k
    left = codes.view(torch.uint8).index_select(0, of_row).view(torch.float8_e4m3fn), scales.index_select(0, of_row)
    h = fp8.swiglu_quantize(scaled_grouped(left, fp8.gate_up, ends))
    return torch_combine(scaled_grouped(h, fp8.down, ends), order, weights)


def scaled_grouped(left: tuple[Any, Any], right: tuple[Any, Any], ends: Any) -> Any:
    import torch

    (a, a_scales), (b, b_scales) = left, right
    return torch._scaled_grouped_mm(
        a, b.mT, a_scales, b_scales, offs=ends, out_dtype=torch.bfloat16, use_fast_accum=True
    )


def torch_routing(layer: Any, x: Any) -> tuple[Any, Any, Any]:
    """Weights (T, k); the tokens' copies, sorted by expert; the row behind each expert's last."""
    import torch

    logits = torch.nn.functional.linear(x.float(), layer.router.float())
    weights, experts = logits.softmax(dim=-1).topk(layer.top_k, dim=-1)
    flat = experts.flatten()
    numbers = torch.arange(layer.experts, device=x.device)
    ends = (flat[None] == numbers[:, None]).sum(dim=1).cumsum(0).to(torch.int32)
    return weights, flat.argsort(stable=True), ends


def torch_combine(y: Any, order: Any, weights: Any) -> Any:
    import torch

    tokens, k = weights.shape
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    own = y.index_select(0, place).view(tokens, k, -1)
    return torch.bmm(weights[:, None].to(y.dtype), own)[:, 0]


# ---- times


def timed(sizes: Sizes, tokens: Sequence[int], seed: int, steps: bool) -> Iterator[Row]:
    import torch

    from grader.reference_kernels.torch_layers import FloatMoE, MoELayer

    torch.manual_seed(seed)
    plain = FloatMoE(sizes.hidden, sizes.intermediate, sizes.experts, sizes.top_k, device="cuda")
    ours, fp8 = MoELayer.from_float(plain), row_wise(plain)
    contenders: dict[str, Callable[[Any], Any]] = {
        OURS: ours,
        TORCH_BF16: partial(torch_bf16, plain),
        TORCH_FP8: partial(torch_fp8, fp8),
    }
    for count in measured.progress(tokens, "times"):
        draw = partial(torch.randn, count, sizes.hidden, device="cuda")
        inputs = [draw().to(torch.bfloat16) for _ in range(SETS)]
        with torch.no_grad():
            yield from timed_tokens(contenders, inputs)
            if steps:
                yield from timed_steps(ours, inputs[0])


def timed_tokens(contenders: Mapping[str, Callable[[Any], Any]], inputs: Sequence[Any]) -> Iterator[Row]:
    case = f"{len(inputs[0])} tokens"
    expected = contenders[TORCH_BF16](inputs[0]).float()
    times: dict[str, on_gpu.Microseconds] = {}
    for method, run in contenders.items():
        try:
            error = float((run(inputs[0]).float() - expected).norm() / expected.norm())
            if not error < LARGEST_ERROR:
                yield Row(TIME, case, method, None, "", note=f"{WRONG}: off BF16's by {error:.3g} of its size")
                continue
            times[method] = us = on_gpu.microseconds(run, inputs)
            yield Row(TIME, case, method, us.median, "µs", us.low, us.high)
        except (RuntimeError, ValueError, AttributeError) as error:  # this torch refuses it, or does not have it
            yield Row(TIME, case, method, None, "", note=f"not measured: {str(error).splitlines()[0]}")
    for method in (TORCH_BF16, TORCH_FP8):
        if OURS in times and method in times:
            yield Row(SPEEDUP, case, method, times[method].median / times[OURS].median, "x")


def timed_steps(layer: Any, x: Any) -> Iterator[Row]:
    """As MoELayer.forward."""
    from grader.reference_kernels.torch_layers import ops

    logits = ops.router_logits(x, layer.router)
    experts, weights = ops.route(logits, layer.top_k, layer.renormalize)
    rows, tokens_of, sizes = ops.permute(experts, layer.experts)
    permuted = ops.quantize_permuted(x, rows, tokens_of)
    gate_up = layer._product(permuted, layer.gate_up, layer.gate_up_scale_inv, sizes)
    h = ops.swiglu_quantize(gate_up)
    y = layer._product(h, layer.down, layer.down_scale_inv, sizes)
    steps: dict[str, Callable[[], Any]] = {
        "router": lambda: ops.router_logits(x, layer.router),
        "top k": lambda: ops.route(logits, layer.top_k, layer.renormalize),
        "sort by expert": lambda: ops.permute(experts, layer.experts),
        "quantize and copy": lambda: ops.quantize_permuted(x, rows, tokens_of),
        "first grouped product": lambda: layer._product(permuted, layer.gate_up, layer.gate_up_scale_inv, sizes),
        "SwiGLU and quantize": lambda: ops.swiglu_quantize(gate_up),
        "second grouped product": lambda: layer._product(h, layer.down, layer.down_scale_inv, sizes),
        "combine": lambda: ops.combine(y, rows, weights),
    }
    for name, step in steps.items():
        us = on_gpu.microseconds(lambda _, step=step: step(), range(SETS))
        yield Row(STEPS, f"{len(x)} tokens", name, us.median, "µs", us.low, us.high)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

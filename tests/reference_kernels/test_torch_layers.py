"""FP8Linear and MoELayer: errors within the derived bounds, state dicts, odd sizes, torch.compile. Needs torch."""

from __future__ import annotations

import copy
import shutil
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from grader.reference_kernels import fp8_layers_error, moe  # noqa: E402
from grader.reference_kernels.fp8_grouped_gemm import fp8_grouped_gemm, quantized, to_bf16  # noqa: E402
from grader.reference_kernels.torch_layers import FloatMoE, FP8Linear, MoELayer, deepgemm, ops  # noqa: E402

BF16, FP32 = torch.bfloat16, torch.float32
MARGIN = 0.5  # of the bound: what a right layer stays below

on_each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])

# rows, K, N: one of each, whole blocks, ragged ones, odd numbers.
LINEAR_SIZES = [(1, 1, 1), (1, 16, 32), (7, 128, 128), (130, 272, 200), (5, 83, 45), (64, 256, 144)]


def draw(*shape: int, seed: int = 0, dtype: Any = BF16, device: str = "cpu") -> Any:
    """Normal, a few a hundred times as large."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator)
    outliers = torch.rand(shape, generator=generator) < 0.002
    return torch.where(outliers, 100 * x, x).to(dtype).to(device)


def plain_linear(K: int, N: int, *, bias: bool = True, device: str = "cpu") -> Any:  # noqa: N803
    torch.manual_seed(K + N)
    return torch.nn.Linear(K, N, bias=bias, dtype=BF16, device=device).requires_grad_(False)


def plain_moe(hidden: int, intermediate: int, experts: int, k: int, *, device: str = "cpu", **rest: Any) -> Any:
    torch.manual_seed(hidden + k)
    return FloatMoE(hidden, intermediate, experts, k, device=device, **rest)


def as_numpy(tensor: Any) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def bits(tensor: Any) -> Any:
    return tensor.detach().cpu().view(torch.int16 if tensor.dtype is BF16 else torch.int32)


def share_of_bound(y: Any, reference: Any, bounded: fp8_layers_error.Bounded) -> float:
    """The largest error against torch in FP32, in units of what is allowed."""
    np.testing.assert_allclose(as_numpy(reference), bounded.values, rtol=1e-3, atol=1e-3)
    error = np.abs(as_numpy(y).astype(np.float64) - as_numpy(reference))
    return float((error / bounded.error).max(initial=0))


def relative(y: Any, reference: Any) -> float:
    return float((y.float() - reference.float()).norm() / reference.float().norm())


def moe_bound(layer: Any, x: Any) -> fp8_layers_error.Bounded:
    logits = torch.nn.functional.linear(x.float(), layer.router.float())
    experts, weights = ops.route(logits, layer.top_k, layer.renormalize)
    arrays = map(as_numpy, (x, layer.gate_up, layer.down))
    return fp8_layers_error.moe(*arrays, experts.cpu().numpy(), as_numpy(weights))


# ---- FP8Linear


@on_each_device
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", LINEAR_SIZES)
def test_a_linear_layer_is_within_its_bound(size: tuple[int, int, int], bias: bool, device: str) -> None:
    rows, k, n = size
    plain = plain_linear(k, n, bias=bias, device=device)
    layer = FP8Linear.from_linear(plain)
    for dtype in (BF16, FP32, torch.float16):
        x = draw(rows, k, dtype=dtype, device=device)
        y, reference = layer(x), torch.nn.functional.linear(x.float(), plain.weight.float(), layer.bias)
        assert y.dtype is dtype
        arrays = map(as_numpy, (x, plain.weight) + ((plain.bias,) if bias else ()))
        assert share_of_bound(y, reference, fp8_layers_error.linear(*arrays)) < MARGIN


@on_each_device
def test_a_linear_layer_loses_a_few_percent(device: str) -> None:
    plain = plain_linear(512, 256, device=device)
    x = draw(64, 512, device=device)
    reference = torch.nn.functional.linear(x.float(), plain.weight.float(), plain.bias.float())
    assert 0.01 < relative(FP8Linear.from_linear(plain)(x), reference) < 0.05


def test_on_a_cpu_a_linear_layer_is_the_oracle_bit_for_bit() -> None:
    plain, x = plain_linear(272, 200, bias=False), draw(30, 272)
    operands = quantized(as_numpy(x), as_numpy(plain.weight)[None], [30])
    expected = to_bf16(fp8_grouped_gemm(operands))
    assert (FP8Linear.from_linear(plain)(x).view(torch.int16).numpy().view(np.uint16) == expected).all()


@on_each_device
def test_leading_dimensions_stay_and_no_token_is_no_row(device: str) -> None:
    layer = FP8Linear.from_linear(plain_linear(32, 48, device=device))
    x = draw(2, 3, 5, 32, device=device)
    assert torch.equal(bits(layer(x)), bits(layer(x.reshape(-1, 32)).view(2, 3, 5, 48)))
    assert torch.equal(bits(layer(x[1, 2, 4])), bits(layer(x)[1, 2, 4]))
    assert torch.equal(bits(layer(x.transpose(0, 1))), bits(layer(x).transpose(0, 1).contiguous()))
    assert layer(x[:, :0]).shape == (2, 0, 5, 48)


@on_each_device
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_stays_none_in_its_row_alone(bad: float, device: str) -> None:
    layer = FP8Linear.from_linear(plain_linear(200, 16, device=device))
    x = draw(4, 200, device=device)
    x[1, 7] = bad
    assert layer(x).isnan().any(dim=1).tolist() == [False, True, False, False]


@on_each_device
def test_a_state_dict_makes_the_same_layer(device: str) -> None:
    layer, x = FP8Linear.from_linear(plain_linear(200, 144, device=device)), draw(9, 200, device=device)
    state = {name: tensor.cpu() for name, tensor in layer.state_dict().items()}
    assert {name: (tuple(t.shape), t.dtype) for name, t in state.items()} == {
        "weight": ((144, 200), torch.float8_e4m3fn),
        "weight_scale_inv": ((2, 2), FP32),
        "bias": ((144,), FP32),
    }
    other = FP8Linear(200, 144, device=device)
    other.load_state_dict(state)
    assert torch.equal(bits(other(x)), bits(layer(x)))


def test_a_state_dict_of_a_plain_layer_is_quantized_when_it_is_loaded() -> None:
    plain, x = torch.nn.Sequential(plain_linear(32, 64), plain_linear(64, 16)), draw(4, 32)
    model = torch.nn.Sequential(FP8Linear(32, 64), FP8Linear(64, 16))
    state = plain.state_dict()
    model.load_state_dict(state)
    assert state["0.weight"].dtype is BF16  # the caller's is left alone
    expected = FP8Linear.from_linear(plain[1])(FP8Linear.from_linear(plain[0])(x))
    assert torch.equal(bits(model(x)), bits(expected))
    with pytest.raises(RuntimeError, match=r"bias"):
        FP8Linear(32, 64, bias=False).load_state_dict(plain[0].state_dict())


def test_the_linear_layers_of_a_model_can_be_replaced() -> None:
    model = torch.nn.Sequential(plain_linear(32, 64), torch.nn.Sequential(torch.nn.SiLU(), plain_linear(64, 16)))
    x = draw(5, 32)
    before = model(x)
    for name, child in list(model.named_modules()):
        if isinstance(child, torch.nn.Linear):
            model.set_submodule(name, FP8Linear.from_linear(child))
    assert [type(m) for m in model.modules()].count(FP8Linear) == 2
    assert 0 < relative(model(x), before) < 0.1


@pytest.mark.parametrize("change", [lambda m: m.bfloat16(), lambda m: m.half(), lambda m: m.to("cpu", torch.float64)])
def test_codes_and_scales_keep_their_types(change: Callable[[Any], Any]) -> None:
    for layer in (FP8Linear.from_linear(plain_linear(64, 32)), MoELayer.from_float(plain_moe(64, 32, 3, 1))):
        x, before = draw(5, 64), layer.state_dict()
        after = change(torch.nn.Sequential(copy.deepcopy(layer)))
        assert {t.dtype for t in after[0].state_dict().values()} == {t.dtype for t in before.values()}
        assert torch.equal(bits(after(x)), bits(layer(x)))


@pytest.mark.parametrize("k", [1, 2])
def test_layers_are_for_inference_and_say_so(k: int) -> None:
    x = draw(3, 32).requires_grad_()
    for layer in (FP8Linear(32, 16), MoELayer(32, 16, 4, k)):
        assert list(layer.parameters()) == []
        with pytest.raises(RuntimeError, match=f"{type(layer).__name__} is for inference only"):
            layer(x)
        with torch.no_grad():
            assert not layer(x).requires_grad


def test_unusable_inputs_are_refused() -> None:
    layer = FP8Linear(32, 16)
    with pytest.raises(TypeError, match="takes BF16, FP16 or FP32, got torch"):
        layer(torch.zeros(2, 32, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"takes 32 features, got \(2, 31\)"):
        layer(torch.zeros(2, 31))
    with pytest.raises(ValueError, match="known are 'kernels' and 'deepgemm'"):
        FP8Linear(32, 16, backend="cublas")
    with pytest.raises(ValueError, match="top_k is 5"):
        MoELayer(32, 16, 4, 5)
    plain = plain_linear(32, 16)
    plain.weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="the weights contain NaN or Inf"):
        FP8Linear.from_linear(plain)


# ---- MoELayer

# tokens, hidden, intermediate, experts, k: one token, ragged blocks, more experts than tokens, one expert.
MOE_SIZES = [(1, 16, 16, 4, 1), (40, 128, 256, 8, 2), (33, 200, 72, 5, 2), (6, 64, 48, 16, 1), (12, 48, 80, 1, 1)]


@on_each_device
@pytest.mark.parametrize("renormalize", [True, False])
@pytest.mark.parametrize("size", MOE_SIZES)
def test_a_moe_layer_is_within_its_bound(size: tuple[int, ...], renormalize: bool, device: str) -> None:
    tokens, *sizes = size
    plain = plain_moe(*sizes, renormalize=renormalize, device=device)
    x = draw(tokens, sizes[0], device=device)
    y, reference = MoELayer.from_float(plain)(x), copy.deepcopy(plain).float()(x.float())
    assert share_of_bound(y, reference, moe_bound(plain, x)) < MARGIN


@on_each_device
@pytest.mark.parametrize("k", [1, 2])
def test_a_moe_layer_loses_a_few_percent(k: int, device: str) -> None:
    plain = plain_moe(256, 384, 8, k, device=device)
    x = torch.randn(100, 256, generator=torch.Generator().manual_seed(1)).to(BF16).to(device)
    assert 0.01 < relative(MoELayer.from_float(plain)(x), copy.deepcopy(plain).float()(x.float())) < 0.1


@on_each_device
def test_an_expert_without_tokens_and_one_with_all_of_them(device: str) -> None:
    plain = plain_moe(64, 32, 6, 1, device=device)
    plain.router.zero_()
    plain.router[4] = 1
    x = draw(20, 64, device=device).abs()
    y, reference = MoELayer.from_float(plain)(x), copy.deepcopy(plain).float()(x.float())
    assert share_of_bound(y, reference, moe_bound(plain, x)) < MARGIN
    gate, up = (x.float() @ plain.gate_up[4].float().T).chunk(2, dim=-1)
    by_hand = (torch.nn.functional.silu(gate) * up) @ plain.down[4].float().T
    torch.testing.assert_close(reference, by_hand, rtol=1e-4, atol=1e-3)


@on_each_device
def test_of_equal_logits_the_first_experts_are_taken(device: str) -> None:
    plain = plain_moe(32, 16, 5, 2, device=device)
    plain.router.zero_()
    x = draw(3, 32, device=device)
    experts, weights = ops.route(torch.zeros(3, 5, device=device), 2, True)
    assert experts.tolist() == [[0, 1]] * 3
    assert weights.tolist() == [[0.5, 0.5]] * 3
    reference = copy.deepcopy(plain).float()(x.float())
    assert share_of_bound(MoELayer.from_float(plain)(x), reference, moe_bound(plain, x)) < MARGIN


@on_each_device
def test_a_token_s_result_does_not_depend_on_the_others(device: str) -> None:
    layer = MoELayer.from_float(plain_moe(64, 48, 4, 2, device=device))
    x = draw(30, 64, device=device)
    turned = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    assert torch.equal(bits(layer(x[turned])), bits(layer(x))[turned])
    assert torch.equal(bits(layer(x.view(5, 6, 64))), bits(layer(x)).view(5, 6, 64))
    assert layer(x[:0]).shape == (0, 64)


def test_a_moe_layer_s_state_dict_makes_the_same_layer() -> None:
    layer, x = MoELayer.from_float(plain_moe(64, 48, 4, 2)), draw(7, 64)
    other = MoELayer(64, 48, 4, 2)
    other.load_state_dict(layer.state_dict())
    assert set(layer.state_dict()) == {"router", "gate_up", "gate_up_scale_inv", "down", "down_scale_inv"}
    assert torch.equal(bits(other(x)), bits(layer(x)))


def scales_reversed(layer: Any) -> None:
    layer.down_scale_inv.copy_(layer.down_scale_inv.flip(0))


def experts_exchanged(layer: Any) -> None:
    layer.gate_up.copy_(layer.gate_up.view(torch.uint8).flip(0).view(ops.E4M3))


def columns_shifted(layer: Any) -> None:
    layer.down.copy_(layer.down.view(torch.uint8).roll(1, dims=1).view(ops.E4M3))


@pytest.mark.parametrize("mistake", [scales_reversed, experts_exchanged, columns_shifted])
def test_the_bound_is_not_too_wide_for_a_wrong_layer(mistake: Callable[[Any], None]) -> None:
    """It is exceeded by far: what a right layer reaches is below a half."""
    plain = plain_moe(128, 128, 4, 2)
    plain.down[0] *= 4  # else all experts' scales are alike
    layer, x = MoELayer.from_float(plain), draw(40, 128)
    mistake(layer)
    assert share_of_bound(layer(x), copy.deepcopy(plain).float()(x.float()), moe_bound(plain, x)) > 2


@pytest.mark.parametrize("k", [1, 2])
def test_the_plain_layer_is_the_one_of_exercise_06(k: int) -> None:
    plain, x = plain_moe(32, 48, 5, k, dtype=FP32), draw(30, 32, dtype=FP32)
    logits = np.round(as_numpy(x @ plain.router.T) * 2)  # many ties
    experts, weights = ops.route(torch.from_numpy(logits), k, False)
    theirs = moe.route(logits, k)
    np.testing.assert_array_equal(experts.numpy(), theirs[0])
    np.testing.assert_allclose(weights.numpy(), theirs[1], rtol=1e-6)
    exact = np.zeros(x.shape)
    expert, weight = moe.route(as_numpy(x).astype(np.float64) @ as_numpy(plain.router).T, k)
    for token, slot in np.ndindex(expert.shape):
        e = expert[token, slot]
        h = moe.swiglu(as_numpy(x)[token, None].astype(np.float64) @ as_numpy(plain.gate_up)[e].T)
        exact[token] += weight[token, slot] * (h @ as_numpy(plain.down)[e].T)[0]
    np.testing.assert_allclose(as_numpy(plain(x)), exact, rtol=1e-3, atol=1e-4)


# ---- torch.compile


def layers(device: str) -> list[tuple[Any, int]]:
    """Each with the length of its input."""
    linear = FP8Linear.from_linear(plain_linear(200, 72, device=device))
    return [(linear, 200), *((MoELayer.from_float(plain_moe(96, 80, 6, k, device=device)), 96) for k in (1, 2))]


def compiled_gives_the_same_bits(backend: str, device: str, layer: Any, features: int) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    for seed, (rows, dtype) in enumerate([(7, BF16), (30, BF16), (1, BF16), (7, FP32)]):
        x = draw(rows, features, seed=seed, dtype=dtype, device=device)
        assert torch.equal(bits(compiled(x)), bits(layer(x)))


@on_each_device
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:TensorFloat32")  # torch's own
@pytest.mark.parametrize("which", [0, 1, 2], ids=["linear", "moe, k=1", "moe, k=2"])
def test_a_whole_graph_gives_the_same_bits(which: int, device: str) -> None:
    compiled_gives_the_same_bits("aot_eager", device, *layers(device)[which])


@on_each_device
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:TensorFloat32")  # torch's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler")
def test_compiled_code_gives_the_same_bits(device: str) -> None:
    compiled_gives_the_same_bits("inductor", device, *layers(device)[2])


@pytest.mark.parametrize(
    "name",
    [
        "quantize_rows",
        "quantize_permuted",
        "swiglu_quantize",
        "router_logits",
        "route",
        "permute",
        "combine",
        "grouped_product",
    ],
)
def test_operators_and_their_fakes_agree(name: str) -> None:
    """torch's own check of an operator: schema, fake, and what torch.compile makes of it."""
    x = draw(6, 40, dtype=FP32)
    experts = torch.tensor([[0, 1], [2, 1], [0, 2]], dtype=torch.int32)
    rows = torch.arange(6, dtype=torch.int32).view(3, 2)
    codes, scales = ops.quantize_rows(x)
    weights, weight_scales = ops.quantize_blocks(draw(2, 24, 40, dtype=FP32))
    sizes = torch.tensor([2, 4], dtype=torch.int32)
    arguments = {
        "quantize_rows": (x,),
        "quantize_permuted": (x[:3], rows, torch.tensor([0, 0, 1, 1, 2, 2], dtype=torch.int32)),
        "swiglu_quantize": (x.to(BF16),),
        "router_logits": (x.to(BF16), torch.rand(5, 40)),
        "route": (x, 2, True),
        "permute": (experts, 3),
        "combine": (x.to(BF16), rows, torch.rand(3, 2)),
        "grouped_product": (codes, scales, weights, weight_scales, sizes, None, ops.KERNELS),
    }
    checks = ["test_faketensor", "test_aot_dispatch_static"]
    if name != "grouped_product":  # torch compares inputs before and after, which it cannot do in FP8
        checks.append("test_schema")
    torch.library.opcheck(getattr(ops, name), arguments[name], test_utils=checks)


# ---- DeepGEMM, in its place a module that checks how it is called


def pretended(alignment: int, calls: list[str]) -> SimpleNamespace:
    def dequantized(codes: Any, scales: Any, rows: int) -> Any:
        spread = scales.repeat_interleave(rows, dim=-2).repeat_interleave(128, dim=-1)
        return codes.float() * spread[..., : codes.shape[-2], : codes.shape[-1]]

    def dense(left: Any, right: Any, out: Any) -> None:
        calls.append("dense")
        out.copy_(dequantized(*left, 1) @ dequantized(*right, 128).T)

    def grouped(left: Any, right: Any, out: Any, of_row: Any) -> None:
        calls.append("grouped")
        assert of_row.dtype is torch.int32
        assert len(of_row) % alignment == 0
        A, B = dequantized(*left, 1), dequantized(*right, 128)  # noqa: N806
        out.fill_(float("nan"))
        for first in range(0, len(of_row), alignment):
            tile = slice(first, first + alignment)
            numbers = set(of_row[tile].tolist()) - {-1}
            assert len(numbers) <= 1  # a tile is of one group
            if numbers:
                out[tile] = (A[tile] @ B[numbers.pop()].T).to(out.dtype)

    return SimpleNamespace(
        fp8_gemm_nt=dense,
        m_grouped_fp8_gemm_nt_contiguous=grouped,
        get_mk_alignment_for_contiguous_layout=lambda: alignment,
    )


@pytest.mark.parametrize("sizes", [[5], [3, 0, 130], [0, 8, 0], [1, 1, 1, 1]])
@pytest.mark.parametrize("bias", [True, False])
def test_deepgemm_is_called_as_it_wants(sizes: list[int], bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setitem(sys.modules, deepgemm.NAME, pretended(8, calls))
    left = ops.quantize_rows(draw(sum(sizes), 256))
    right = ops.quantize_blocks(draw(len(sizes), 128, 256, dtype=FP32))
    rows = torch.tensor(sizes, dtype=torch.int32)
    added = draw(len(sizes), 128, dtype=FP32) if bias else None
    found = deepgemm.grouped_product(*left, *right, rows, added)
    expected = ops.grouped_product(*left, *right, rows, added, ops.KERNELS)
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=2**-5)
    assert calls == ["dense" if len(sizes) == 1 else "grouped"]


def test_deepgemm_is_asked_for_only_where_it_is() -> None:
    if deepgemm.installed():
        pytest.skip("DeepGEMM is installed")
    with pytest.raises(RuntimeError, match="DeepGEMM is not installed"):
        FP8Linear(128, 128, backend="deepgemm")


def test_deepgemm_wants_whole_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, deepgemm.NAME, pretended(8, []))
    left, right = ops.quantize_rows(draw(3, 100)), ops.quantize_blocks(draw(1, 128, 100, dtype=FP32))
    with pytest.raises(ValueError, match="multiples of 128, got 100 and 128"):
        deepgemm.grouped_product(*left, *right, torch.tensor([3], dtype=torch.int32), None)


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [[300], [40, 0, 1000, 7]])
def test_on_a_gpu_deepgemm_agrees_with_our_kernels(sizes: list[int]) -> None:
    if not deepgemm.installed():
        pytest.skip("DeepGEMM is not installed")
    left = ops.quantize_rows(draw(sum(sizes), 1024, device="cuda"))
    right = ops.quantize_blocks(draw(len(sizes), 512, 1024, dtype=FP32, device="cuda"))
    rows = torch.tensor(sizes, dtype=torch.int32, device="cuda")
    found = ops.grouped_product(*left, *right, rows, None, ops.DEEPGEMM)
    expected = ops.grouped_product(*left, *right, rows, None, ops.KERNELS)
    torch.testing.assert_close(found, expected, rtol=2**-6, atol=0.5)


@pytest.mark.gpu
def test_on_a_gpu_the_current_stream_is_used_and_a_graph_captures_it() -> None:
    layer, x = MoELayer.from_float(plain_moe(256, 384, 8, 2, device="cuda")), draw(64, 256, device="cuda")
    expected = layer(x)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        assert torch.equal(bits(layer(x)), bits(expected))
    graph, still = torch.cuda.CUDAGraph(), x.clone()
    with torch.cuda.graph(graph):
        captured = layer(still)
    still.copy_(x.flip(0))
    graph.replay()
    assert torch.equal(bits(captured), bits(expected.flip(0)))


@pytest.mark.gpu
def test_on_a_gpu_logits_of_many_tokens_are_as_fp32_s() -> None:
    x, router = draw(600, 7168, device="cuda"), draw(256, 7168, dtype=FP32, device="cuda")
    exact = torch.nn.functional.linear(x.double(), router.double())
    size = torch.nn.functional.linear(x.double().abs(), router.double().abs())
    assert float(((ops.router_logits(x, router) - exact).abs() / size).max()) < 2**-19

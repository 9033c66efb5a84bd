"""torch_layers/on_cuda.py without a GPU: what it launches, and with what, run by the CPU engine. Needs torch."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from grader import ptx  # noqa: E402
from grader.compile import nvrtc, recipe  # noqa: E402
from grader.reference_kernels.torch_layers import FloatMoE, FP8Linear, MoELayer, on_cuda, ops  # noqa: E402

SMS = 2
CARRIERS = {torch.float8_e4m3fn: torch.uint8, torch.bfloat16: torch.int16}  # what NumPy has no type for


@cache
def program(source: str) -> ptx.Program:
    built = nvrtc.build((on_cuda.FOLDER / source).read_text(encoding="utf-8"), recipe.PTX_ARCH)
    assert built.ok, built.log
    return ptx.Program(ptx.parse(built.ptx))


def launched(
    name: str,
    work: int,
    *arguments: Any,
    source: str = on_cuda.LAYERS,
    threads: int = on_cuda.THREADS,
    on_an_sm: int = 8,
) -> None:
    """In place of on_cuda._launch: the tensors are on the CPU."""
    if work == 0:
        return
    given = [
        ptx.Buffer(f"argument {i}", carrier(a).numpy(), writable=True) if isinstance(a, torch.Tensor) else a or 0
        for i, a in enumerate(arguments)
    ]
    grid = min(-(-work // threads), on_an_sm * SMS)
    done = program(source).run(name, grid=(grid, 1, 1), block=(threads, 1, 1), arguments=given)
    assert done.findings == (), name


def carrier(tensor: Any) -> Any:
    return tensor.detach().contiguous().view(CARRIERS.get(tensor.dtype, tensor.dtype))


@pytest.fixture(autouse=True)
def _on_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers call the GPU's operators."""
    monkeypatch.setattr(on_cuda, "_launch", launched)
    for name in ("quantize_rows", "quantize_permuted", "route", "permute", "swiglu_quantize", "combine"):
        monkeypatch.setattr(ops, name, getattr(on_cuda, name))
    monkeypatch.setattr(ops, "grouped_product", lambda *arguments: on_cuda.grouped_product(*arguments[:-1]))


def draw(*shape: int, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16)


def close(found: Any, expected: Any) -> None:
    """FP32 sums in another order, and exp in its last bits: a BF16 or FP8 step here and there."""
    found, expected = found.float().numpy(), expected.float().numpy()
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= 0.01 * np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
@pytest.mark.parametrize("size", [(1, 16, 8), (70, 144, 72), (5, 83, 45), (0, 32, 16)])
def test_a_linear_layer(size: tuple[int, int, int], dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, k, n = size
    torch.manual_seed(k)
    layer = FP8Linear.from_linear(torch.nn.Linear(k, n, dtype=torch.bfloat16))
    x = draw(rows, k).to(dtype)
    found = layer(x)
    monkeypatch.undo()
    close(found, layer(x))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("size", [(1, 32, 16, 4), (33, 72, 100, 9), (0, 32, 16, 4)])
def test_a_moe_layer(size: tuple[int, int, int, int], k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, *sizes = size
    torch.manual_seed(k)
    layer, x = MoELayer.from_float(FloatMoE(*sizes, k)), draw(tokens, sizes[0])
    found = layer(x)
    monkeypatch.undo()
    close(found, layer(x))


@pytest.mark.parametrize("cols", [40, 272])
def test_weights(cols: int) -> None:
    weights = draw(2, 130, cols).float()
    codes, scales = on_cuda.quantize_blocks(weights)
    expected_codes, expected_scales = ops.quantize_blocks(weights)
    assert torch.equal(scales, expected_scales)
    assert torch.equal(codes.view(torch.uint8), expected_codes.view(torch.uint8))

"""bench_moe_layer.py: what it says without a GPU, and torch's layers next to the plain one."""

from __future__ import annotations

import csv
import sys
from functools import partial
from pathlib import Path

import pytest

from benchmarks import bench_moe_layer, on_gpu


def test_without_a_gpu_no_time_is_invented(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(on_gpu, "missing", lambda: "needs an NVIDIA GPU")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    file = tmp_path / "out.csv"
    assert bench_moe_layer.main(["--tokens", "1,2", "--output", str(file)]) == 0
    assert "not measured: needs an NVIDIA GPU" in capsys.readouterr().out
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == 2 * len(bench_moe_layer.METHODS)
    assert {row["value"] for row in rows} == {""}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--hidden", "100"], "must be multiples of 128"),
        (["--top-k", "9", "--experts", "8"], "--top-k 9: it must be from 1 to the number of experts, 8"),
        (["--tokens", "0"], "each must be at least 1"),
    ],
)
def test_bad_input_is_a_usage_error(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench_moe_layer.main(options)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_torch_s_layers_are_the_same_layer() -> None:
    """On a CPU, which has no scaled grouped product: there it is the product of what the codes stand for."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from grader.reference_kernels.torch_layers import FloatMoE

    torch.manual_seed(0)
    plain = FloatMoE(256, 128, 8, 2)
    x = torch.randn(33, 256).to(torch.bfloat16)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda f: f)
        patch.setattr(bench_moe_layer, "scaled_grouped", decoded_grouped)
        expected = plain(x).float()
        for layer, allowed in (
            (partial(bench_moe_layer.torch_bf16, plain), 0.01),
            (partial(bench_moe_layer.torch_fp8, bench_moe_layer.row_wise(plain)), bench_moe_layer.LARGEST_ERROR),
        ):
            assert float((layer(x).float() - expected).norm() / expected.norm()) < allowed


def decoded_grouped(left: object, right: object, ends: object) -> object:
    import torch

    a, b = ((codes.float() * scales[..., None]).bfloat16() for codes, scales in (left, right))
    return torch._grouped_mm(a, b.mT, offs=ends)

"""bench_hopper_gemm.py: its problems and its figures; the times themselves need a GPU."""

from __future__ import annotations

import pytest

from benchmarks import bench_hopper_gemm as bench
from benchmarks import on_gpu


def test_ragged_problems_have_as_many_rows() -> None:
    problems = bench.problems(seed=3)
    assert len(problems) == 2 * len(bench.SHAPES)
    for name, sizes in problems.items():
        even = problems[name.removesuffix(", Zipf")]
        assert sum(sizes.M_sizes) == sum(even.M_sizes)
        assert (sizes.K, sizes.N, sizes.flops) == (even.K, even.N, even.flops)
        assert (len(set(sizes.M_sizes)) > 1) == name.endswith("Zipf")


def test_figures_compare_round_by_round() -> None:
    sizes = bench.problems(seed=0)["8 x 2048·2048·2048"]
    slow = [[(100.0 + block + turn, 1500.0) for turn in range(5)] for block in range(6)]
    fast = [[(us / 2, mhz) for us, mhz in block] for block in slow]
    found = bench.figures(sizes, {bench.OURS: fast, bench.CUBLASLT: slow})
    assert found[bench.CUBLASLT].ratio == pytest.approx(2)
    assert found[bench.CUBLASLT].low < 2 < found[bench.CUBLASLT].high
    assert found[bench.OURS].tflops == pytest.approx(2 * found[bench.CUBLASLT].tflops)
    assert found[bench.OURS].tflops == pytest.approx(sizes.flops / found[bench.OURS].us / 1e6)


def test_without_a_gpu_it_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(on_gpu, "missing", lambda: "needs an NVIDIA GPU")
    with pytest.raises(SystemExit) as stopped:
        bench.main([])
    assert stopped.value.code == 2
    assert "needs an NVIDIA GPU" in capsys.readouterr().err

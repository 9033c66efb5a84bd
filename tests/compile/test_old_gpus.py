"""What a GPU of compute capability 7.5, such as Colab's T4, is given compiles for it. NVRTC needs no such GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.compile import compiler, nvrtc, recipe, source

ROOT = Path(__file__).parents[2]
T4 = recipe.gpu_arch((7, 5))
EXERCISES = ("01_simple_grouped_gemm", "02_fp8_conversion", "03_fp8_quantization", "04_balanced_grouped_gemm")


@pytest.mark.parametrize("name", ["starter.cu", "solution.cu"])
@pytest.mark.parametrize("exercise", EXERCISES)
def test_starters_and_solutions(exercise: str, name: str) -> None:
    text = source.decode((ROOT / "exercises" / exercise / name).read_bytes(), name)
    assert isinstance(text, str)
    built = compiler.compile_text(text, T4)
    assert built.compilation.ok, built.compilation.log
    assert built.cubin


@pytest.mark.parametrize("name", ["starter.cu", "solution.cu"])
def test_of_exercise_05_what_is_missing_is_named(name: str) -> None:
    text = source.decode((ROOT / "exercises" / "05_fp8_grouped_gemm" / name).read_bytes(), name)
    assert isinstance(text, str)
    compilation = compiler.compile_text(text, T4).compilation
    assert not compilation.ok
    assert "requires .target sm_8" in compilation.findings[0].message
    assert compilation.findings[0].line


@pytest.mark.parametrize(
    "file", ["reference_kernels/fp8.cu", "reference_kernels/quantization.cu", "grader/executors/bench_kernels.cu"]
)
def test_what_times_and_judges_there(file: str) -> None:
    built = nvrtc.build((ROOT / file).read_text(), T4)
    assert built.ok, built.log

"""What a GPU of compute capability 7.5, such as Colab's T4, is given compiles for it. NVRTC needs no such GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.compile import compiler, nvrtc, recipe, source
from grader.exercise import catalog

ROOT = Path(__file__).parents[2]
T4 = recipe.gpu_arch((7, 5))
FP8_PRODUCTS = "05_fp8_grouped_gemm"
EXERCISES = [file.parent.name for file in sorted((ROOT / "exercises").glob("*/exercise.toml"))]


@pytest.mark.parametrize("name", ["starter.cu", "solution.cu"])
@pytest.mark.parametrize("exercise", [name for name in EXERCISES if name != FP8_PRODUCTS])
def test_starters_and_solutions(exercise: str, name: str) -> None:
    text = source.decode((ROOT / "exercises" / exercise / name).read_bytes(), name)
    assert isinstance(text, str)
    built = compiler.compile_text(text, T4)
    assert built.compilation.ok, built.compilation.log
    assert built.cubin


@pytest.mark.parametrize("name", ["starter.cu", "solution.cu"])
def test_of_exercise_05_what_is_missing_is_named(name: str) -> None:
    text = source.decode((ROOT / "exercises" / FP8_PRODUCTS / name).read_bytes(), name)
    assert isinstance(text, str)
    compilation = compiler.compile_text(text, T4).compilation
    assert not compilation.ok
    assert "requires .target sm_8" in compilation.findings[0].message
    assert compilation.findings[0].line


JUDGES = {catalog.read(ROOT / "exercises" / name).judge_source for name in EXERCISES} - {""}


@pytest.mark.parametrize(
    "file", ["grader/executors/bench_kernels.cu", *(f"reference_kernels/{name}" for name in sorted(JUDGES))]
)
def test_what_times_and_judges_there(file: str) -> None:
    built = nvrtc.build((ROOT / file).read_text(), T4)
    assert built.ok, built.log

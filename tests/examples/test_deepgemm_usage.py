"""The examples run as a reader would run them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "04_deepgemm_usage"
EXAMPLES = sorted(FOLDER.glob("*_example.py"))

each_example = pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")

# Python starts with torch out of reach.
WITHOUT_TORCH = "import runpy, sys; sys.modules['torch'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=100)


@needs_torch
@each_example
def test_it_runs_and_shows_small_errors(file: Path) -> None:
    done = run(str(file))
    assert done.returncode == 0, done.stderr
    error = {name: float(value) for name, value in re.findall(r"^(FP8|BF16)\b.*error ([\d.]+)$", done.stdout, re.M)}
    assert error["BF16"] < 0.01 < error["FP8"] < 0.1


@needs_torch
def test_deepgemm_that_is_missing_is_named() -> None:
    if importlib.util.find_spec("deep_gemm"):
        pytest.skip("DeepGEMM is installed")
    done = run(str(FOLDER / "moe_example.py"), "--backend", "deepgemm")
    assert done.returncode == 1
    assert "DeepGEMM is not installed" in done.stderr
    assert "Traceback" not in done.stderr


@each_example
def test_without_torch_it_says_how_to_install_it(file: Path) -> None:
    done = run("-c", WITHOUT_TORCH, str(file))
    assert done.returncode == 1
    assert "pip install -e '.[torch]'" in done.stderr
    assert "Traceback" not in done.stderr


@each_example
def test_it_is_a_page_and_the_readme_names_it(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 80
    assert file.name in (FOLDER / "README.md").read_text(encoding="utf-8")

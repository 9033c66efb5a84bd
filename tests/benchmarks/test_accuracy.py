"""The accuracy table by its command, on a matrix small enough for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
METHODS = ("per tensor", "per channel", "block-wise 128×128", "fine-grained 1×128", "fine-grained 1×64")


def run(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "accuracy.py"), "--out", str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_one_command_prints_the_table_and_writes_page_and_chart(tmp_path: Path) -> None:
    done = run(tmp_path, "--rows", "256", "--cols", "256")
    assert done.returncode == 0, done.stderr
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if "|" in line]
    table = {row[0]: row[1:] for row in cells}
    assert set(METHODS) <= set(table)
    assert [table[name][-1] for name in METHODS] == ["0.015", "0.008", "–", "0.003", "0.001"]
    mae = {name: float(table[name][0]) for name in METHODS}
    assert mae["per tensor"] > mae["fine-grained 1×128"] > mae["fine-grained 1×64"]
    page = (tmp_path / "accuracy.md").read_text()
    assert "python benchmarks/accuracy.py --rows 256 --cols 256 --seed 0" in page
    assert all(name in page for name in METHODS)
    chart = "".join(ElementTree.parse(tmp_path / "accuracy.svg").getroot().itertext())
    assert all(name in chart for name in METHODS)


def test_an_empty_matrix_is_a_usage_error(tmp_path: Path) -> None:
    done = run(tmp_path, "--rows", "0")
    assert done.returncode == 2
    assert "at least 1" in done.stderr
    assert "Traceback" not in done.stderr

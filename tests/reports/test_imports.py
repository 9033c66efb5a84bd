"""A terminal's verdict needs neither Jinja nor a highlighter; each costs a cold start a tenth of a second."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_terminal_loads_no_html_renderer() -> None:
    show = "import sys, grader.cli.terminal, grader.cli.deliver; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"jinja2", "markdown_it", "pygments"}.isdisjoint(done.stdout.split())
    assert "rich" in done.stdout.split()

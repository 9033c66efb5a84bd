"""The runtime's machine code in a file: read only where it is what would be compiled here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from grader import ptx
from grader.ptx import machine_code
from grader.ptx.runtime.library import runtime_ir


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("kept") / "new" / "runtime.o"
    ptx.keep(file)
    return file


def test_another_process_runs_it_without_compiling(kept: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from grader import ptx\n"
        "from grader.ptx import jit\n"
        "jit._machine_code = lambda text: sys.exit('compiled')\n"
        "ptx.prepare(pathlib.Path(sys.argv[1]))\n"
        "assert jit.runtime().work\n"
    )
    subprocess.run([sys.executable, "-c", program, str(kept)], check=True)


def test_only_what_fits_is_read(kept: Path, tmp_path: Path) -> None:
    text, _ = runtime_ir()
    assert machine_code.read(kept, text)
    assert machine_code.read(kept, text + "\n") is None
    assert machine_code.read(tmp_path / "none", text) is None
    content = kept.read_bytes()
    for damaged in (b"", content[:50], content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        file = tmp_path / "damaged"
        file.write_bytes(damaged)
        assert machine_code.read(file, text) is None

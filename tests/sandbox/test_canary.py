"""A file beside the submission, one in the home folder and one in /tmp: no compile and no run opens them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.compile.cache import Cache
from grader.executors import open_cpu
from grader.exercise import catalog, submission
from grader.grading import pipeline
from grader.sandbox import confine
from grader.sandbox.child import Child
from grader.sandbox.process import Process
from tests.sandbox.canary import WORDS, Canaries, laid_out

ROOT = Path(__file__).parents[2]
KERNEL = (ROOT / "exercises/01_simple_grouped_gemm/solution.cu").read_text()

pytestmark = pytest.mark.skipif(bool(confine.missing()), reason="this kernel cannot confine a child")

# Ways to a file, of which the scan for includes refuses some before the compiler sees them, and some it may not.
WAYS = {
    "quotes": '#include "{file}"\n',
    "brackets": "#include <{file}>\n",
    "spliced": '#inc\\\nlude "{file}"\n',
    "digraph": '%:include "{file}"\n',
    "comment": '#/**/include/**/"{file}"\n',
    "macro": '#define F "{file}"\n#include F\n',
    "pasted probe": "#define P(a, b) a##b\n#if P(__has_, include)(<{file}>)\n#error there\n#endif\n",
    "probe": '#if __has_include("{file}")\n#error there\n#endif\n',
    "probe in a macro": '#define H __has_include("{file}")\n#if H\n#error there\n#endif\n',
    "next": '#if __has_include_next("{file}")\n#error there\n#endif\n',
    "relative": '#include "../../../../../..{file}"\n',
    "through proc": '#include "/proc/self/root{file}"\n',
    "pragma": '_Pragma("include_alias(\\"grader.cuh\\", \\"{file}\\")")\n',
    "embed": '__device__ const unsigned char e[] = {{\n#embed "{file}"\n}};\n',
    "incbin": '__device__ void f() {{ asm(".incbin \\"{file}\\""); }}\n',
    "file": '__device__ void f() {{ asm(".file 1 \\"{file}\\""); }}\n',
    "line": '#line 1 "{file}"\n#warning look\n',
}


@pytest.fixture
def canaries(tmp_path: Path) -> Iterator[Canaries]:
    home = Path.home()
    if not os.access(home, os.W_OK):
        pytest.skip("nothing can be written in the home folder")
    with laid_out(tmp_path, home, Path(tempfile.gettempdir())) as found:
        yield found


@pytest.fixture(scope="module")
def compiler() -> Iterator[Child]:
    with Child(Process("grader.executors.cpu", patient=True), "cpu", cache=Cache(None)) as child:
        yield child


@pytest.mark.parametrize("way", WAYS)
def test_no_compile_opens_them(canaries: Canaries, compiler: Child, tmp_path: Path, way: str) -> None:
    """Nor tells whether they are there: what a compile says is the same with a file that is not."""
    says = []
    for file in (*canaries.files.values(), tmp_path / "missing.h"):
        text = WAYS[way].format(file=file) + 'extern "C" __global__ void k() {}\n'
        compiled = compiler.compile(text.encode(), "starter.cu")
        says.append((compiled.ok, [f.kind for f in compiled.findings]))
        assert WORDS not in str(compiled.findings) + compiled.log
    assert canaries.opened() == set()
    assert all(said == says[0] for said in says)


def test_no_grading_opens_them(canaries: Canaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All the way, with the submission where the first canary lies."""
    monkeypatch.setenv("GRADER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "starter.cu").write_text(KERNEL)
    exercise = catalog.find("1", ROOT / "exercises")
    source = submission.read(tmp_path / "starter.cu")
    result = pipeline.grade(exercise, source, seed=1, open_executor=open_cpu, only="small")
    assert {check.status for check in result.checks if check.id.startswith("correct")} == {"passed"}
    assert canaries.opened() == set()


# What a submission could do that got the better of the scan, of the compiler, or of the engine.
TAKEN_OVER = """
import cupy_backends.cuda.libs.nvrtc as nvrtc
for file in {files}:
    try:
        open(file).read()
    except OSError:
        pass
    program = nvrtc.createProgram('#include "' + file + '"', "a.cu", [], [])
    try:
        nvrtc.compileProgram(program, [])
    except nvrtc.NVRTCError:
        pass
"""


@pytest.mark.parametrize("confined", [True, False], ids=["confined", "not confined"])
def test_what_took_the_child_over_opens_them_only_without_confinement(canaries: Canaries, confined: bool) -> None:
    """The second half shows that the first could fail."""
    variables = {} if confined else {confine.SWITCH: confine.OFF}
    with Child(Process("tests.sandbox.hostile_engine", variables=variables), "cpu", cache=Cache(None)) as child:
        code = TAKEN_OVER.format(files=[str(file) for file in canaries.files.values()])
        assert child.compile(f"pass\n{code}".encode(), "starter.cu").log == "done"
    assert canaries.opened() == (set() if confined else {"beside", "home", "tmp"})

"""What compute-sanitizer 2025.3 printed on an H200, as findings."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from grader.executors import replay, sanitizer, tools
from grader.executors.tools import Staged
from grader.model.execution import Invocation, LaunchConfig
from grader.model.exercise import Array

BACKTRACE = """=========     Saved host backtrace up to driver entry point at kernel launch time
=========         Host Frame: _PyEval_EvalFrameDefault [0x1db2ed] in python3
========= \n"""

MEMCHECK = f"""CASE prime-rows
========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at grouped_gemm_kernel+0xb90 in submission.cu:28
=========     by thread (16,10,0) in block (2,6,0)
=========     Access to 0x7f108682fb40 is out of bounds
=========     and is 1 bytes after the nearest allocation at 0x7f1086821400 of size 59,200 bytes
{BACKTRACE}CASE odd-sixteens
========= Invalid __shared__ write of size 16 bytes
=========     at grouped_gemm_kernel+0x740 in submission.cu:30
=========     by thread (100,0,0) in block (0,0,1)
=========     Access to 0xaa4 is misaligned
{BACKTRACE}========= Invalid __shared__ write of size 16 bytes
=========     at grouped_gemm_kernel+0x740 in submission.cu:30
=========     by thread (101,0,0) in block (0,0,1)
=========     Access to 0xab4 is misaligned
{BACKTRACE}========= Target application returned an error
========= ERROR SUMMARY: 1655 errors
"""

RACECHECK = """CASE prime-rows
========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at grouped_gemm_kernel+0x4c0 in submission.cu:20
=========     and Read access at grouped_gemm_kernel+0x4d0 in submission.cu:21 [33472 hazards]
=========     and Read access at grouped_gemm_kernel+0x4f0 in submission.cu:21 [27712 hazards]
=========\x20
========= RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)
"""

SYNCCHECK = f"""CASE prime-rows
========= COMPUTE-SANITIZER
========= Barrier error detected. Divergent thread(s) in block.
=========     at grouped_gemm_kernel+0xae0 in submission.cu:27
=========     by thread (0,29,0) in block (2,2,0)
{BACKTRACE}========= ERROR SUMMARY: 1696 errors
"""


def test_an_access_outside_an_array() -> None:
    (finding,) = sanitizer.parse(MEMCHECK)["prime-rows"]
    assert (finding.kind, finding.line, finding.count) == ("out-of-bounds", 28, 1)
    assert "write of 4 bytes of global memory is 1 bytes after the nearest allocation" in finding.message
    assert "by thread (16,10,0) of block (2,6,0)" in finding.message


def test_reports_of_one_line_are_one_finding() -> None:
    (finding,) = sanitizer.parse(MEMCHECK)["odd-sixteens"]
    assert (finding.kind, finding.line, finding.count) == ("misaligned-access", 30, 2)


def test_a_race_names_both_lines() -> None:
    (finding,) = sanitizer.parse(RACECHECK)["prime-rows"]
    assert (finding.kind, finding.line) == ("race", 20)
    assert finding.guilty_lines == (20, 21)
    assert finding.notes == ("the other access, a read, is on line 21",)


def test_a_barrier_that_not_all_reach() -> None:
    (finding,) = sanitizer.parse(SYNCCHECK)["prime-rows"]
    assert (finding.kind, finding.line) == ("barrier-divergence", 27)


def test_a_clean_run_has_no_findings() -> None:
    assert sanitizer.parse("CASE a\n========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n") == {}


RUN = Staged(
    "prime-rows",
    (Invocation("double_kernel", LaunchConfig(), ("x",)),),
    (Array("x", np.arange(4, dtype=np.float32)),),
)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tool = folder / "compute-sanitizer"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_each_tool_runs_the_staged_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake stands for the tool: it sees the tool's name and where the run lies."""
    (tmp_path / "race.txt").write_text(RACECHECK.partition("\n")[2])
    install(
        tmp_path,
        monkeypatch,
        f'for run; do :; done; test -s "${{run#*=}}/{replay.REQUEST}" || exit 1\necho "CASE ${{run%%=*}}"\n'
        f'if [ "$2" = racecheck ]; then cat {tmp_path}/race.txt; else echo "========= ERROR SUMMARY: 0 errors"; fi',
    )
    found = sanitizer.check("source", [RUN], {})
    assert found is not None
    assert [finding.kind for finding in found["prime-rows"]] == ["race"]


def test_a_kernel_cannot_print_its_findings_into_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "said.txt").write_text(
        "CASE elsewhere\nprinted\n" + MEMCHECK.partition("CASE odd")[0].partition("\n")[2]
    )
    script = f'for run; do :; done; echo "CASE ${{run%%=*}}"; cat {tmp_path}/said.txt; echo "ERROR SUMMARY"'
    install(tmp_path, monkeypatch, script)
    found = sanitizer.check("source", [RUN], {})
    assert found is not None
    assert {finding.kind for finding in found["prime-rows"]} == {"out-of-bounds"}


def test_a_tool_that_says_nothing_judges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "echo Device not supported")
    assert sanitizer.check("source", [RUN], {}) is None


def test_a_tool_that_hangs_is_ended_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "echo begun; sleep 60")
    with tools.StagedRuns("source", [RUN], {}) as stage:
        assert stage.run([str(tmp_path / "compute-sanitizer")], 0.5) == "begun\n"


def test_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "PLACES", ())
    monkeypatch.setenv("PATH", "/nonexistent")
    assert sanitizer.check("source", [RUN], {}) is None

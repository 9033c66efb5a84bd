from __future__ import annotations

import pytest

from grader import machine
from grader.compile import toolkit
from grader.sandbox import confine, landlock, seccomp
from grader.timing import clocks
from grader.timing.clocks import Installed
from tests.cli.conftest import Grade


def test_says_what_this_machine_can_judge(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 0)
    assert grade("doctor") == 0
    said = " ".join(grade.out.split())
    assert "can judge the checks compile, launch, memory, correct" in said
    assert "Measuring speed needs an NVIDIA GPU" in said


@pytest.mark.parametrize(
    ("gpu", "cuda", "said"),
    [
        (Installed("NVIDIA H200", (9, 0)), 13000, "ok NVIDIA GPU: NVIDIA H200 (compute capability 9.0); driver"),
        (
            Installed("Tesla T4", (7, 5)),
            13000,
            "ok NVIDIA GPU: Tesla T4 (compute capability 7.5: not exercise 05,",
        ),
        (Installed("Tesla T4", (7, 5)), 12040, "its driver runs CUDA 12.4, and CUDA 13 is needed: install NVIDIA's"),
        (Installed("Tesla V100", (7, 0)), 13000, "needs a GPU of compute capability 7.5 or newer"),
    ],
)
def test_says_what_a_gpu_lacks(
    grade: Grade, monkeypatch: pytest.MonkeyPatch, gpu: Installed, cuda: int, said: str
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 1)
    monkeypatch.setattr(clocks, "installed", lambda: [gpu])
    monkeypatch.setattr(clocks, "driver_cuda", lambda: cuda)
    assert grade("doctor") == 0
    assert said in " ".join(grade.out.split())


def test_without_a_gpu_what_only_a_gpu_needs_is_not_missing(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 0)
    monkeypatch.setattr(confine, "missing", lambda: ())
    grade("doctor")
    assert grade.out.count("missing") == 1  # the GPU itself
    assert "423 MB" not in grade.out
    said = " ".join(grade.out.split())
    assert "Without a GPU, none of these is needed: cuBLAS, torch, ncu, compute-sanitizer." in said
    monkeypatch.setattr(machine, "gpus", lambda: 1)
    grade("doctor")
    assert "Required to measure speed" in grade.out


def test_a_missing_part_is_named_with_what_to_install(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.package
    monkeypatch.setattr(machine, "package", lambda name: None if name == "llvmlite" else found(name))
    assert grade("doctor") == 4
    assert "pip install 'llvmlite>=" in grade.out
    assert "cannot grade yet" in grade.out


def test_a_missing_compiler_is_named(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise toolkit.ToolkitMissing("CUDA's nvrtc not found; install with: pip install it")

    monkeypatch.setattr(toolkit, "root", missing)
    assert grade("doctor") == 4
    assert "nvrtc not found" in grade.out


def test_says_how_a_child_is_confined(grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(confine.SWITCH, raising=False)
    monkeypatch.setattr(seccomp, "available", lambda: True)
    monkeypatch.setattr(landlock, "abi", lambda: 4)
    grade("doctor")
    assert "sandbox: Landlock ABI 4, no network" in grade.out


def test_what_does_not_confine_a_child_is_said_and_keeps_nothing_from_grading(
    grade: Grade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(confine.SWITCH, raising=False)
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    assert grade("doctor") == 0
    said = " ".join(grade.out.split())
    assert "missing sandbox a submission could read your files" in said


def test_fits_in_80_columns_here(grade: Grade) -> None:
    grade("doctor")
    long = [line for line in grade.out.splitlines() if len(line) > 80 and "/" not in line]
    assert long == []

"""grade doctor: what this machine can judge, what is missing and what to install."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from grader import machine
from grader.cli import exits

if TYPE_CHECKING:
    from grader.timing.clocks import Installed

PYTHON = (3, 11)
PIP = "install with: python -m pip install"

# What a GPU older than that cannot run. A kernel that needs it is not timed there, and loses nothing.
LACKS = {
    (8, 0): "not exercise 05, nor kernels with BF16, asynchronous copies or __reduce_max_sync",
    (8, 9): "not exercise 05, which needs FP8 instructions",
    (9, 0): "exercise 05 runs but is not timed",
}


class Part(NamedTuple):
    """Something that grading needs. `missing` says what to do; None if it is installed."""

    name: str
    found: str
    missing: str | None = None


@click.command("doctor")
def command() -> int:
    """Show what this machine can judge, what is missing and what to install."""
    cpu, gpus = list(_cpu_parts()), machine.gpus()
    timing, tools = [_gpu(gpus), _cublas()], list(_tools())
    _print("Required for grading", cpu)
    _print("Required by grade batch and grade ci", [_confined()])
    if gpus:
        _print("Required to measure speed", timing)
        _print("Optional", tools)
    else:
        _print("Only to measure speed", timing[:1])
        rest = ", ".join(part.name for part in (*timing[1:], *tools))
        _say(f"Without a GPU, none of these is needed: {rest}.", indent="  ")
        click.echo()
    can_grade = not any(part.missing for part in cpu)
    can_time = can_grade and not any(part.missing for part in timing)
    if not can_grade:
        _say("This machine cannot grade yet. Install what is missing above.")
        return exits.ERROR
    speed = "It also measures speed" if can_time else "Measuring speed needs an NVIDIA GPU; nothing else does"
    _say(f"This machine can judge the checks compile, launch, memory, correct, rules and quality. {speed}.")
    return exits.PASSED


def _cpu_parts() -> Iterator[Part]:
    yield _python()
    yield _system()
    yield _toolkit()
    yield _package("cupy", "cupy-cuda13x", "cupy-cuda13x>=14.2,<15")
    yield _package("llvmlite", "llvmlite", "llvmlite>=0.45,<1")
    yield _package("numpy", "numpy", "numpy>=2.0,<3")
    yield _exercises()


def _tools() -> Iterator[Part]:
    yield _package("torch", "torch", "torch>=2.11,<2.14")
    yield _tool("ncu", "install cuda-nsight-compute-13-0 from NVIDIA's packages for your system")
    yield _tool("compute-sanitizer", "install cuda-sanitizer-13-0 from NVIDIA's packages for your system")


def _python() -> Part:
    wanted = None if sys.version_info >= PYTHON else "needs Python 3.11 or newer, from python.org or your system"
    return Part("Python", platform.python_version(), wanted)


def _system() -> Part:
    name = f"{platform.system()} {platform.machine()}, {machine.cores()} cores"
    on_linux = platform.system() == "Linux"
    return Part(
        "system",
        name,
        None if on_linux else "use a Linux container: NVIDIA's compiler is not available for this system",
    )


def _toolkit() -> Part:
    from grader.compile import toolkit

    try:
        toolkit.root()
    except toolkit.ToolkitMissing as error:
        return Part("NVRTC and CUDA headers", "", str(error))
    return Part("NVRTC and CUDA headers", machine.package("nvidia-cuda-nvrtc") or "found")


def _package(name: str, distribution: str, requirement: str) -> Part:
    version = machine.package(distribution)
    return Part(name, version or "", None if version else f"{PIP} '{requirement}'")


def _exercises() -> Part:
    from grader.errors import UsageError
    from grader.exercise import catalog

    try:
        folder = catalog.exercises_folder()
    except UsageError as error:
        return Part("exercises", "", str(error))
    return Part("exercises", f"{len(list(folder.glob('*/exercise.toml')))} in {folder}")


def _gpu(count: int) -> Part:
    if not count:
        return Part("NVIDIA GPU", "", "needs a GPU of compute capability 7.5 or newer, with driver 580 or newer")
    from grader.timing import clocks

    gpus = clocks.installed()
    names = ", ".join(map(_described, gpus)) or str(count)
    driver = clocks.driver_version() or machine.driver_version() or "unknown"
    known = [gpu.capability for gpu in gpus if gpu.capability]
    cuda = clocks.driver_cuda()
    missing = None
    if known and max(known) < machine.LEAST_CAPABILITY:
        missing = "needs a GPU of compute capability 7.5 or newer"
    elif cuda is not None and cuda < machine.LEAST_CUDA:
        missing = f"its driver runs CUDA {cuda // 1000}.{cuda % 1000 // 10}, and CUDA 13 is needed: {machine.DRIVER}"
    return Part("NVIDIA GPU", f"{names}; driver {driver}", missing)


def _described(gpu: Installed) -> str:
    """With what it lacks."""
    if gpu.capability is None:
        return gpu.name
    lacks = next((lacks for least, lacks in LACKS.items() if gpu.capability < least), "")
    return "{} (compute capability {}.{}{})".format(gpu.name, *gpu.capability, f": {lacks}" if lacks else "")


def _cublas() -> Part:
    """Looks next to the compiler, then in the system's library folders; never loads it."""
    from grader.compile import toolkit

    try:
        beside = toolkit.root() / "lib" / "libcublas.so.13"
    except toolkit.ToolkitMissing:
        beside = Path("libcublas.so.13")
    found = str(beside) if beside.exists() else find_library("cublas")
    return Part("cuBLAS", found or "", None if found else f"{PIP} 'cupy-cuda13x[ctk]' (423 MB)")


def _tool(name: str, remedy: str) -> Part:
    path = shutil.which(name)
    return Part(name, path or "", None if path else remedy)


def _confined() -> Part:
    """How well this kernel confines a submission's process; grading works without it, too."""
    from grader.sandbox import confine

    lacking = confine.missing()
    return Part("sandbox", "" if lacking else confine.strength(), "; ".join(lacking) or None)


def _say(text: str, indent: str = "") -> None:
    click.echo(click.wrap_text(text, 80, initial_indent=indent, subsequent_indent=indent))


def _print(title: str, parts: list[Part]) -> None:
    click.echo(title)
    for part in parts:
        mark = click.style("missing", fg="yellow") if part.missing else click.style("ok", fg="green")
        pad = " " * (7 - len("missing" if part.missing else "ok"))
        click.echo(f"  {mark}{pad}  {part.name}{': ' + part.found if part.found else ''}")
        if part.missing:
            _say(part.missing, indent=" " * 11)
    click.echo()

"""Writes bytecode before the child loses write access; otherwise each child would compile the same modules again.

No other process would compile what only the child imports: the engine of a checkout, and CuPy and llvmlite if
the installer did not compile them. The machine code of the engine's runtime is kept next to it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import py_compile
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = (
    "grader/compile",
    "grader/executors",
    "grader/model",
    "grader/ptx",
    "grader/reference_kernels",
    "grader/sandbox",
)
# Packages, and what to import for the modules of them that are needed.
INSTALLED = {"cupy": "cupy", "cupy_backends": "grader.compile.nvrtc", "llvmlite": "grader.executors.launches"}
ENGINE = "grader/ptx"


def write() -> None:
    """Takes a few milliseconds if everything is there."""
    if sys.dont_write_bytecode:
        return
    for source in filter(_wants, _sources()):
        with suppress(OSError):
            py_compile.compile(source, quiet=2)
    _keep_machine_code()
    if any(_wants(spec.origin) for name in INSTALLED if (spec := _spec(name)) and spec.origin):
        for name in INSTALLED.values():
            with suppress(Exception):  # said when it is needed
                importlib.import_module(name)


def machine_code() -> Path:
    """Where that of the engine's runtime is kept, for processors like this one."""
    bytecode = Path(importlib.util.cache_from_source(str(ROOT / ENGINE / "jit.py")))
    return bytecode.with_name(f"runtime-{_processor()}.o")


def _keep_machine_code() -> None:
    """If it is older than the engine. The engine itself sees whether it fits."""
    engine = [source for source in _sources() if source.startswith(str(ROOT / ENGINE))]
    newest = max(engine, key=lambda source: os.stat(source).st_mtime, default="")  # noqa: PTH116 - as below
    if newest and _wants(newest, str(machine_code())):
        with suppress(Exception):  # said when it is needed
            importlib.import_module("grader.ptx").keep(machine_code())


def _processor() -> str:
    """Of the first one: what a compiler goes by."""
    try:
        with Path("/proc/cpuinfo").open("rb") as file:
            lines = file.read(4096).partition(b"\n\n")[0].splitlines()
    except OSError:
        lines = []
    known = [line for line in lines if line.startswith((b"model name", b"flags", b"CPU", b"Features"))]
    return hashlib.sha256(b"\n".join(known)).hexdigest()[:8]


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _sources() -> Iterator[str]:
    """Plain strings: building a Path of each, for every child, would cost more than everything else."""
    for part in OWN:
        for folder, _, names in os.walk(ROOT / part):
            yield from (f"{folder}/{name}" for name in names if name.endswith(".py"))


def _wants(source: str, cached: str = "") -> bool:
    """Whether bytecode, or `cached`, is missing or older than the source, and can be written."""
    cached = cached or importlib.util.cache_from_source(source)
    try:
        if os.stat(cached).st_mtime >= os.stat(source).st_mtime:  # noqa: PTH116 - as above
            return False
    except OSError:
        pass
    return os.access(_nearest(Path(cached).parent), os.W_OK)


def _nearest(folder: Path) -> Path:
    """The folder, or its nearest existing parent."""
    return next(f for f in (folder, *folder.parents) if f.exists())

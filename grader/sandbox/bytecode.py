"""Writes bytecode before the child loses write access; otherwise each child would compile the same modules again.

No other process would compile what only the child imports: the engine of a checkout, and CuPy and llvmlite if
the installer did not compile them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import py_compile
import sys
from collections.abc import Iterable, Iterator
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
INSTALLED = ("cupy", "llvmlite")


def write(warm: Iterable[str]) -> None:
    """Takes a few milliseconds if everything is there. `warm`: modules that import what the child will need."""
    if sys.dont_write_bytecode:
        return
    for source in filter(_wants, _sources()):
        with suppress(OSError):
            py_compile.compile(source, quiet=2)
    if any(_wants(spec.origin) for name in INSTALLED if (spec := _spec(name)) and spec.origin):
        for name in warm:
            with suppress(Exception):  # said when it is needed
                importlib.import_module(name)


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


def _wants(source: str) -> bool:
    """Whether bytecode is missing or older than the source, and can be written."""
    cached = importlib.util.cache_from_source(source)
    try:
        if os.stat(cached).st_mtime >= os.stat(source).st_mtime:  # noqa: PTH116 - as above
            return False
    except OSError:
        pass
    return os.access(_nearest(Path(cached).parent), os.W_OK)


def _nearest(folder: Path) -> Path:
    """The folder, or its nearest existing parent."""
    return next(f for f in (folder, *folder.parents) if f.exists())

"""Where the headers of NVIDIA's cu13 wheels lie, and which versions they have."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path

# A file of each package that a compilation may need, relative to nvidia/cu13.
REQUIRED = {
    "nvrtc": "lib/libnvrtc.so.13",
    "cudart": "include/cuda_runtime.h",
    "cccl": "include/cccl/cuda/std/cstdint",
    "crt": "include/crt/mma.h",  # wmma
}


class ToolkitMissing(Exception):  # noqa: N818 - what is the case, not an error of ours
    """CUDA's compiler or headers are not installed; the message says what to install."""


@cache
def root() -> Path:
    """The folder nvidia/cu13 of the wheels. Raises ToolkitMissing."""
    folders = _candidates()
    for folder in folders:
        if all((folder / file).exists() for file in REQUIRED.values()):
            return folder
    missing = [n for n, file in REQUIRED.items() if not any((folder / file).exists() for folder in folders)]
    extras = ",".join(missing or REQUIRED)
    raise ToolkitMissing(
        f"CUDA's {' and '.join(missing or REQUIRED)} not found; "
        f"install with: python -m pip install 'cuda-toolkit[{extras}]==13.0.*'"
    )


def include_folders() -> tuple[Path, ...]:
    """Where `#include <...>` may look, in this order."""
    include = root() / "include"
    return include, include / "cccl"


def display_name(path: str) -> str:
    """A header as a student would include it: "cub/block/block_reduce.cuh", not where it is installed."""
    normal = Path(os.path.normpath(path))
    for folder in reversed(include_folders()):
        if normal.is_relative_to(folder):
            return str(normal.relative_to(folder))
    return path


@cache
def identity() -> str:
    """The versions of compiler and headers, for the cache's key.

    By the names of the installed distributions: importlib.metadata would say the same and takes 80 ms.
    """
    site = root().parents[1]
    wheels = [p.name for p in site.glob("*.dist-info") if p.name.startswith(("nvidia_cuda_", "cupy_cuda"))]
    library = (root() / REQUIRED["nvrtc"]).stat()
    return "\n".join([*sorted(wheels), str(library.st_size), str(library.st_mtime_ns)])


def _candidates() -> list[Path]:
    try:
        spec = importlib.util.find_spec("nvidia.cu13")
    except ModuleNotFoundError:
        return []
    return [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []

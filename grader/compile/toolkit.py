"""Finds CUDA's compiler and headers, in NVIDIA's cu13 wheels or a system toolkit, and their versions."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path

MAJOR = 13  # of CUDA

# One file of each package that compilation may need: in the wheels' nvidia/cu13, or in a toolkit's folder.
REQUIRED = {
    "nvrtc": (f"lib/libnvrtc.so.{MAJOR}", f"lib64/libnvrtc.so.{MAJOR}"),
    "cudart": ("include/cuda_runtime.h",),
    "cccl": ("include/cccl/cuda/std/cstdint",),
    "crt": ("include/crt/mma.h",),  # wmma
}
SYSTEM = Path("/usr/local/cuda")


class ToolkitMissing(Exception):  # noqa: N818 - what is the case, not an error of ours
    """CUDA's compiler or headers are not installed; the message says what to install."""


@cache
def parts() -> dict[str, Path]:
    """The folder of each part; the same for all if one folder has them all. Raises ToolkitMissing."""
    folders = _candidates()
    whole = [folder for folder in folders if all(_file(folder, part) for part in REQUIRED)]
    found = {part: next((f for f in (*whole, *folders) if _file(f, part)), None) for part in REQUIRED}
    missing = [part for part, folder in found.items() if folder is None]
    if missing:
        raise ToolkitMissing(
            f"CUDA's {' and '.join(missing)} not found; "
            f"install with: python -m pip install 'cuda-toolkit[{','.join(missing)}]==13.0.*'"
        )
    return {part: folder for part, folder in found.items() if folder is not None}


def root() -> Path:
    """The folder of NVRTC; cuBLAS is next to it if installed. Raises ToolkitMissing."""
    return parts()["nvrtc"]


@cache
def include_folders() -> tuple[Path, ...]:
    """Search path of `#include <...>`, in order."""
    folders = [parts()[part] / "include" for part in ("cudart", "crt")]
    return (*dict.fromkeys(folders), parts()["cccl"] / "include" / "cccl")


def display_name(path: str) -> str:
    """A header as a student would include it, such as "cub/block/block_reduce.cuh", not its installed path."""
    normal = Path(os.path.normpath(path))
    for folder in reversed(include_folders()):
        if normal.is_relative_to(folder):
            return str(normal.relative_to(folder))
    return path


@cache
def identity() -> str:
    """The versions of the compiler and headers, for the cache key.

    Read from the names of the installed distributions; importlib.metadata gives the same but takes 80 ms.
    """
    sites = {folder.parents[1] for folder in parts().values()}
    found = [p.name for site in sites for p in site.glob("*.dist-info")]
    wheels = [name for name in found if name.startswith(("nvidia_cuda_", "cupy_cuda"))]
    library = _file(root(), "nvrtc")
    assert library is not None
    status = library.stat()
    return "\n".join([*sorted(wheels), *map(str, include_folders()), str(status.st_size), str(status.st_mtime_ns)])


def _file(folder: Path, part: str) -> Path | None:
    return next((folder / name for name in REQUIRED[part] if (folder / name).exists()), None)


def _candidates() -> list[Path]:
    """The wheels first: theirs are the versions that this package requires."""
    try:
        spec = importlib.util.find_spec("nvidia.cu13")
    except ModuleNotFoundError:
        spec = None
    wheels = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    named = [Path(os.environ[name]) for name in ("CUDA_PATH", "CUDA_HOME") if os.environ.get(name)]
    return [*wheels, *named, SYSTEM]

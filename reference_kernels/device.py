"""Loads kernels onto the GPU that CuPy sees: compiled by NVRTC for just this device, wgmma and the like included.

cupy.RawModule alone cannot name an architecture such as sm_90a.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
OPTIONS = ("-std=c++17", "-lineinfo", "--ptxas-options=-v")
OWN_FEATURES = 9  # from this compute capability on, an "a" behind it stands for the features of one architecture


def load(file: Path, *options: str) -> Any:
    """A module with `get_function`. `#include` finds the headers (.cuh) beside the file.

    Raises RuntimeError with the compiler's log.
    """
    from cupy.cuda.function import Module

    module = Module()
    module.load(compiled(file, architecture(), *options))
    return module


def launch(kernel: Any, grid: int, block: int, arguments: tuple[Any, ...], shared_bytes: int = 0) -> None:
    """On CuPy's current stream. More shared memory than a block gets anyway has to be asked for."""
    if shared_bytes:
        from cupy_backends.cuda.api import driver

        driver.funcSetAttribute(kernel.ptr, MAX_DYNAMIC_SHARED, shared_bytes)
    kernel((grid,), (block,), arguments, shared_bytes)


def architecture() -> str:
    import cupy

    capability: str = cupy.cuda.Device().compute_capability
    return f"sm_{capability}{'a' if int(capability[:-1]) >= OWN_FEATURES else ''}"


def compiled(file: Path, arch: str, *options: str) -> bytes:
    return compiled_text(file.read_text(encoding="utf-8"), file, arch, *options)


def compiled_text(text: str, file: Path, arch: str, *options: str) -> bytes:
    """`file` is where the text comes from, more or less. Needs no GPU."""
    from cupy_backends.cuda.libs import nvrtc

    headers = sorted(file.parent.glob("*.cuh"))
    contents = tuple(header.read_bytes() for header in headers)
    program = nvrtc.createProgram(text, str(file), contents, tuple(header.name.encode() for header in headers))
    try:
        nvrtc.compileProgram(program, (f"-arch={arch}", *OPTIONS, *options))
        cubin = bytes(nvrtc.getCUBIN(program)) + b"\0"  # CuPy's binding drops the last byte
    except nvrtc.NVRTCError as error:
        raise RuntimeError(f"{file} does not compile for {arch}:\n{nvrtc.getProgramLog(program)}") from error
    finally:
        nvrtc.destroyProgram(program)
    return cubin

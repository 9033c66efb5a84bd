"""NVRTC through CuPy's binding, which needs neither a GPU nor a driver (cupy.RawModule needs both)."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from cupy_backends.cuda.libs import nvrtc

from grader.compile import clock, recipe, toolkit

COMPILATION_FAILED = 6  # NVRTC_ERROR_COMPILATION: the source is wrong
INVALID_OPTION = 5  # NVRTC_ERROR_INVALID_OPTION: this package is


@dataclass(frozen=True)
class NvrtcOutput:
    """NVRTC's output for a source. `log` is raw: it may quote any file that the compiler could read."""

    ok: bool
    log: str
    ptx: str = ""
    cubin: bytes = b""


def build(text: str, arch: str, *more_options: str) -> NvrtcOutput:
    """Compile for `arch`: sm_NN gives a cubin and PTX, compute_NN only PTX. Releases the GIL."""
    contents = tuple(content.encode() for content in recipe.headers().values())
    names = tuple(name.encode() for name in recipe.headers())
    load()
    program = nvrtc.createProgram(text, recipe.SOURCE_NAME, contents, names)
    try:
        error = _compile(program, (*recipe.options(arch), *more_options))
        log = _log(program)
        if error is not None:
            return NvrtcOutput(False, log if error.status == COMPILATION_FAILED else f"{log}\n{error}")
        cubin = nvrtc.getCUBIN(program) if arch.startswith("sm_") else b""
        return NvrtcOutput(True, log, nvrtc.getPTX(program).decode(), cubin)
    finally:
        nvrtc.destroyProgram(program)


@cache
def load() -> None:
    """The library, with its clock stopped. Where there is no such loader, a source that asks for the time gets it."""
    with _cupy_as_a_folder():
        nvrtc.getVersion()
    with suppress(OSError):
        clock.stop(f"libnvrtc.so.{toolkit.MAJOR}")


@contextmanager
def _cupy_as_a_folder() -> Iterator[None]:
    """Lets the binding import `cupy._environment`, where it finds its log, without the rest of CuPy.

    That takes a fifth of a second of a processor, and nothing but a GPU needs it. `_environment` depends on no other
    module of CuPy. It is imported again with the rest, should that happen.
    """
    spec = None if "cupy" in sys.modules else importlib.util.find_spec("cupy")
    if spec is None or spec.submodule_search_locations is None:
        yield
        return
    folder = ModuleType("cupy")
    folder.__path__ = list(spec.submodule_search_locations)
    sys.modules["cupy"] = folder
    try:
        importlib.import_module("cupy._environment")
        yield
    finally:
        for name in [name for name in sys.modules if name == "cupy" or name.startswith("cupy.")]:
            del sys.modules[name]


def _compile(program: int, options: tuple[str, ...]) -> nvrtc.NVRTCError | None:
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError as error:
        if error.status == INVALID_OPTION:
            raise
        return error
    return None


def _log(program: int) -> str:
    try:
        return str(nvrtc.getProgramLog(program)).replace("\0", "\n")  # ptxas's part ends with one
    except UnicodeDecodeError:  # a line cut in the middle of a character
        return ""

"""NVRTC through CuPy's binding, which needs neither a GPU nor a driver (cupy.RawModule needs both)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache

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
    _stop_the_clock()
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
def _stop_the_clock() -> None:
    """Where there is no such loader, a source that asks for the time gets it."""
    nvrtc.getVersion()  # loads the library
    with suppress(OSError):
        clock.stop(f"libnvrtc.so.{toolkit.MAJOR}")


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

"""Compiles one submission. Runs in the child process: with an untrusted source, the compiler is untrusted too.

Imports only what NVRTC needs: reading what it made takes the engine's parser, which can be loaded while NVRTC works.
"""

from __future__ import annotations

import time

import msgspec

from grader.compile import diagnostics, directives, nvrtc, recipe, unannotated
from grader.compile.compiled import Compiled


def compile_text(text: str, arch: str = recipe.ARCH) -> Compiled:
    """Compiles text (of `source.decode`) to PTX and, for sm_NN, a cubin. Findings name recipe.SOURCE_NAME."""
    start = time.perf_counter()
    scan = directives.scan(text)
    built = None if scan.refusals else _build(text, arch)
    from grader.compile import reading

    compiled = reading.refused(text, scan.refusals) if built is None else reading.compiled(text, scan.includes, built)
    timed = msgspec.structs.replace(compiled.compilation, seconds=time.perf_counter() - start)
    return msgspec.structs.replace(compiled, compilation=timed)


def _build(text: str, arch: str) -> nvrtc.NvrtcOutput:
    built = nvrtc.build(text, arch)
    if not built.ok and unannotated.are_all_harmless(diagnostics.parse(built.log), text):
        return nvrtc.build(text, arch, unannotated.AS_DEVICE_CODE)
    return built

"""Compiles one submission. Runs in the child process: with an untrusted source, the compiler is untrusted too."""

from __future__ import annotations

import time

from grader.compile import (
    diagnostics,
    directives,
    entries,
    findings,
    nvrtc,
    offsets,
    opcodes,
    recipe,
    resources,
    sizes,
    strides,
    unannotated,
)
from grader.compile.compiled import Compiled
from grader.model.execution import Compilation
from grader.model.result import Finding
from grader.ptx.parsing.errors import PtxError
from grader.ptx.parsing.module import parse


def compile_text(text: str, arch: str = recipe.ARCH) -> Compiled:
    """Compiles text (of `source.decode`) to PTX and, for sm_NN, a cubin. Findings name recipe.SOURCE_NAME."""
    start = time.perf_counter()
    scan = directives.scan(text)
    if scan.refusals:
        refused = tuple(
            Finding("compile-error", recipe.SOURCE_NAME, refusal.line, refusal.message)
            for refusal in scan.refusals[: findings.MAX_FINDINGS]
        )
        return _failed(refused, findings.log(refused, "", text), start)
    built = nvrtc.build(text, arch)
    parsed = diagnostics.parse(built.log)
    if not built.ok and unannotated.are_all_harmless(parsed, text):
        built = nvrtc.build(text, arch, unannotated.AS_DEVICE_CODE)
        parsed = diagnostics.parse(built.log)
    ptx = built.ptx or _ptx_for_lines(text, parsed)
    found = findings.Reader(text, scan.includes, ptx).findings(parsed)
    log = findings.log(found, built.log, text)
    if not built.ok:
        return _failed(found or (_unexplained(built.log),), log, start)
    unread, instructions = "", {}
    try:
        instructions = opcodes.used(ptx, recipe.SOURCE_NAME)
    except PtxError as error:
        unread = str(error)
    kernels = entries.kernels(ptx, text, recipe.SOURCE_NAME, resources.parse(built.log))
    if too_large := sizes.findings(ptx, text, kernels):
        return _failed(too_large, findings.log(too_large, built.log, text), start)
    found += _advice(ptx)
    seconds = time.perf_counter() - start
    compilation = Compilation(True, kernels, found, log, seconds, opcodes=instructions, unread=unread)
    return Compiled(compilation, ptx, built.cubin)


def _advice(ptx: str) -> tuple[Finding, ...]:
    """What is right here but slow or not safe for other sizes; none if the PTX cannot be read, as `unread` says."""
    try:
        module = parse(ptx)
    except PtxError:
        return ()
    return offsets.findings(module, recipe.SOURCE_NAME) + strides.findings(module, recipe.SOURCE_NAME)


def _ptx_for_lines(text: str, parsed: list[diagnostics.Diagnostic]) -> str:
    """ptxas names lines of a PTX text that NVRTC does not return if ptxas fails, so generate it again."""
    if any(d.file == diagnostics.PTXAS and d.line for d in parsed):
        return nvrtc.build(text, recipe.PTX_ARCH).ptx
    return ""


def _failed(found: tuple[Finding, ...], log: str, start: float) -> Compiled:
    return Compiled(Compilation(False, (), found, log, time.perf_counter() - start))


def _unexplained(log: str) -> Finding:
    """The compiler failed without a diagnostic: it ran out of memory or crashed."""
    error = next((word for word in log.split() if word.startswith("NVRTC_ERROR")), "no reason given")
    return Finding("compile-error", recipe.SOURCE_NAME, 0, f"the compiler failed on this file ({error})")

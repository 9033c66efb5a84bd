"""What NVRTC made of a submission, as a Compilation: its kernels, instructions, findings and advice."""

from __future__ import annotations

from collections.abc import Sequence

from grader.compile import diagnostics, entries, findings, nvrtc, offsets, opcodes, recipe, resources, sizes, strides
from grader.compile.compiled import Compiled
from grader.compile.directives import Include, Refusal
from grader.model.execution import Compilation
from grader.model.result import Finding
from grader.ptx.parsing.errors import PtxError
from grader.ptx.parsing.module import parse


def compiled(text: str, includes: Sequence[Include], built: nvrtc.NvrtcOutput) -> Compiled:
    parsed = diagnostics.parse(built.log)
    ptx = built.ptx or _ptx_for_lines(text, parsed)
    found = findings.Reader(text, includes, ptx).findings(parsed)
    log = findings.log(found, built.log, text)
    if not built.ok:
        return _failed(found or (_unexplained(built.log),), log)
    unread, instructions = "", {}
    try:
        instructions = opcodes.used(ptx, recipe.SOURCE_NAME)
    except PtxError as error:
        unread = str(error)
    kernels = entries.kernels(ptx, text, recipe.SOURCE_NAME, resources.parse(built.log))
    if too_large := sizes.findings(ptx, text, kernels):
        return _failed(too_large, findings.log(too_large, built.log, text))
    found += _advice(ptx)
    return Compiled(Compilation(True, kernels, found, log, opcodes=instructions, unread=unread), ptx, built.cubin)


def refused(text: str, refusals: Sequence[Refusal]) -> Compiled:
    """Never shown to the compiler."""
    found = tuple(
        Finding("compile-error", recipe.SOURCE_NAME, refusal.line, refusal.message)
        for refusal in refusals[: findings.MAX_FINDINGS]
    )
    return _failed(found, findings.log(found, "", text))


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


def _failed(found: tuple[Finding, ...], log: str) -> Compiled:
    return Compiled(Compilation(False, (), found, log))


def _unexplained(log: str) -> Finding:
    """The compiler failed without a diagnostic: it ran out of memory or crashed."""
    error = next((word for word in log.split() if word.startswith("NVRTC_ERROR")), "no reason given")
    return Finding("compile-error", recipe.SOURCE_NAME, 0, f"the compiler failed on this file ({error})")

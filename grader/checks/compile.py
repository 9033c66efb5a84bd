"""compile: the file compiles and holds the kernels that the exercise asks for, with the right parameters."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence

from grader.launching import signature
from grader.model.execution import Compilation, CompiledKernel
from grader.model.exercise import Exercise, Parameter
from grader.model.families import COMPILE
from grader.model.measurements import KernelResources, Measurements
from grader.model.result import Check, Finding, Status

CLOSE = 0.75  # of difflib's ratio: a name that was probably meant


def judge(exercise: Exercise, filename: str, compilation: Compilation) -> Check:
    """Warnings stand among the findings of a passed check too: `quality` judges them."""
    if not compilation.ok:
        return _failed(_errors(filename, compilation))
    wrong = tuple(_signature_findings(exercise, filename, compilation))
    if wrong:
        return _failed(wrong + compilation.findings)
    return Check(
        id=COMPILE.id(),
        status=Status.PASSED,
        message=_summary(compilation),
        findings=compilation.findings,
        measurements=_measurements(compilation),
    )


def unreadable(problem: Finding) -> Check:
    """The file never went to the compiler: it is empty, binary or too large."""
    return _failed((problem,))


def _errors(filename: str, compilation: Compilation) -> tuple[Finding, ...]:
    """The errors, without warnings, which mostly follow from the errors; or the compiler's last line."""
    errors = tuple(finding for finding in compilation.findings if finding.kind != "compile-warning")
    return errors or (Finding("compile-error", filename, 0, _last_line(compilation.log)),)


def _signature_findings(exercise: Exercise, filename: str, compilation: Compilation) -> Iterator[Finding]:
    by_name = {compiled.name: compiled for compiled in compilation.kernels}
    wanted = {name for kernel in exercise.kernels for name in (kernel.name, kernel.launch_name)}
    for kernel in exercise.kernels:
        found = signature.variants(kernel, compilation)
        if not found:
            yield _missing(kernel.name, kernel.signature(), filename, compilation, wanted)
        for compiled in found.values():
            workspace = signature.ends_in_workspace(kernel, compiled)
            parameters = signature.parameters(kernel, workspace=workspace)
            widths, declaration = signature.without_tensor_maps(compiled), kernel.signature(workspace=workspace)
            yield from _mismatch(compiled, widths, parameters, declaration, filename)
        launch, declaration = by_name.get(kernel.launch_name), signature.of_launch(kernel)
        if launch is None:
            yield _missing(kernel.launch_name, declaration, filename, compilation, wanted)
        else:
            parameters = signature.launch_parameters(kernel)
            yield from _mismatch(launch, launch.parameter_bytes, parameters, declaration, filename)


def _missing(
    name: str, declaration: str, filename: str, compilation: Compilation, wanted: Collection[str]
) -> Finding:
    """`wanted`: the names of all kernels and launch functions of the exercise."""
    line, message = 0, f"no kernel named {name}; the file defines "
    message += ", ".join(k.name for k in compilation.kernels) or "none"
    names = [k.name for k in compilation.kernels if k.name not in wanted and not k.name.startswith("_Z")]
    for close in difflib.get_close_matches(name, names, 1, CLOSE):
        line = next(k.line for k in compilation.kernels if k.name == close)
        message = f"no kernel named {name}; this one is called {close}"
    for compiled in compilation.kernels:
        if re.match(rf"_Z\d*N?\d*{re.escape(name)}", compiled.name):
            line = compiled.line
            message = f'{name} is not declared extern "C", so its name was mangled'
    return Finding("missing-kernel", filename, line, message, notes=(f"expected {declaration}",), kernel=name)


def _mismatch(
    compiled: CompiledKernel,
    actual: tuple[int, ...],
    parameters: Sequence[Parameter],
    declaration: str,
    filename: str,
) -> Iterator[Finding]:
    """PTX keeps only the number of parameters and their widths, so the message can name only those."""
    expected = signature.widths(parameters)
    if actual == expected:
        return
    if len(actual) != len(expected):
        message = f"{compiled.name} takes {len(actual)} parameters; {len(expected)} are expected"
    else:
        at = next(i for i, width in enumerate(actual) if width != expected[i])
        wanted = parameters[at]
        message = (
            f"{compiled.name}: parameter {at + 1} ({wanted.name}) has {actual[at]} bytes; "
            f"{wanted.ctype} has {wanted.bytes}"
        )
    notes = (f"expected {declaration}",)
    yield Finding("wrong-signature", filename, compiled.line, message, notes=notes, kernel=compiled.name)


def _failed(findings: tuple[Finding, ...]) -> Check:
    return Check(id=COMPILE.id(), status=Status.FAILED, message=findings[0].message, findings=findings)


def _measurements(compilation: Compilation) -> Measurements:
    kernels = {
        kernel.name: KernelResources(taken.registers, taken.shared_bytes, taken.spill_bytes)
        for kernel in compilation.kernels
        if (taken := kernel.resources)
    }
    return Measurements(seconds=compilation.seconds, cached=compilation.cached, kernels=kernels)


def _summary(compilation: Compilation) -> str:
    names = ", ".join(kernel.name for kernel in compilation.kernels)
    return f"compiled {names}"


def _last_line(log: str) -> str:
    lines = log.strip().splitlines()
    return lines[-1] if lines else "the compiler gave no reason"

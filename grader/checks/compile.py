"""compile: the file compiles and holds the kernels that the exercise asks for, with the right parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from grader import signature
from grader.model.execution import Compilation, CompiledKernel
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Status

ID = "compile"


def judge(exercise: Exercise, filename: str, compilation: Compilation) -> Check:
    """Warnings stand among the findings of a passed check too: `quality` judges them."""
    if not compilation.ok:
        errors = tuple(sorted(compilation.findings, key=lambda f: f.kind != "compile-error"))
        return _failed(errors or (Finding("compile-error", filename, 0, _last_line(compilation.log)),))
    wrong = tuple(_signature_findings(exercise, filename, compilation))
    if wrong:
        return _failed(wrong + compilation.findings)
    return Check(
        id=ID,
        status=Status.PASSED,
        message=_summary(compilation),
        findings=compilation.findings,
        measurements=_measurements(compilation),
    )


def unreadable(problem: Finding) -> Check:
    """The file never went to the compiler: it is empty, binary or too large."""
    return _failed((problem,))


def _signature_findings(exercise: Exercise, filename: str, compilation: Compilation) -> Iterator[Finding]:
    by_name = {compiled.name: compiled for compiled in compilation.kernels}
    for kernel in exercise.kernels:
        found = signature.variants(kernel, compilation)
        if not found:
            yield _missing(kernel.name, kernel.signature(), filename, compilation)
        for compiled in found.values():
            if compiled.parameter_bytes not in (
                signature.widths(kernel),
                signature.widths(kernel, workspace=True),
            ):
                yield _wrong_signature(
                    compiled, signature.widths(kernel), kernel.signature(), filename, workspace=True
                )
        launch = by_name.get(kernel.launch_name)
        widths = signature.launch_widths(kernel)
        if launch is None:
            yield _missing(kernel.launch_name, signature.of_launch(kernel), filename, compilation)
        elif launch.parameter_bytes != widths:
            yield _wrong_signature(launch, widths, signature.of_launch(kernel), filename, workspace=False)


def _missing(name: str, declaration: str, filename: str, compilation: Compilation) -> Finding:
    mangled = [k for k in compilation.kernels if re.match(rf"_Z\d*N?\d*{re.escape(name)}", k.name)]
    if mangled:
        message = f'{name} is not declared extern "C", so its name was mangled'
        return Finding(
            "missing-kernel", filename, mangled[0].line, message, notes=(f"expected {declaration}",)
        )
    others = ", ".join(k.name for k in compilation.kernels)
    message = f"no kernel named {name}; " + (
        f"the file defines {others}" if others else "the file defines none"
    )
    return Finding("missing-kernel", filename, 0, message, notes=(f"expected {declaration}",))


def _wrong_signature(
    compiled: CompiledKernel, widths: tuple[int, ...], declaration: str, filename: str, *, workspace: bool
) -> Finding:
    """PTX keeps nothing but the number of parameters and their widths, so that is what can be said."""
    actual = compiled.parameter_bytes
    if len(actual) != len(widths) and not (workspace and len(actual) == len(widths) + 1):
        message = f"{compiled.name} takes {len(actual)} parameters; {len(widths)} are expected"
    else:
        expected = (*widths, signature.POINTER_BYTES)
        at = next(i for i, width in enumerate(actual) if width != expected[i])
        message = f"{compiled.name}: parameter {at + 1} is {actual[at]} bytes wide; expected: {expected[at]}"
    notes = [f"expected {declaration}"]
    if workspace:
        notes.append("one more, last parameter is allowed: void* workspace")
    return Finding("wrong-signature", filename, compiled.line, message, notes=tuple(notes))


def _failed(findings: tuple[Finding, ...]) -> Check:
    return Check(id=ID, status=Status.FAILED, message=findings[0].message, findings=findings)


def _measurements(compilation: Compilation) -> dict[str, object]:
    kernels = {
        kernel.name: {
            "registers": kernel.resources.registers,
            "shared_bytes": kernel.resources.shared_bytes,
            "spill_bytes": kernel.resources.spill_bytes,
        }
        for kernel in compilation.kernels
        if kernel.resources
    }
    return {"seconds": compilation.seconds, "cached": compilation.cached, "kernels": kernels}


def _summary(compilation: Compilation) -> str:
    names = ", ".join(kernel.name for kernel in compilation.kernels)
    return f"compiled {names}"


def _last_line(log: str) -> str:
    lines = log.strip().splitlines()
    return lines[-1] if lines else "the compiler gave no reason"

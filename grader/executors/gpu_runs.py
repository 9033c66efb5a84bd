"""Runs invocations on a GPU twice, on memory with different garbage each time, between red zones."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from grader.compile import recipe
from grader.executors import device, faults
from grader.executors.device import Guarded, Kernels
from grader.model.details import Detail
from grader.model.result import Finding
from grader.sandbox.messages import AGAIN, ArenaSlot, Ran, Run

# All bits set is a NaN in every format; the other is a finite number, which would show in a sum.
POISONS = (0xFF, 0x4B)

_GLOBAL = re.compile(
    r"^\s*(?:\.visible\s+|\.weak\s+)?\.global\s+(?:\.align\s+\d+\s+)?\.[busf](\d+)\s+([\w$]+)(?:\[(\d+)\])?", re.M
)


def module_variables(ptx: str) -> list[tuple[str, int]]:
    """(name, bytes) of the module's __device__ variables."""
    return [(name, int(bits) // 8 * int(count or 1)) for bits, name, count in _GLOBAL.findall(ptx)]


class Lost(Exception):  # noqa: N818
    """The kernel destroyed the CUDA context; only the finding is left."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


@contextmanager
def blaming(kernel: str, *, memory: bool = True) -> Iterator[None]:
    """Turns a CUDA error caused by the submission into a finding about `kernel`; other errors propagate.

    Without `memory`, running out of memory is not the submission's fault.
    """
    try:
        yield
    except device.CudaError as error:
        found = faults.finding(int(error.status), kernel)
        if found is None or (found.kind == "out-of-memory" and not memory):
            raise
        raise Lost(found) from None


class GpuSubmission:
    """One cubin, loaded on its first run."""

    def __init__(self, ptx: str, cubin: bytes) -> None:
        self.ptx = ptx
        self._cubin = cubin
        self._variables = module_variables(ptx)
        self._kernels: Kernels | None = None

    @property
    def kernels(self) -> Kernels:
        if self._kernels is None:
            device.start()
            self._kernels = Kernels(self._cubin)
        return self._kernels

    def run(self, request: Run, arrays: dict[str, np.ndarray]) -> Ran:
        start = time.perf_counter()
        twice = any(name.endswith(AGAIN) for name in arrays)
        findings: tuple[Finding, ...] = ()
        # Whatever a run changes in place, mainly the workspace, must be restored before the next run.
        given = {s.name: arrays[s.name].copy() for s in request.slots if s.access == "inout"}
        for suffix, poison in zip(("", AGAIN) if twice else ("",), POISONS, strict=False):
            try:
                findings = self._once(request, arrays | given, arrays, poison, suffix)
            except Lost as lost:
                findings = (lost.finding,)
            if findings:
                break
        return Ran(findings=findings, run_seconds=time.perf_counter() - start)

    def _once(
        self,
        request: Run,
        given: dict[str, np.ndarray],
        into: dict[str, np.ndarray],
        poison: int,
        suffix: str,
    ) -> tuple[Finding, ...]:
        """Copies from `given` to `into`, outputs under their names plus `suffix`."""
        slots = [slot for slot in request.slots if not slot.name.endswith(AGAIN)]
        names = ", ".join(dict.fromkeys(i.kernel for i in request.invocations))
        with ExitStack() as stack, blaming(names):
            constants = self.kernels.globals(self._variables)
            guarded = {slot.name: _place(slot, given[slot.name], poison, stack) for slot in slots}
            for invocation in request.invocations:
                with blaming(invocation.kernel):
                    self.kernels.launch(invocation, lambda name: guarded[name].pointer, 0)
                    _wait()
            findings = [f for slot in slots for f in _checked(slot, guarded[slot.name], given, names)]
            findings += _changed(constants, self.kernels.globals(self._variables), names)
            for slot in slots:
                if slot.access != "in":
                    own = slot.name + (suffix if slot.access == "out" else "")
                    device.download(into[own], guarded[slot.name].pointer)
        return tuple(findings)


def _wait() -> None:
    from cupy_backends.cuda.api import runtime

    runtime.deviceSynchronize()


def _place(slot: ArenaSlot, array: np.ndarray, poison: int, stack: ExitStack) -> Guarded:
    guarded = Guarded(array.nbytes)
    stack.callback(_quietly_close, guarded)
    guarded.fill(poison)
    if slot.access != "out":
        device.upload(guarded.pointer, np.ascontiguousarray(array))
    return guarded


def _quietly_close(guarded: Guarded) -> None:
    """After a fault, nothing can be freed, and the process is about to end."""
    try:
        guarded.close()
    except device.CudaError:
        return


def _checked(slot: ArenaSlot, guarded: Guarded, arrays: dict[str, np.ndarray], kernels: str) -> Iterator[Finding]:
    for stray in guarded.strays():
        side = "before the start" if stray.before else "past the end"
        where = f"the first {stray.first} bytes {side}" if not stray.before else f"from {stray.first} bytes {side}"
        message = f"on the GPU, {kernels} wrote outside {slot.name}: {stray.count} bytes, {where} of the array"
        detail = Detail.BEFORE_START if stray.before else ""
        yield _finding("out-of-bounds", message, slot.name, detail)
    if slot.access == "in":
        original = arrays[slot.name]
        after = np.empty_like(original)
        device.download(after, guarded.pointer)
        different = np.flatnonzero(after.reshape(-1).view(np.uint8) != original.reshape(-1).view(np.uint8))
        if different.size:
            element = int(different[0]) // original.itemsize
            message = f"on the GPU, {kernels} changed the input {slot.name}, first at element {element}"
            yield _finding("read-only-write", message, slot.name)


def _changed(before: dict[str, bytes], after: dict[str, bytes], kernels: str) -> Iterator[Finding]:
    for name in before:
        if after.get(name) != before[name]:
            message = f"on the GPU, {kernels} changed the __device__ variable {name}"
            yield _finding("read-only-write", message, name)


def _finding(kind: str, message: str, array: str, detail: str = "") -> Finding:
    """A write to global memory, of which a GPU knows no line."""
    return Finding(kind, recipe.SOURCE_NAME, 0, message, detail=detail, array=array, space="global", access="write")

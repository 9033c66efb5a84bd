"""Merges the checks of CPU and GPU: numbers and speed from the GPU, memory accesses and races from the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from grader.grading.steps import after
from grader.model import families
from grader.model.exercise import Case
from grader.model.families import COMPILE, CORRECT, MEMORY, RULES, SPEED
from grader.model.result import Check, Status

if TYPE_CHECKING:
    from grader.grading.gpu_lane import GpuChecks

BAD = (Status.FAILED, Status.ERROR)


def both(cpu: Sequence[Check], gpu: GpuChecks, cases: Sequence[Case]) -> list[Check]:
    """In the CPU's order, every id once."""
    theirs = {check.id: check for check in gpu.checks}
    if unusable := gpu.unusable or _lacks_an_instruction(cpu, theirs, gpu.differs):
        return [_speed_without_gpu(check, unusable) for check in cpu]
    merged = {check.id: _one(check, theirs.get(check.id)) for check in cpu}
    waited_for = (merged.get(family.id()) for family in families.before_cases())
    stopped = next((check for check in waited_for if check and check.status in BAD), None)
    for case in cases:
        _case(case, merged, theirs, stopped)
    further = [c for c in gpu.checks if c.id not in merged and not stopped]
    return [_timed_here(check) for check in _with_gpu_only(list(merged.values()), further, theirs)]


def _lacks_an_instruction(cpu: Sequence[Check], theirs: Mapping[str, Check], gpu: str) -> str:
    """Why what compiles for the CPU, which stands for an H200, does not compile for another kind of GPU; empty if it
    does. That is no fault of the submission's.
    """
    failed = theirs.get(COMPILE.id())
    compiles = any(check.family == COMPILE.name and check.status is Status.PASSED for check in cpu)
    if not gpu or not compiles or failed is None or failed.status is not Status.FAILED:
        return ""
    return f"{gpu} cannot run it: {failed.findings[0].placed if failed.findings else failed.message}"


def _with_gpu_only(merged: list[Check], further: list[Check], theirs: Mapping[str, Check]) -> list[Check]:
    """Cases that the CPU does not run come last. Their speed comes from the GPU."""
    own = {check.case for check in further}
    elsewhere = [theirs.get(check.id, check) for check in merged if check.case in own]
    rest = [check for check in merged if check.case not in own]
    at = next((index for index, check in enumerate(rest) if check.family == RULES.name), len(rest))
    return rest[:at] + further + elsewhere + rest[at:]


def wants_sanitizer(cpu: Sequence[Check]) -> bool:
    """If the CPU reached an instruction it does not support, the accesses have not been judged yet."""
    return any(c.family == MEMORY.name and c.status is Status.NOT_JUDGED for c in cpu)


def _one(cpu: Check, gpu: Check | None) -> Check:
    """Checks without a case must pass on both. The CPU's findings come first, because they name lines."""
    if families.of(cpu.family).per_case or gpu is None or cpu.status in BAD:
        return cpu
    return gpu if gpu.status in BAD or cpu.status is not Status.PASSED else cpu


def _case(case: Case, merged: dict[str, Check], theirs: dict[str, Check], stopped: Check | None) -> None:
    """Merges the GPU's checks of one case, in place."""
    memory, correct, speed = (family.id(case.name) for family in (MEMORY, CORRECT, SPEED))
    merged[memory] = accesses = _memory(merged[memory], theirs.get(memory))
    if stopped is not None and correct not in theirs:
        for family in families.per_case():
            name = family.id(case.name)
            if family is not MEMORY and name in merged and merged[name].status is not Status.SKIPPED:
                skipped = after(stopped, family, case.name)
                assert skipped is not None
                merged[name] = skipped
        return
    numbers = theirs.get(correct, merged[correct])
    if numbers.status is Status.PASSED and merged[correct].measurements.unset_lines is not None:
        numbers = merged[correct]  # the GPU's registers happened to contain a suitable value
    if numbers.status is Status.FAILED and accesses.status is Status.FAILED:
        # One cause, one red line: the wrong numbers follow from the faulty accesses.
        skipped = after(accesses, CORRECT, case.name) or numbers
        numbers = skipped.measured(right_kernels=merged[correct].measurements.right_kernels)
    merged[correct] = numbers
    if speed in merged:
        own = theirs.get(speed, merged[speed])
        merged[speed] = after(numbers, SPEED, case.name) or own


def _memory(cpu: Check, gpu: Check | None) -> Check:
    """Failed if either found something. What the CPU cannot run is not missed if a GPU ran it without faults."""
    if gpu is not None and gpu.findings:
        if cpu.status is Status.FAILED:
            return msgspec.structs.replace(cpu, findings=cpu.findings + gpu.findings)
        return msgspec.structs.replace(gpu, measurements=cpu.measurements.updated(gpu.measurements))
    if cpu.status is Status.NOT_JUDGED and gpu is not None and gpu.status is Status.PASSED:
        return gpu
    if cpu.status is Status.NOT_JUDGED:
        return msgspec.structs.replace(cpu, required=False)
    return cpu


def _timed_here(check: Check) -> Check:
    """If a GPU is available, skipped checks lose their points; they do not stay open."""
    return msgspec.structs.replace(check, device="cuda") if check.family == SPEED.name else check


def _speed_without_gpu(check: Check, reason: str) -> Check:
    if check.family == SPEED.name and check.status is Status.NOT_JUDGED:
        return msgspec.structs.replace(check, reason=reason)
    return check

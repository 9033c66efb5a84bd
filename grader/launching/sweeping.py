"""A sweep over every possible input, seen from the parent: the request, and the first wrong input as a case."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from grader.launching import invocations
from grader.launching.plan import Plan
from grader.model.exercise import Array, Case, Exercise, Kernel
from grader.sandbox.messages import Sweep


def request(exercise: Exercise, case: Case, plans: Sequence[Plan]) -> Sweep:
    """Every kernel with a judge. The case's arrays only determine the length of a piece of the sweep."""
    judges = invocations.judges(exercise, case)
    assert judges is not None
    runs = invocations.of(exercise.kernels, case, plans)
    judged = tuple(run for run, kernel in zip(runs, exercise.kernels, strict=True) if kernel.judge)
    arrays = [value for value in case.arguments.values() if isinstance(value, Array)]
    return Sweep(
        judged,
        judges,
        elements=max(array.data.size for array in arrays),
        arrays={array.name: (array.data.dtype.str, array.access) for array in arrays},
        workspace_bytes=invocations.workspace_bytes(plans),
    )


def alone(case: Case, kernel: Kernel, pattern: int) -> Case:
    """The same kernels on one element: for `kernel`, the input it got wrong and the random bits that go with it."""
    size = max(value.data.size for value in case.arguments.values() if isinstance(value, Array))
    arguments: dict[str, Array | int] = {
        key: _first(value) if isinstance(value, Array) else 1 if value == size else value
        for key, value in case.arguments.items()
    }
    inputs = [p.key for p in kernel.parameters if _is_input(case.arguments[p.key])]
    for key, bits in zip(inputs, (pattern, random(pattern)), strict=False):
        given = arguments[key]
        assert isinstance(given, Array)
        data = np.array([bits], np.uint32).view(given.data.dtype)[:1].copy()
        arguments[key] = msgspec.structs.replace(given, data=data)
    return msgspec.structs.replace(case, arguments=arguments, summary="one element")


def random(pattern: int) -> int:
    """The random bits that go with a pattern, as computed by sweep_random in executors/bench_kernels.cu."""
    h = pattern & 0xFFFFFFFF
    h = (h ^ h >> 16) * 0x7FEB352D & 0xFFFFFFFF
    h = (h ^ h >> 15) * 0x846CA68B & 0xFFFFFFFF
    return h ^ h >> 16


def _first(array: Array) -> Array:
    return msgspec.structs.replace(array, data=np.zeros(1, array.data.dtype))


def _is_input(value: Array | int) -> bool:
    return isinstance(value, Array) and value.access == "in"

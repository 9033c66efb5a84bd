"""A case as a child runs it: the kernels in order, on one set of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grader.launching.plan import Plan
from grader.model.execution import Invocation, LaunchConfig, Mapped
from grader.model.exercise import Array, Case, Exercise, Kernel
from grader.sandbox.messages import JUDGES_VERDICT, Judges

WORKSPACE = "workspace"
JUDGES_LAUNCH = LaunchConfig(grid=(1024, 1, 1), block=(256, 1, 1))  # judges use a grid-stride loop


def of(kernels: Sequence[Kernel], case: Case, plans: Sequence[Plan]) -> tuple[Invocation, ...]:
    """One launch per kernel, according to its plan."""
    return tuple(_invocation(k, case, plan) for k, plan in zip(kernels, plans, strict=True))


def arrays(kernels: Sequence[Kernel], case: Case, plans: Sequence[Plan]) -> tuple[Array, ...]:
    """Every array that a kernel takes, and the shared zeroed workspace."""
    names = dict.fromkeys(p.key for kernel in kernels for p in kernel.parameters)
    values = (case.arguments[name] for name in names)
    own = tuple(value for value in values if isinstance(value, Array))
    wanted = workspace_bytes(plans)
    return (*own, Array(WORKSPACE, np.zeros(wanted, np.uint8), "inout")) if wanted else own


def workspace_bytes(plans: Sequence[Plan]) -> int:
    """Size of the workspace that all kernels share."""
    return max((plan.config.workspace_bytes for plan in plans if plan.takes_workspace), default=0)


def judges(exercise: Exercise, case: Case) -> Judges | None:
    """The kernels that judge on the device; None if the exercise has none and references decide."""
    if not exercise.judge_source:
        return None
    calls = [
        Invocation(kernel.judge, JUDGES_LAUNCH, (*_arguments(kernel, case), JUDGES_VERDICT))
        for kernel in exercise.kernels
        if kernel.judge
    ]
    return Judges(exercise.judge_source, tuple(calls))


def _arguments(kernel: Kernel, case: Case) -> list[str | tuple[int, int] | Mapped]:
    values = [(parameter, case.arguments[parameter.key]) for parameter in kernel.parameters]
    return [p.key if isinstance(value, Array) else (value, p.bytes) for p, value in values]


def _invocation(kernel: Kernel, case: Case, plan: Plan) -> Invocation:
    arguments = _arguments(kernel, case)
    called = [parameter.name for parameter in kernel.parameters]
    if plan.takes_workspace:
        arguments.append(WORKSPACE)
        called.append(WORKSPACE)
    for number, described in enumerate(plan.config.tensor_maps):
        array = arguments[described.array]
        assert isinstance(array, str)  # the plan has seen to it
        arguments.append(Mapped(array, described))
        called.append(f"tensor_map[{number}]")
    return Invocation(plan.kernel, plan.config, tuple(arguments), tuple(called))

"""A case as a child runs it: the kernels in order, over one set of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grader.checks.launch import Plan
from grader.model.execution import Invocation
from grader.model.exercise import Array, Case, Kernel

WORKSPACE = "workspace"


def of(kernels: Sequence[Kernel], case: Case, plans: Sequence[Plan]) -> tuple[Invocation, ...]:
    """One launch for each kernel, as its plan says."""
    return tuple(_invocation(k, case, plan) for k, plan in zip(kernels, plans, strict=True))


def arrays(kernels: Sequence[Kernel], case: Case, plans: Sequence[Plan]) -> tuple[Array, ...]:
    """Every array that some kernel takes, and the zeroed workspace that they share."""
    names = dict.fromkeys(p.key for kernel in kernels for p in kernel.parameters)
    values = (case.arguments[name] for name in names)
    own = tuple(value for value in values if isinstance(value, Array))
    wanted = max((plan.config.workspace_bytes for plan in plans if plan.takes_workspace), default=0)
    return (*own, Array(WORKSPACE, np.zeros(wanted, np.uint8), "inout")) if wanted else own


def _invocation(kernel: Kernel, case: Case, plan: Plan) -> Invocation:
    arguments: list[str | tuple[int, int]] = []
    for parameter in kernel.parameters:
        value = case.arguments[parameter.key]
        arguments.append(parameter.key if isinstance(value, Array) else (value, parameter.bytes))
    called = [parameter.name for parameter in kernel.parameters]
    if plan.takes_workspace:
        arguments.append(WORKSPACE)
        called.append(WORKSPACE)
    return Invocation(plan.kernel, plan.config, tuple(arguments), tuple(called))

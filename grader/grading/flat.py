"""A kernel that reads threadIdx.y, launched with blocks of one dimension: that is behind whatever goes wrong then."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from grader.exercise.definitions import Definitions
from grader.launching.plan import Plan
from grader.model.details import Detail
from grader.model.result import Check

AXES = ("y", "z")
FOLLOWS = ("out-of-bounds", "uninitialised-read", "race", "barrier-divergence", "wrong-values")


def explained(check: Check, plans: Sequence[Plan], text: str) -> Check:
    """The check, its first finding blamed on the launch where a kernel reads an index that is always 0."""
    if not check.findings or check.findings[0].kind not in FOLLOWS or check.findings[0].cause:
        return check
    flat = next(filter(None, (_flat(plan, text) for plan in plans)), "")
    if not flat:
        return check
    first, *others = check.findings
    told = msgspec.structs.replace(
        first, message=f"{flat}. So {first.message}", detail=Detail.FLAT_BLOCK, cause=flat, hint=""
    )
    return msgspec.structs.replace(check, findings=(told, *others), message=told.message)


def _flat(plan: Plan, text: str) -> str:
    """ "the kernel reads threadIdx.y, and launch->block is 256x1x1: it is always 0"."""
    if not plan.kernel:
        return ""
    definitions = Definitions(text)
    read = {axis for name in definitions.reach(plan.kernel) for axis in _read(definitions.tokens(name))}
    axis = next((a for a, size in zip(AXES, plan.config.block[1:], strict=True) if a in read and size == 1), "")
    if not axis:
        return ""
    block = "×".join(map(str, plan.config.block))
    return f"the kernel reads threadIdx.{axis}, which is always 0, because launch->block is {block}"


def _read(tokens: Sequence[str]) -> set[str]:
    """The axes of threadIdx that these read."""
    places = zip(tokens, tokens[1:], tokens[2:], strict=False)
    return {axis for name, dot, axis in places if name == "threadIdx" and dot == "."}

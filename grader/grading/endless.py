"""A loop that never ends, where the compiler has already said why."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from grader.model.details import Detail, Role
from grader.model.result import Check, Finding, Related

KIND = "did-not-finish"
NO_EFFECT = "expression has no effect"  # k0 + TILE, where k0 += TILE was meant


def explained(check: Check, warnings: Iterable[Finding]) -> Check:
    """The check; a loop that does not end is blamed on the line of an expression in it that does nothing."""
    idle = [one for one in warnings if one.kind == "compile-warning" and one.message == NO_EFFECT]
    if not idle or not any(finding.kind == KIND for finding in check.findings):
        return check
    findings = tuple(_blamed(finding, idle) for finding in check.findings)
    return msgspec.structs.replace(check, findings=findings, message=findings[0].message)


def is_certain(check: Check) -> bool:
    """Whether no other case would end."""
    return any(finding.detail == Detail.NO_EFFECT for finding in check.findings)


def _blamed(finding: Finding, idle: list[Finding]) -> Finding:
    if finding.kind != KIND:
        return finding
    before = [one for one in idle if one.line <= finding.line] or idle
    line = before[-1].line
    return msgspec.structs.replace(
        finding,
        line=line,
        column=before[-1].column,
        detail=Detail.NO_EFFECT,
        message=f"an expression on this line has no effect, and the loop never ends: {finding.message}",
        notes=(*finding.notes, f"the loop was still running on line {finding.line}"),
        related=(*finding.related, Related(Role.LOOP, finding.line)),
    )

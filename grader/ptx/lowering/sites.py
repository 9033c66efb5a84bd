"""The instructions that a finding can point at."""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.syntax import Location

WAITING = "waiting"  # as a site's opcode: the loop looks at what another thread may change


@dataclass(frozen=True)
class Site:
    """`width` in bytes."""

    location: Location
    opcode: str
    width: int = 0

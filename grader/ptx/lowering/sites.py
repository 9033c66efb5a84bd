"""Sites: the accesses and waits that a finding can point at."""

from __future__ import annotations

from dataclasses import dataclass

from grader.ptx.opcodes.opcode import Opcode, read_opcode
from grader.ptx.syntax import Location

PRODUCT_READ = "ld.shared.bulk.wgmma"  # of a tile, by tensor cores
WAITING = "waiting"  # opcode of the site of a loop that reads what other threads may change


@dataclass(frozen=True)
class Site:
    """`width` in bytes. `updates`: one of the two accesses of an update."""

    location: Location
    opcode: str
    width: int = 0
    updates: bool = False

    @property
    def op(self) -> Opcode:
        return read_opcode(self.opcode)

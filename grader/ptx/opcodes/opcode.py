"""An opcode, split into its parts once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

from grader.ptx.opcodes.rows import ROWS
from grader.ptx.opcodes.traits import Traits
from grader.ptx.types import BITS

UNKNOWN = Traits()
SPACES = ("param", "shared", "global", "local", "const")
VECTORS = {"v2": 2, "v4": 4, "v8": 8}
STRONG = frozenset({"volatile", "relaxed", "acquire", "release", "mmio"})
SCOPES = {"cta": "cta", "cluster": "cluster", "gpu": "gpu", "gl": "gpu", "sys": "sys"}


@dataclass(frozen=True)
class Opcode:
    """A full opcode. `read_opcode` returns the same object for the same text."""

    text: str  # all of it: "mad.lo.s32"
    base: str
    modifiers: tuple[str, ...]
    row: str  # the key of its row; "" if it has none
    traits: Traits

    @property
    def is_known(self) -> bool:
        return bool(self.row)

    @cached_property
    def space(self) -> str:
        """The first state space among the modifiers. `shared::cluster` may be another block's of the cluster."""
        spaces = (m.split("::")[0] for m in self.modifiers)
        return next((s for s in spaces if s in SPACES), "generic")

    @property
    def may_leave_block(self) -> bool:
        """Could an address in shared memory be another block's?"""
        return self.space == "generic" or "shared::cluster" in self.modifiers

    @cached_property
    def count(self) -> int:
        """How many elements are loaded or stored."""
        return next((VECTORS[m] for m in self.modifiers if m in VECTORS), 1)

    @property
    def type(self) -> str:
        """The last modifier: for most opcodes the type of the result, or of an element in memory."""
        return self.modifiers[-1] if self.modifiers else ""

    @cached_property
    def element_bytes(self) -> int:
        """Bytes of `type`; 0 for types that cannot be in memory."""
        return BITS.get(self.type, 0) // 8

    @property
    def bytes(self) -> int:
        """All that one thread loads or stores."""
        return self.element_bytes * self.count

    @cached_property
    def scope(self) -> str | None:
        return next((SCOPES[m] for m in self.modifiers if m in SCOPES), None)

    @cached_property
    def is_strong(self) -> bool:
        """Allowed to race with its like: atomic, volatile, relaxed, acquire or release."""
        return self.traits.atomic or not STRONG.isdisjoint(self.modifiers)

    @property
    def is_of_block_scope(self) -> bool:
        """Strong only among the threads of one block."""
        return self.scope == "cta"

    @property
    def reaches_other_blocks(self) -> bool:
        """May a strong access synchronise with another block? Without a scope it means the whole device."""
        return self.space != "shared" and not self.is_of_block_scope

    @property
    def is_wide(self) -> bool:
        """Does a fence, or the release of a store, order memory for other blocks too?"""
        return self.scope in ("cluster", "gpu", "sys")

    @property
    def is_aligned(self) -> bool:
        return self.traits.aligned or "aligned" in self.modifiers

    @property
    def writes_carry(self) -> bool:
        return "cc" in self.modifiers

    @property
    def may_wait(self) -> bool:
        """Could a loop around it be waiting for another thread? True of an atomic, a strong load, a pause."""
        traits = self.traits
        looks = traits.loads or (traits.atomic and traits.result)
        return traits.pauses or (looks and self.is_strong)


@cache
def read_opcode(text: str) -> Opcode:
    base, *modifiers = text.split(".")
    words = [base, *modifiers]
    prefixes = (".".join(words[:n]) for n in range(len(words), 0, -1))
    row = next((p for p in prefixes if p in ROWS), "")
    return Opcode(text, base, tuple(modifiers), row, ROWS.get(row, UNKNOWN))

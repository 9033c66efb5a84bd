"""An opcode with its modifiers, read once."""

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
    """Of an instruction, in full. `read_opcode` gives the same object for the same text."""

    text: str  # all of it: "mad.lo.s32"
    base: str
    modifiers: tuple[str, ...]
    row: str  # the words under which its row stands; "" where there is none
    traits: Traits

    @property
    def is_known(self) -> bool:
        return bool(self.row)

    @cached_property
    def space(self) -> str:
        """The state space that the first modifier which is one names; of a cluster's memory, this block's part."""
        spaces = (m.split("::")[0] for m in self.modifiers)
        return next((s for s in spaces if s in SPACES), "generic")

    @cached_property
    def count(self) -> int:
        """The elements of the vector that is loaded or stored."""
        return next((VECTORS[m] for m in self.modifiers if m in VECTORS), 1)

    @property
    def type(self) -> str:
        """The last modifier: in most opcodes the type of the result, or of what is accessed."""
        return self.modifiers[-1] if self.modifiers else ""

    @cached_property
    def element_bytes(self) -> int:
        """Of `type`; 0 where no memory holds it."""
        return BITS.get(self.type, 0) // 8

    @property
    def bytes(self) -> int:
        """Of all that one thread loads or stores."""
        return self.element_bytes * self.count

    @cached_property
    def scope(self) -> str | None:
        return next((SCOPES[m] for m in self.modifiers if m in SCOPES), None)

    @cached_property
    def is_strong(self) -> bool:
        """Others may access the same place at the same time: volatile, relaxed, acquire, release, atomic."""
        return self.traits.atomic or not STRONG.isdisjoint(self.modifiers)

    @property
    def is_of_block_scope(self) -> bool:
        """Strong for the threads of its own block only."""
        return self.scope == "cta"

    @property
    def reaches_other_blocks(self) -> bool:
        """May another block see it, or make what it sees? A strong access without a scope is one of all."""
        return self.space != "shared" and not self.is_of_block_scope

    @property
    def is_wide(self) -> bool:
        """Of a fence, or of the release of a store: other blocks may rely on it."""
        return self.scope in ("cluster", "gpu", "sys")

    @property
    def is_aligned(self) -> bool:
        return self.traits.aligned or "aligned" in self.modifiers

    @property
    def writes_carry(self) -> bool:
        return "cc" in self.modifiers

    @property
    def may_wait(self) -> bool:
        """Does it look at what another thread may change: an atomic, a volatile load, a pause?"""
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

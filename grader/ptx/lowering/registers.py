"""Where the registers of a kernel are kept while it is lowered.

Within a basic block their values are SSA values. Between blocks each has a slot on the stack, and what outlives a
suspension a place in the thread's frame; a register that is written once may live in the frame alone ("resident").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

from grader.ptx.ir import Fn, Value
from grader.ptx.lowering.arithmetic import llvm_type
from grader.ptx.lowering.memory import FrameLayout
from grader.ptx.types import BITS
from grader.ptx.unsupported import Unsupported


class Registers:
    def __init__(
        self, f: Fn, types: Mapping[str, str], layout: FrameLayout, unsupported: Callable[[str], Unsupported]
    ) -> None:
        self._f, self._types, self._layout, self._unsupported = f, types, layout, unsupported
        self._slots: dict[str, Value] = {}
        self._current: dict[str, Value] = {}  # values that are known in this block
        self._dirty: set[str] = set()  # of these, the ones not yet written to their slots

    def __contains__(self, name: str) -> bool:
        return name in self._types

    def unknown(self, name: str) -> Unsupported:
        return self._unsupported(f"the register {name}")

    def type_of(self, name: str) -> str:
        """Its LLVM type."""
        type_ = self._types.get(name)
        if type_ is None:
            raise self.unknown(name)
        return llvm_type(type_) if type_ in ("f32", "f64", "pred") else f"i{BITS[type_]}"

    def read(self, name: str) -> Value:
        value = self._current.get(name)
        if value is None:
            value = self._current[name] = self.home(name).load(self.type_of(name))
        return value

    def define(self, name: str, value: Value) -> None:
        self._current[name] = value
        if name in self._layout.resident:
            self._in_frame(name).store(value)
        else:
            self._dirty.add(name)

    def home(self, name: str) -> Value:
        """The address of its slot, or of its place in the frame if it lives there alone."""
        return self._in_frame(name) if name in self._layout.resident else self._slot(name)

    def _slot(self, name: str) -> Value:
        if name not in self._slots:
            self._slots[name] = self._f.alloca(self.type_of(name))
        return self._slots[name]

    def _in_frame(self, name: str) -> Value:
        return self._f["frame"].at(self._layout.slots[name])

    # From block to block ----------------------------------------------------------------------------------------

    def begin_block(self) -> None:
        self._current, self._dirty = {}, set()

    def store(self, live: Set[str] | None = None) -> None:
        """Write registers to their slots where that is still to be done: those in `live`, or all."""
        names = self._dirty if live is None else self._dirty & live
        for name in sorted(names):
            self._slot(name).store(self._current[name])
        self._dirty = self._dirty - names

    def known(self) -> dict[str, Value]:
        return dict(self._current)

    def know(self, values: dict[str, Value]) -> None:
        """At a label: `values` hold whichever way led here, others are in their slots."""
        self._current = values

    def save(self, live: Set[str]) -> None:
        """Before a suspension, to the frame."""
        for name in sorted(live - self._layout.resident):
            self._in_frame(name).store(self.read(name))

    def restore(self, live: Set[str]) -> None:
        """After one, to the slots: other blocks that jump to the code that follows leave registers there."""
        for name in sorted(live - self._layout.resident):
            self.define(name, self._in_frame(name).load(self.type_of(name)))
        self.store(live)

"""Where a kernel keeps its PTX registers.

Within a basic block a register is an SSA value, between blocks it has a slot on the stack, and across a suspension a
place in the thread's frame. A register that is written once may live only in the frame; then it is "resident".
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
        self._current: dict[str, Value] = {}  # known values in this block
        self._dirty: set[str] = set()  # of these, the ones not yet stored in their slots

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
        """The address of its slot, or of its place in the frame if it is resident."""
        return self._in_frame(name) if name in self._layout.resident else self._slot(name)

    def _slot(self, name: str) -> Value:
        if name not in self._slots:
            self._slots[name] = self._f.alloca(self.type_of(name))
        return self._slots[name]

    def _in_frame(self, name: str) -> Value:
        return self._f["frame"].at(self._layout.slots[name])

    # Between blocks ---------------------------------------------------------------------------------------------

    def begin_block(self) -> None:
        self._current, self._dirty = {}, set()

    def store(self, live: Set[str] | None = None) -> None:
        """Store dirty registers in their slots: those in `live`, or all."""
        names = self._dirty if live is None else self._dirty & live
        for name in sorted(names):
            self._slot(name).store(self._current[name])
        self._dirty = self._dirty - names

    def known(self) -> dict[str, Value]:
        return dict(self._current)

    def know(self, values: dict[str, Value]) -> None:
        """At a label: `values` are valid on every path to it; all other registers are in their slots."""
        self._current = values

    def save(self, live: Set[str]) -> None:
        """Save to the frame, before a suspension."""
        for name in sorted(live - self._layout.resident):
            self._in_frame(name).store(self.read(name))

    def restore(self, live: Set[str]) -> None:
        """Restore from the frame to the slots, after a suspension."""
        for name in sorted(live - self._layout.resident):
            self.define(name, self._in_frame(name).load(self.type_of(name)))
        self.store(live)

"""The PTX registers of a warp: a vector where lanes may differ, and where they cannot, one value for all."""

from __future__ import annotations

from collections.abc import Callable, Set

from grader.ptx.analysis.shapes import Frame
from grader.ptx.ir import Value
from grader.ptx.lowering.memory import FrameLayout
from grader.ptx.lowering.registers import Registers
from grader.ptx.lowering.warps.lanes import LANES, LaneFn, NotTaken, wide
from grader.ptx.types import BITS
from grader.ptx.unsupported import Unsupported

LINE = 64  # bytes; what vectors are aligned to on the stack


class WarpRegisters(Registers):
    """Within a basic block a value, between blocks a slot, and across a barrier a place in the warp's frame."""

    def __init__(
        self,
        f: LaneFn,
        types: dict[str, str],
        varying: Set[str],
        places: dict[str, int],
        selected: Callable[[], Value | None],
        unsupported: Callable[[str], Unsupported],
        resident: Set[str],
        defined: Callable[[str, Value], None],
    ) -> None:
        """`places`: in the frame. `selected`: the lanes that write now, an i1 for each; None: all that matter.

        `resident`: live in the frame only. `defined` is told what varying registers become.
        """
        nowhere = FrameLayout(Frame(0, 0, 0, 0, 0, 0), {}, frozenset(), {}, 0)
        super().__init__(f, types, nowhere, unsupported)
        self._lanes, self._varying, self._places, self._selected = f, varying, places, selected
        self._resident, self._defined = resident, defined

    def read(self, name: str) -> Value:
        value = self._current.get(name)
        if value is None:
            value = self._current[name] = self._load(name, self._slot(name), self._alignment(name))
        return value

    def define(self, name: str, value: Value) -> None:
        if name in self._varying:
            value = self._lanes.splat(value)
            self._defined(name, value)
        elif self._lanes.varies(value):
            raise NotTaken(name)
        self._current[name] = value
        self._dirty.add(name)

    def poison(self, name: str, bits: int) -> None:
        """Before the first block."""
        type_ = self.type_of(name)
        value = self._f.const(f"i{BITS[self._types[name]]}", bits)
        self.define(name, value if type_ == value.type else value.bitcast(type_))

    # Between blocks ---------------------------------------------------------------------------------------------

    def store(self, live: Set[str] | None = None) -> None:
        """Store dirty registers in their slots: those in `live`, or all."""
        names = self._dirty if live is None else self._dirty & live
        for name in sorted(names):
            self._store(self._current[name], self._slot(name), name)
        self._dirty = self._dirty - names

    def save(self, live: Set[str]) -> None:
        """To the frame, before a barrier, at which all lanes are."""
        for name in sorted(self._dirty & live & self._resident):
            self._write(self._current[name], self._slot(name), 1, name)
        for name in sorted((live & self._types.keys()) - self._resident):
            self._write(self.read(name), self._f["frame"].at(self._places[name]), 1, name)

    def restore(self, live: Set[str]) -> None:
        """From the frame to the slots, after a barrier."""
        for name in sorted((live & self._types.keys()) - self._resident):
            self._current[name] = self._load(name, self._f["frame"].at(self._places[name]), 1)
            self._write(self._current[name], self._slot(name), LINE, name)

    def _slot(self, name: str) -> Value:
        if name in self._resident:
            return self._f["frame"].at(self._places[name])
        if name not in self._slots:
            type_ = self.type_of(name)
            if name in self._varying:
                slot = self._f.alloca(wide(type_), LINE)
                # What a lane finds that has left, or is elsewhere, must be a number, whichever.
                self._f.allocas.append(f"  store {wide(type_)} zeroinitializer, ptr {slot}")
            else:
                slot = self._f.alloca(type_)
                self._f.allocas.append(f"  store {type_} zeroinitializer, ptr {slot}")
            self._slots[name] = slot
        return self._slots[name]

    def _load(self, name: str, place: Value, align: int) -> Value:
        type_ = self.type_of(name)
        if name in self._varying:
            return self._lanes.lanes(type_, f"load {wide(type_)}, ptr {place}, align {align}")
        return place.load(type_)

    def _alignment(self, name: str) -> int:
        return 1 if name in self._resident else LINE

    def _store(self, value: Value, place: Value, name: str) -> None:
        selected = self._selected()
        if name in self._varying and selected is not None:
            value = self._f.select(selected, value, self._load(name, place, self._alignment(name)))
        self._write(value, place, self._alignment(name), name)

    def _write(self, value: Value, place: Value, align: int, name: str) -> None:
        if name in self._varying:
            self._lanes.raw(f"store {self._lanes.wide_typed(value)}, ptr {place}, align {align}")
        else:
            place.store(value)


def lay_out(live: Set[str], types: dict[str, str], varying: Set[str], start: int) -> tuple[dict[str, int], int]:
    """Where registers lie in the frame of a warp, and the bytes of all."""
    at, places = start, {}
    for name in sorted(live & types.keys()):
        size = max(BITS[types[name]] // 8, 1) * (LANES if name in varying else 1)
        at = (at + 7) // 8 * 8
        places[name] = at
        at += size
    return places, at

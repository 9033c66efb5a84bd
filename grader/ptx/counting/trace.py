"""Generated code that leaves a record of every basic block and every access: which, and at which address.

A record is two words, a key and an address. The lanes of a warp run one after the other, so the key says which of
their records belong together: the place in the code, and the iteration of each loop around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.loops import Loop, loops_of
from grader.ptx.counting.wider import Neighbour, neighbours
from grader.ptx.ir import Value
from grader.ptx.lowering import async_copies
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.tables import TABLES, Tables
from grader.ptx.machine import STAMP_STEP
from grader.ptx.opcodes.rows import ALIGNED
from grader.ptx.structs import pointer_to
from grader.ptx.syntax import Address, Immediate, Instruction, Operand

THREADS = STAMP_STEP
MOST_RECORDS = 1 << 15  # of a thread
MOST_LOOPS = 256
PLACE_BITS = 16
UNCOUNTED = {"param", "const"}
COPIES = {"through", "around"}  # the L1 cache
SOURCE_BITS = 40  # of a copy's record, for where it reads; above, where it writes in shared memory
ZEROS = 1 << 62  # in a copy's record: it reads nothing
ROWS_OF = {"x1": "rows8", "x2": "rows16", "x4": "rows32"}  # ldmatrix, stmatrix: shared memory, of the first lanes
ITERATION = 0x9E37_79B9_7F4A_7C15  # odd: mixes the iterations of nested loops into one word

Effect = Callable[[KernelBuilder, Instruction], None]


@dataclass(frozen=True)
class Place:
    """What a record stands for: an access of `width` bytes to `space`; or a block, with its instructions."""

    space: str  # "" for a block; COPIES have two addresses in one
    instruction: Instruction
    width: int = 0
    block: tuple[Instruction, ...] = ()
    neighbour: Neighbour | None = None  # of a load that may become part of a wider one


class Room(NamedTuple):
    """Memory for the records of one block. Each thread that is watched has a row of it; the others share the last."""

    records: np.ndarray  # (rows, most, 2), int64
    row: np.ndarray  # by thread, the address of its row
    used: np.ndarray  # by thread, records; those beyond `most` are lost
    iterations: np.ndarray  # by thread and loop

    @property
    def most(self) -> int:
        return int(self.records.shape[1])


def room(most_records: int = MOST_RECORDS) -> Room:
    """For so many records of each thread. Pages of it that are never touched cost nothing."""
    return Room(
        np.empty((THREADS + 1, most_records, 2), np.int64),
        np.zeros(THREADS, np.int64),
        np.zeros(THREADS, np.int64),
        np.zeros((THREADS, MOST_LOOPS), np.int64),
    )


@dataclass
class Trace:
    """The records of one block, and the places in a kernel that they name."""

    room: Room
    places: list[Place] = field(default_factory=list)
    watched: list[range] = field(default_factory=list)  # threads, in the order of their rows

    def begin(self, threads: Iterable[range]) -> None:
        """The next block; of others than these threads, nothing is kept."""
        records, row, used, iterations = self.room
        self.watched, step, at = list(threads), records.strides[0], 0
        used[:], iterations[:] = self.room.most, 0
        row[:] = pointer_to(records) + THREADS * step
        for some in self.watched:
            row[some.start : some.stop] = pointer_to(records) + np.arange(at, at + len(some)) * step
            used[some.start : some.stop] = 0
            at += len(some)

    @property
    def is_full(self) -> bool:
        """Did some thread have more to record than there is room for?"""
        return any(self.room.used[some.start : some.stop].max() > self.room.most for some in self.watched)

    def left(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of some threads after the others, as they are watched: their records, and how many each has left."""
        at = 0
        for some in self.watched:
            counts = np.minimum(self.room.used[some.start : some.stop], self.room.most)
            yield self.room.records[at : at + len(some), : int(counts.max())], counts
            at += len(some)


class Tracing:
    """The lowering of one kernel."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._loops: list[Loop] | None = None
        self._iteration: Value | None = None
        self._neighbours: dict[int, Neighbour] = {}
        self._whole: Place | None = None  # a vector load that analysis/gaps.py made several of

    def tables(self) -> Tables:
        effects = dict(TABLES.effects)
        for name, accesses in ACCESSES.items():
            effects[name] = self._recorded(effects[name], accesses)
        return replace(TABLES, effects=effects, enter=self._enter)

    def _enter(self, u: KernelBuilder, block: Block) -> None:
        """Count the iteration, and record that the thread is here."""
        if self._loops is None:
            self._loops = loops_of(u.blocks)[:MOST_LOOPS]
        f, mine = u.f, self._mine(u, self._trace.room.iterations)
        around = [k for k, loop in enumerate(self._loops) if block.index in loop.body]
        for k in around:
            if self._loops[k].head == block.index:
                mine.at(8 * k).store(mine.at(8 * k).load("i64") + 1)
                for inner, loop in enumerate(self._loops):
                    if inner != k and loop.head in self._loops[k].body:
                        mine.at(8 * inner).store(f.const("i64", 0))
        self._iteration = f.const("i64", 0)
        self._neighbours = neighbours(block)
        for k in around:
            self._iteration = (self._iteration + mine.at(8 * k).load("i64")) * ITERATION
        first = block.instructions[0]
        self._record(u, Place("", first, block=tuple(block.instructions)), f.const("i64", 0))

    def _recorded(self, effect: Effect, accesses: Accesses) -> Effect:
        def both(u: KernelBuilder, ins: Instruction) -> None:
            space, operand, width = accesses(ins)
            if space in COPIES:
                self._record(u, Place(space, ins, width), _both_ends(u, ins, width))
            elif space not in UNCOUNTED and not self._is_part(ins, operand):
                place = Place(space, ins, width, neighbour=self._neighbours.get(id(ins)))
                self._record(u, place, address_of(u, operand))
            effect(u, ins)

        return both

    def _is_part(self, ins: Instruction, operand: Operand) -> bool:
        """Is it one element of a vector load that has its record already?"""
        if ins.base == ALIGNED:
            self._whole = Place(ins.op.space, ins, ins.op.bytes)
            return False
        whole = self._whole
        if whole is None or whole.instruction.location != ins.location or not isinstance(operand, Address):
            return False
        start = whole.instruction.operands[0]
        assert isinstance(start, Address)
        return start.base == operand.base and 0 <= operand.offset - start.offset < whole.width

    def _record(self, u: KernelBuilder, place: Place, address: Value) -> None:
        f, places = u.f, self._trace.places
        places.append(place)
        assert self._iteration is not None
        key = (self._iteration << PLACE_BITS) | (len(places) - 1)
        used = self._mine(u, self._trace.room.used)
        number = used.load("i64")
        most = self._trace.room.most
        slot = f.select(number.ult(most), number, f.const("i64", most - 1))
        record = self._mine(u, self._trace.room.row).load("ptr").at(slot << 4)
        record.store(key)
        record.at(8).store(address)
        used.store(number + 1)

    @staticmethod
    def _mine(u: KernelBuilder, array: np.ndarray) -> Value:
        """This thread's row of an array."""
        f = u.f
        start = f.emit("ptr", f"inttoptr i64 {pointer_to(array)} to ptr")
        return start.at(f["tid"].zext("i64") * array.strides[0])


def _both_ends(u: KernelBuilder, ins: Instruction, width: int) -> Value:
    """Where cp.async writes and reads, and whether it only fills with zeros."""
    target, source = (address_of(u, end) for end in ins.operands[:2])
    both = (target << SOURCE_BITS) | (source & ((1 << SOURCE_BITS) - 1))
    if len(ins.operands) > 3:
        zeros = async_copies.filled_bytes(u, ins.operands[3], width).eq(0)
        both = both | u.f.select(zeros, u.f.const("i64", ZEROS), u.f.const("i64", 0))
    return both


# What an instruction accesses: the state space, the operand with the address, and the bytes of a lane.
Access = tuple[str, Operand, int]
Accesses = Callable[[Instruction], Access]


def _of_load(ins: Instruction) -> Access:
    return ins.op.space, ins.operands[1], ins.op.bytes


def _of_first(ins: Instruction) -> Access:
    return ins.op.space, ins.operands[0], ins.op.bytes


def _of_atomic(ins: Instruction) -> Access:
    return ins.op.space, ins.operands[1 if ins.traits.result else 0], ins.op.bytes


def _of_copy(ins: Instruction) -> Access:
    """cp.async: from global to shared memory, through the L1 cache or around it."""
    target, _, size, *_ = ins.operands
    assert isinstance(size, Immediate)
    return "around" if "cg" in ins.modifiers else "through", target, size.bits


def _of_rows(ins: Instruction) -> Access:
    """ldmatrix, stmatrix: each lane brings the address of a row, of which only as many count as there are."""
    space = next(name for count, name in ROWS_OF.items() if count in ins.modifiers)
    return space, next(o for o in ins.operands if isinstance(o, Address)), 16


ACCESSES: dict[str, Accesses] = {
    "ld": _of_load,
    "ldu": _of_load,
    ALIGNED: _of_first,
    "st": _of_first,
    "atom": _of_atomic,
    "red": _of_atomic,
    "cp.async.ca": _of_copy,
    "cp.async.cg": _of_copy,
    "ldmatrix": _of_rows,
    "stmatrix": _of_rows,
}

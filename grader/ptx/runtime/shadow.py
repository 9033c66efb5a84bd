"""The shadow of memory: the cells that record which thread wrote and read what, and when.

Generated code calls the checks where its inline test is not satisfied (accesses.py); they stand in
shared_memory.py, global_memory.py, generic_memory.py and copies.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import LAUNCH, LOCK_BYTES, LOCK_SHIFT, LOCKS, PROGRAM, WINDOW, WORKER

COLD = "noinline cold nounwind"
ACCESS = {"w": "ptr", "me": "i32", "address": "i64", "width": "i32", "site": "i32"}
# `bytes`: what a store writes, or null. Writing the same value again harms no other thread of the block.
STORE = {**ACCESS, "bytes": "ptr"}
PEEK = {"w": "ptr", "address": "i64", "width": "i32"}
SLOTS = ("write", "read", "also", "elsewhere", "hidden")
MANY = {"w": "ptr", "me": "i32", "fence": "i32", "address": "i64", "width": "i32", "table": "ptr", "n": "i64"}


def of_program(worker: Value, name: str) -> Value:
    return PROGRAM.get(WORKER.get(worker, "program"), name)


class SharedShadow:
    """The cell arrays of shared memory: last write, first read since, another thread's read, and their sites.

    `hidden`: an atomic write by another thread, which the last one, atomic too, is not ordered after.
    """

    def __init__(self, worker: Value, step: Value | int) -> None:
        """`step`: bytes of one array, four per cell."""
        self.write = WORKER.get(worker, "cells")
        self.write_site = self.write.at(step)
        self.read = self.write_site.at(step)
        self.read_site = self.read.at(step)
        self.also = self.read_site.at(step)
        self.also_site = self.also.at(step)
        self.hidden = self.also_site.at(step)
        self.hidden_site = self.hidden.at(step)


def shared_shadow(f: Fn) -> SharedShadow:
    return SharedShadow(f["w"], (of_program(f["w"], "arena") >> of_program(f["w"], "shared_shift")) << 2)


class Slot:
    """A stamp of a cell of global memory, `(block + 2) << 32 | stamp`, and the site that left it."""

    def __init__(self, window: Value, name: str, cell: Value) -> None:
        self._stamp = WINDOW.get(window, name).index("i64", cell)
        self._site = WINDOW.get(window, f"{name}_site").index("i32", cell)

    @property
    def stamp(self) -> Value:
        return self._stamp.load("i64")

    @property
    def site(self) -> Value:
        return self._site.load("i32")

    def set(self, stamp: Value, site: Value) -> None:
        self._stamp.store(stamp)
        self._site.store(site)

    def clear(self) -> None:
        self._stamp.store(self._stamp.fn.const("i64", 0))


class GlobalCell:
    """What is recorded for a cell of a window; WINDOW describes the slots."""

    def __init__(self, window: Value, cell: Value) -> None:
        self.write, self.read, self.also, self.elsewhere, self.hidden = (Slot(window, name, cell) for name in SLOTS)


@contextmanager
def locked(f: Fn) -> Iterator[None]:
    """No other OS thread looks at the cells of this access: it would see a new stamp with an old site.

    No aligned access spans two locks.
    """
    lock = LAUNCH.get(WORKER.get(f["w"], "launch"), "locks").at(
        ((f["address"] >> LOCK_SHIFT) & (LOCKS - 1)) * LOCK_BYTES
    )
    with f.loop() as mine:
        f.stop_when(mine, f.emit("i32", f"atomicrmw xchg ptr {lock}, i32 1 acquire").eq(0))
    yield
    f.line(f"store atomic i32 0, ptr {lock} release, align 4")


def cells_of(f: Fn, offset: Value, shift: str) -> tuple[Value, Value]:
    by = of_program(f["w"], shift)
    first = offset >> by
    return first, ((offset + f["width"].zext("i64") - 1) >> by) - first + 1

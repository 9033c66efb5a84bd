"""The shadow of memory: where the cells lie that remember who wrote and who read what, and when.

Generated code calls the checks where its inline test is not satisfied (accesses.py); they stand in
shared_memory.py, global_memory.py, generic_memory.py and copies.py.
"""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import PROGRAM, WINDOW, WORKER

COLD = "noinline cold nounwind"
ACCESS = {"w": "ptr", "me": "i32", "address": "i64", "width": "i32", "site": "i32"}
# `bytes`: what a store writes, or null. Writing what is there already harms no other thread of the block.
STORE = {**ACCESS, "bytes": "ptr"}
MANY = {"w": "ptr", "me": "i32", "fence": "i32", "address": "i64", "width": "i32", "table": "ptr", "n": "i64"}


def of_program(worker: Value, name: str) -> Value:
    return PROGRAM.get(WORKER.get(worker, "program"), name)


class SharedShadow:
    """The cell arrays of shared memory: last write, first read since, another thread's read, and their sites."""

    def __init__(self, worker: Value, step: Value | int) -> None:
        """`step`: bytes of one array, four per cell."""
        self.write = WORKER.get(worker, "cells")
        self.write_site = self.write.at(step)
        self.read = self.write_site.at(step)
        self.read_site = self.read.at(step)
        self.also = self.read_site.at(step)
        self.also_site = self.also.at(step)


def shared_shadow(f: Fn) -> SharedShadow:
    return SharedShadow(f["w"], (of_program(f["w"], "arena") >> of_program(f["w"], "shared_shift")) << 2)


class GlobalShadow:
    """The cell arrays of a window: stamps are `(block + 2) << 32 | stamp`."""

    def __init__(self, window: Value) -> None:
        self.write, self.write_site = WINDOW.get(window, "write"), WINDOW.get(window, "write_site")
        self.read, self.read_site = WINDOW.get(window, "read"), WINDOW.get(window, "read_site")
        self.also, self.also_site = WINDOW.get(window, "also"), WINDOW.get(window, "also_site")
        self.elsewhere, self.elsewhere_site = WINDOW.get(window, "elsewhere"), WINDOW.get(window, "elsewhere_site")


def cells_of(f: Fn, offset: Value, shift: str) -> tuple[Value, Value]:
    by = of_program(f["w"], shift)
    first = offset >> by
    return first, ((offset + f["width"].zext("i64") - 1) >> by) - first + 1

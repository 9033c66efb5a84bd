"""The body of a kernel, block by block and instruction by instruction."""

from __future__ import annotations

from collections.abc import Callable

from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.analysis.suspensions import is_plain_barrier, suspends
from grader.ptx.ir import Value
from grader.ptx.lowering import control, warpgroups
from grader.ptx.lowering.arithmetic import NoLowering
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.load_groups import Loads, is_settled_at
from grader.ptx.lowering.tables import Tables
from grader.ptx.machine import EXITED
from grader.ptx.opcodes.rows import DEPOSIT, POLL
from grader.ptx.opcodes.traits import Flow
from grader.ptx.syntax import Instruction, Pair, Unread
from grader.ptx.types import BITS, is_signed
from grader.ptx.unsupported import UNFORESEEN, Unsupported

# By width: infinity or, for widths without one, a large number. It survives in a sum and in a maximum.
POISON = {1: 1, 8: 0x7F, 16: 0x7C00, 32: 0x7F80_0000, 64: 0x7FF0_0000_0000_0000, 128: 0x7FF0_0000_0000_0000}


class BodyLowering:
    def __init__(self, u: KernelBuilder, loads: Loads, tables: Tables) -> None:
        self._u, self._loads, self._tables = u, loads, tables

    def lower(self) -> None:
        u, f = self._u, self._u.f
        self._loads.speculated.begin(u)
        cases = " ".join(f'i32 {b.index}, label %"B{b.index}"' for b in u.blocks if b.is_resume and b.index)
        f.line(f'switch i32 {f["pc"]}, label %"start" [{cases}]')
        f.label("start")
        self._poison()
        warpgroups.forget_products(u)
        f.jump(control.label_of(u, 0))
        for block in u.blocks:
            self._block(block)

    def _poison(self) -> None:
        """Give uninitialised registers and local memory a value that cannot lead to a correct result by chance."""
        u, f = self._u, self._u.f
        for name in u.unset:
            bits = BITS[u.function.registers[name]]
            u.registers.home(name).store(f.const(f"i{bits}", POISON[bits]))
        local = u.frame.local_bytes
        if local:
            start = f["frame"].at(u.frame.local_start)
            f.line(f"call void @llvm.memset.p0.i64(ptr {start}, i8 {POISON[8]}, i64 {local}, i1 false)")

    def _block(self, block: Block) -> None:
        u = self._u
        u.f.label(f"B{block.index}")
        u.registers.begin_block()
        if block.is_resume:
            control.resume(u, block)
        self._tables.enter(u, block)
        self._loads.speculated.forget(u, block)
        self._loads.plan(u, block.instructions)
        for position, ins in enumerate(block.instructions):
            u.here = ins
            self._loads.speculated.look(u, ins)
            if is_settled_at(ins):
                self._loads.settle(u)
            self._instruction(block, ins)
            self._loads.passed(ins)
            if ins.traits.orders:
                self._loads.plan(u, block.instructions[position + 1 :])
        last = block.instructions[-1]
        if not (last.traits.branches or suspends(last)) and (not last.traits.ends or last.guard):
            control.leave(u, block)
            u.f.jump(control.label_of(u, block.index + 1))

    def _instruction(self, block: Block, ins: Instruction) -> None:
        u = self._u
        warpgroups.check_touch(u, ins, control.guard_of(u, ins) if ins.guard else None)
        if ins.traits.branches:
            control.branch(u, block, ins)
        elif ins.base == DEPOSIT:
            self._attempt(ins, lambda: self._deposit(block))
        elif ins.base == POLL:
            self._attempt(ins, lambda: control.poll(u, block, u.blocks[block.index + 1], self._tables.poll))
        elif is_plain_barrier(ins):
            control.barrier(u, ins, u.blocks[block.index + 1])
        elif ins.guard:
            self._guarded(ins)
        else:
            self._attempt(ins, lambda: self._plain(ins))

    def _deposit(self, block: Block) -> None:
        u, after = self._u, self._u.blocks[block.index + 1]
        control.suspend(u, after, self._tables.deposit(u, after.instructions[0]))

    def _attempt(self, ins: Instruction, lower: Callable[[], None]) -> None:
        """An instruction that is not known matters only if a thread gets there. What was written of it is dropped."""
        lines, written = self._u.f.lines, len(self._u.f.lines)
        try:
            lower()
        except (Unsupported, *UNFORESEEN) as error:
            del lines[written:]
            self._u.give_up(error if isinstance(error, Unsupported) else self._u.unsupported())
            self._u.registers.begin_block()
            if suspends(ins) or ins.traits.ends:  # nothing follows it
                self._u.f.line("unreachable")

    def _plain(self, ins: Instruction) -> None:
        u, tables = self._u, self._tables
        if not ins.op.is_known or (not ins.traits.hint and any(isinstance(o, Unread) for o in ins.operands)):
            raise u.unsupported()
        if ins.op.row in tables.effects:
            tables.effects[ins.op.row](u, ins)
        elif ins.traits.ends:
            self._loads.settle(u)
            u.trap() if ins.traits.flow is Flow.TRAP else u.exit(EXITED)
        elif not ins.traits.hint:
            self._compute(ins)

    def _guarded(self, ins: Instruction) -> None:
        """Arithmetic is computed and then selected; anything else becomes a branch, with registers in their slots."""
        u, f = self._u, self._u.f
        defs, _ = defs_and_uses(ins)
        condition = control.guard_of(u, ins)
        if ins.traits.computes and self._selected(ins, condition, defs):
            return
        u.registers.store()
        do, after = f.fresh("do"), f.fresh("skip")
        f.branch(condition, do, after)
        f.label(do)
        known = u.registers.known()
        self._attempt(ins, lambda: self._plain(ins))
        self._loads.settle(u)
        u.registers.store()
        if not ins.traits.ends:
            f.jump(after)
        f.label(after)
        u.registers.know({name: value for name, value in known.items() if name not in defs})

    def _selected(self, ins: Instruction, condition: Value, defs: list[str]) -> bool:
        """False if the instruction is not known: then only those that execute it may get there."""
        u, f = self._u, self._u.f
        before, written = {name: u.registers.read(name) for name in defs}, len(f.lines)
        try:
            self._compute(ins)
        except (Unsupported, *UNFORESEEN):
            del f.lines[written:]
            for name, old in before.items():
                u.registers.define(name, old)
            return False
        for name, old in before.items():
            u.registers.define(name, f.select(condition, u.registers.read(name), old))
        return True

    def _compute(self, ins: Instruction) -> None:
        u, handler = self._u, self._tables.values.get(ins.op.row)
        mods = list(ins.modifiers)
        if handler is None:
            raise u.unsupported()
        try:
            result = handler(u, mods, list(ins.operands[1:]))
        except NoLowering as error:
            raise u.unsupported() from error
        destination, signed = ins.operands[0], bool(mods) and is_signed(mods[-1])
        if not isinstance(result, tuple):
            u.assign(destination, result, signed=signed)
        elif isinstance(destination, Pair):
            u.assign(destination.first, result[0], signed=signed)
            u.assign(destination.second, result[1])
        else:  # the second result is optional
            u.assign(destination, result[0], signed=signed)

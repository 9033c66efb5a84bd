"""The body of a kernel that runs warp by warp.

Where lanes part, each block has a mask of the lanes that are to run it, and the first block with a lane is next. A
block that `uniformity` says all lanes run together is entered only with all of them, or the launch is left to the
scalar engine.
"""

from __future__ import annotations

from grader.ptx.analysis.flow import Block, branch_targets
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.analysis.suspensions import is_plain_barrier
from grader.ptx.analysis.uniformity import is_exit
from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic import ARITHMETIC, NoLowering
from grader.ptx.lowering.body import POISON
from grader.ptx.lowering.kernel import FUEL
from grader.ptx.lowering.load_groups import is_settled_at
from grader.ptx.lowering.warps import stores
from grader.ptx.lowering.warps.builder import LEAVE, LEFT, WarpBuilder
from grader.ptx.lowering.warps.collectives import collective
from grader.ptx.lowering.warps.lanes import NotTaken
from grader.ptx.lowering.warps.loads import WarpLoads, aligned
from grader.ptx.machine import EXITED
from grader.ptx.opcodes.rows import ALIGNED, DEPOSIT
from grader.ptx.opcodes.traits import Flow
from grader.ptx.syntax import Instruction, Pair, Unread
from grader.ptx.types import BITS, is_signed

END = "end"  # the label
SPACES = {"shared", "global", "const", "param"}


class WarpBody:
    def __init__(self, u: WarpBuilder) -> None:
        self._u, self._loads = u, WarpLoads()
        self._entered = self._where_lanes_join()

    def lower(self) -> None:
        u, f = self._u, self._u.f
        self._fuel = f.alloca("i64")
        self._fuel.store(f.const("i64", FUEL))
        u.active.store(u.state("live").load("i32"))
        cases = " ".join(f'i32 {b.index}, label %"resume.{b.index}"' for b in u.blocks if b.index in u.resumed)
        f.line(f'switch i32 {f["pc"]}, label %"start" [{cases}]')
        f.label("start")
        for name in u.unset:
            bits = BITS[u.function.registers[name]]
            u.registers.poison(name, POISON[bits])
        u.registers.store()
        f.jump("B0")
        for block in u.blocks:
            self._enter(block)
            self._block(block)
        f.label(END)
        f.ret(f.const("i32", EXITED))
        f.label(LEAVE)
        f.ret(f.const("i32", LEFT))

    def _where_lanes_join(self) -> set[int]:
        """The blocks that lanes come to one after the other."""
        lanes, found = self._u.lanes, set()
        for block in self._u.blocks:
            if block.index in lanes.masked or block.index in lanes.divergent:
                found.update(block.successors)
        return found

    def _enter(self, block: Block) -> None:
        u, f = self._u, self._u.f
        if block.index in u.resumed:
            f.label(f"resume.{block.index}")
            u.registers.begin_block()
            u.registers.restore(block.live_in)
            f.jump(f"B{block.index}")
        if block.index in self._entered:
            f.label(f"enter.{block.index}")
            waiting = u.pending_at(block.index).load("i32")
            taken = f.fresh("taken")
            f.branch(waiting.eq(0), self._next(block.index + 1), taken)
            f.label(taken)
            u.pending_at(block.index).store(f.const("i32", 0))
            u.active.store(waiting)
            if block.index not in u.lanes.masked:
                u.require(waiting.eq(u.state("live").load("i32")))
            f.jump(f"B{block.index}")

    def _next(self, index: int) -> str:
        """The label at which to look for waiting lanes, from this block on."""
        later = [i for i in self._entered if i >= index]
        return f"enter.{min(later)}" if later else END

    def _block(self, block: Block) -> None:
        u = self._u
        u.f.label(f"B{block.index}")
        u.registers.begin_block()
        u.mask, u.selects = u.active.load("i32"), block.index in u.lanes.masked
        self._loads.plan(u, block.instructions)
        for position, ins in enumerate(block.instructions):
            u.here = ins
            if is_settled_at(ins):
                self._loads.settle(u)
            self._instruction(block, ins)
            self._loads.passed(ins)
            if is_settled_at(ins):
                self._loads.plan(u, block.instructions[position + 1 :])
        last = block.instructions[-1]
        if not (last.traits.branches or is_plain_barrier(last)) and (not last.traits.ends or last.guard):
            self._leave(block)
            self._go(block, [(block.index + 1, u.mask)])

    # Control flow -----------------------------------------------------------------------------------------------

    def _leave(self, block: Block) -> None:
        """Before any jump: run pending checks, and store the registers that successors read."""
        u = self._u
        self._loads.settle(u)
        u.registers.store(frozenset[str]().union(*(u.blocks[s].live_in for s in block.successors)))

    def _go(self, block: Block, ways: list[tuple[int, Value]]) -> None:
        """On to these blocks, each with these lanes."""
        u, f = self._u, self._u.f
        if len(ways) == 1 and block.index not in u.lanes.masked:
            ((target, lanes),) = ways
            u.active.store(lanes)
            f.jump(f"B{target}")
            return
        back: list[tuple[int, Value]] = []
        for target, lanes in ways:
            waiting = u.pending_at(target).load("i32") | lanes
            u.pending_at(target).store(waiting)
            if target <= block.index:
                back.append((target, waiting))
        for target, waiting in back:
            go_on = f.fresh("on")
            f.branch(waiting.ne(0), f"enter.{target}", go_on)
            f.label(go_on)
        f.jump(self._next(block.index + 1))

    def _branch(self, block: Block, ins: Instruction) -> None:
        u, f = self._u, self._u.f
        if ins.traits.flow is Flow.SWITCH or block.yields:
            raise NotTaken(ins.opcode)
        self._leave(block)
        (target,) = block.successors[: len(branch_targets(u.function, ins))]
        if target <= block.index:
            self._spend(target, block.index)
        if not ins.guard:
            self._go(block, [(target, u.mask)])
            return
        condition = self._guard(ins)
        if block.index not in u.lanes.masked and not f.varies(condition):
            u.active.store(u.mask)
            f.branch(condition, f"B{target}", f"B{block.index + 1}")
            return
        yes = u.bits(condition) & u.mask
        ways = [(target, yes), (block.index + 1, u.mask & (yes ^ -1))]
        leaving = [way for way in ways if is_exit(u.blocks[way[0]])]
        if len(leaving) != 1:
            self._go(block, ways)
            return
        (rest,) = (way for way in ways if way not in leaving)
        self._exit(block, leaving[0][1], rest[1])
        self._go(block, [rest])

    def _exit(self, block: Block, leaving: Value, rest: Value) -> None:
        """These lanes leave the kernel; the rest goes on, if there is one."""
        u, f = self._u, self._u.f
        live = u.state("live")
        live.store(live.load("i32") & (leaving ^ -1))
        go_on = f.fresh("on")
        after = self._next(block.index + 1) if block.index in u.lanes.masked else END
        f.branch(rest.eq(0), after, go_on)
        f.label(go_on)

    def _spend(self, start: int, end: int) -> None:
        """Charge one iteration of a loop to the budget, and look now and then whether the launch must end."""
        u, f = self._u, self._u.f
        left = self._fuel.load("i64") - sum(len(b.instructions) for b in u.blocks[start : end + 1])
        self._fuel.store(left)
        with f.when(left.icmp("slt", 0), likely=False):
            self._fuel.store(f.const("i64", FUEL))
            u.require(f.call("i32", "lanes_tick", u.worker, f.const("i64", FUEL)).eq(0))

    def _barrier(self, block: Block) -> None:
        """All lanes that the warp had at first must be here."""
        u, f = self._u, self._u.f
        self._loads.settle(u)
        u.require(u.mask.eq(u.state("whole").load("i32")))
        after = u.blocks[block.index + 1]
        u.registers.save(after.live_in)
        f.ret(f.const("i32", after.index))

    # Instructions -----------------------------------------------------------------------------------------------

    def _guard(self, ins: Instruction) -> Value:
        assert ins.guard
        value = self._u.registers.read(ins.guard)
        return value ^ 1 if ins.guard_negated else value

    def _instruction(self, block: Block, ins: Instruction) -> None:
        u = self._u
        if not ins.op.is_known or (not ins.traits.hint and any(isinstance(o, Unread) for o in ins.operands)):
            raise NotTaken(ins.opcode)
        if ins.traits.branches:
            self._branch(block, ins)
        elif is_plain_barrier(ins) and not ins.guard:
            self._barrier(block)
        elif ins.traits.ends:
            self._end(block, ins)
        elif ins.traits.hint and not ins.traits.pauses:
            return
        elif ins.traits.computes:
            self._compute(ins)
        elif ins.base == DEPOSIT:
            return  # all lanes bring their words at once
        elif ins.traits.collective is not None and not ins.guard:
            collective(u, ins)
        elif ins.base == ALIGNED and not ins.guard:
            aligned(u, ins)
        elif ins.traits.loads or ins.traits.stores:
            self._access(ins)
        else:
            raise NotTaken(ins.opcode)

    def _end(self, block: Block, ins: Instruction) -> None:
        u = self._u
        if ins.traits.flow is Flow.TRAP:
            raise NotTaken(ins.opcode)
        self._loads.settle(u)
        u.registers.store()
        zero = u.f.const("i32", 0)
        leaving = u.bits(self._guard(ins)) & u.mask if ins.guard else u.mask
        rest = u.mask & (leaving ^ -1) if ins.guard else zero
        self._exit(block, leaving, rest)
        if ins.guard:
            u.mask = rest
        else:
            u.f.line("unreachable")

    def _compute(self, ins: Instruction) -> None:
        u, f = self._u, self._u.f
        handler = ARITHMETIC.get(ins.op.row)
        if handler is None:
            raise NotTaken(ins.opcode)
        defs, _ = defs_and_uses(ins)
        condition = self._guard(ins) if ins.guard else None
        before = {name: u.registers.read(name) for name in defs} if ins.guard else {}
        mods = list(ins.modifiers)
        try:
            result = handler(u, mods, list(ins.operands[1:]))  # type: ignore[arg-type]
        except NoLowering as error:
            raise NotTaken(ins.opcode) from error
        destination, signed = ins.operands[0], bool(mods) and is_signed(mods[-1])
        first = result[0] if isinstance(result, tuple) else result
        if isinstance(destination, Pair):
            assert isinstance(result, tuple)
            u.assign(destination.first, first, signed=signed)
            u.assign(destination.second, result[1])
        else:
            u.assign(destination, first, signed=signed)
        if condition is not None:
            for name, old in before.items():
                u.registers.define(name, f.select(condition, u.registers.read(name), old))

    def _access(self, ins: Instruction) -> None:
        u = self._u
        if ins.op.is_strong or ins.op.space not in SPACES or not ins.op.element_bytes:
            raise NotTaken(ins.opcode)
        access = self._loads.load if ins.traits.loads else stores.store
        if not ins.guard or ins.op.space == "param":
            if ins.guard:
                raise NotTaken(ins.opcode)
            access(u, ins)
            return
        u.registers.store()
        lanes = u.bits(self._guard(ins)) & u.mask
        known = u.registers.known()
        with u.only(lanes):
            access(u, ins)
            self._loads.settle(u)
            u.registers.store()
        defs, _ = defs_and_uses(ins)
        u.registers.know({name: value for name, value in known.items() if name not in defs})

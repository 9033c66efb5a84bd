"""Copies of tiles by tensor map: cp.async.bulk.tensor and cp.reduce.async.bulk.tensor, in tile mode.

PTX ISA, "Data Movement and Conversion Instructions: Tensor copy". The runtime's part is in runtime/tensor_copies.py.
"""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.async_copies import MULTICAST, each_target
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.mbarriers import SPACES, use_of
from grader.ptx.machine import DROPS, WORKER, Kind
from grader.ptx.runtime.bulk_copies import CHUNK
from grader.ptx.runtime.tensor_copies import MAP_ALIGN, REDUCES, REDUCTIONS, STORES
from grader.ptx.syntax import Address, Instruction, Operand, Register, Symbol, Vector
from grader.ptx.tensor_maps import MAX_RANK

DIMENSIONS = {f"{n}d": n for n in range(1, 6)}
LOAD = {"tile", "mbarrier::complete_tx::bytes", MULTICAST, "global"}
STORE = {"tile", "bulk_group", "global", "shared::cta"}
REGISTERS = range(24, 257, 8)  # what setmaxnreg can ask for


def copy(u: KernelBuilder, ins: Instruction) -> None:
    """A load: target, map with coordinates, mbarrier [, mask]. A store: map with coordinates, source."""
    rank, mods = _rank(u, ins, 3), set(ins.modifiers[4:])
    if "bulk_group" in mods:
        if mods != STORE and mods != STORE - {"tile"}:
            raise u.unsupported()
        _store(u, ins, rank, STORES)
        return
    if mods - LOAD - SPACES or not mods & SPACES or (MULTICAST in mods) != (len(ins.operands) == 4):
        raise u.unsupported()
    f = u.f
    map_, at = _map(u, ins.operands[1], rank)
    target = address_of(u, ins.operands[0])
    *_, mbarrier, mbarrier_site = use_of(u, ins, ins.operands[2])
    sites = _sites(u, "st.shared.bulk", "ld.global.bulk")
    with f.when(map_.ne("null")):
        _must_be_known(u, map_, 0)
        size = f.call("i32", "tensor_bytes", map_)
        for to, signal in each_target(u, ins.operands[3:], target, mbarrier):
            f.call("void", "tensor_load", u.worker, u.me, to, map_, at, *sites, size, signal, mbarrier_site)
    u.passes()


def reduce(u: KernelBuilder, ins: Instruction) -> None:
    """Operands: map with coordinates, source."""
    rank, mods = _rank(u, ins, 4), set(ins.modifiers[5:])
    operation = next((name for name in REDUCTIONS if name in mods), None)
    if operation is None or mods - STORE != {operation}:
        raise u.unsupported()
    _store(u, ins, rank, REDUCES + REDUCTIONS.index(operation))


def _rank(u: KernelBuilder, ins: Instruction, at: int) -> int:
    rank = DIMENSIONS.get(ins.modifiers[at]) if len(ins.modifiers) > at else None
    if rank is None:
        raise u.unsupported()
    return rank


def _store(u: KernelBuilder, ins: Instruction, rank: int, how: int) -> None:
    f = u.f
    map_, at = _map(u, ins.operands[0], rank)
    source = address_of(u, ins.operands[1])
    reduces = how >= REDUCES
    site = f.const("i32", u.site(CHUNK, opcode="ld.shared.bulk"))
    opcode = "red.global.bulk" if reduces else "st.global.bulk"
    global_site = f.const("i32", u.site(CHUNK, opcode=opcode, strong=reduces) | (DROPS if reduces else 0))
    with f.when(map_.ne("null")):
        _must_be_known(u, map_, how)
        size = f.call("i32", "tensor_bytes", map_)
        tile = (u.worker, u.me, source, map_, at, site, global_site)
        WORKER.set(u.worker, "tile_bytes", size)
        good = f.call("i32", "tile_good", *tile, size, f.const("i32", 0))
        with f.when(good.ne(0)):
            f.call("void", "tile_copy", *tile, f.const("ptr", "null"), f.const("i32", how))
            nowhere = f.const("i64", 0)
            f.call("void", "bulk_reads", u.worker, u.me, nowhere, source, size, global_site, site, f["frame"])
        WORKER.set(u.worker, "tile_bytes", f.const("i32", 0))
    u.passes()


def _sites(u: KernelBuilder, *opcodes: str) -> list[Value]:
    return [u.f.const("i32", u.site(CHUNK, opcode=opcode)) for opcode in opcodes]


def _map(u: KernelBuilder, operand: Operand, rank: int) -> tuple[Value, Value]:
    """Host address of the map, or null; and that of its coordinates."""
    f = u.f
    if not isinstance(operand, Vector) or len(operand.items) != 2:
        raise u.unsupported()
    place, coordinates = operand.items
    items = coordinates.items if isinstance(coordinates, Vector) else (coordinates,)
    if len(items) != rank or not isinstance(place, Register | Symbol):
        raise u.unsupported()
    at = f.alloca("[8 x i32]", 4)
    for i in range(MAX_RANK):
        at.at(4 * i).store(u.value(items[i], "s32") if i < rank else f.const("i32", 0))
    site = f.const("i32", u.site(MAP_ALIGN, opcode="ld.global.tensormap"))
    address = address_of(u, Address(place))
    return f.call("ptr", "tensor_map", u.worker, u.me, address, site, f.const("i64", rank)), at


def _must_be_known(u: KernelBuilder, map_: Value, how: int) -> None:
    f = u.f
    with f.when(f.call("i32", "tensor_known", map_, f.const("i32", how)).eq(0), likely=False):
        u.give_up(u.unsupported(f"what a tensor map of {u.here.opcode} asks for"))
        f.line("unreachable")
        f.label(f.fresh("dead"))


def registers(u: KernelBuilder, ins: Instruction) -> None:
    """setmaxnreg: how many registers a thread has makes no difference here."""
    count = u.value(ins.operands[0], "u32")
    low, step = count - REGISTERS.start, REGISTERS.step
    bad = low.ugt(REGISTERS[-1] - REGISTERS.start) | (low & (step - 1)).ne(0)
    with u.f.when(bad, likely=False):
        u.fail(Kind.REGISTER_COUNT, count.zext("i64"))
        u.f.label(u.f.fresh("dead"))


HANDLERS = {"cp.async.bulk.tensor": copy, "cp.reduce.async.bulk.tensor": reduce, "setmaxnreg": registers}

"""Lays out memory: shared arrays, a thread's frame, the parameter block, module variables."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from grader.ptx.analysis.accumulators import PRODUCT as WGMMA
from grader.ptx.analysis.flow import Block
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.analysis.rewrites import may_rewrite
from grader.ptx.analysis.shapes import Frame, SharedMap
from grader.ptx.lowering.special_registers import RESERVED_BYTES, asks_for_reserved
from grader.ptx.machine import (
    ARENA_TAIL,
    COPY,
    FRAME_HEADER,
    FUNCTION_WINDOW,
    MAX_COPIES,
    MAX_SHARED_BYTES,
    PRODUCT,
    SHARED_GUARD,
    VARIABLE_WINDOW,
    kernel_address,
)
from grader.ptx.opcodes.rows import POLL, PUSH
from grader.ptx.syntax import Address, Function, Instruction, Module, Operand, Symbol, Variable, Vector
from grader.ptx.types import BITS

RESERVED = "shared memory reserved for CUDA"  # an array of its own, in kernels that ask where it lies
STACK_BYTES = 16384  # per thread, if the kernel calls recursive functions


def symbols_of(operands: tuple[Operand, ...]) -> list[str]:
    names = []
    for operand in operands:
        if isinstance(operand, Symbol):
            names.append(operand.name)
        elif isinstance(operand, Address) and isinstance(operand.base, Symbol):
            names.append(operand.base.name)
        elif isinstance(operand, Vector):
            names += symbols_of(operand.items)
    return names


def parameter_layout(function: Function) -> tuple[list[int], int]:
    """Byte offset of each kernel parameter, and the total size. PTX aligns each to its own size."""
    offsets, at = [], 0
    for parameter in function.parameters:
        at = _aligned(at, parameter.align or min(parameter.bytes, 8))
        offsets.append(at)
        at += parameter.bytes
    return offsets, at


def function_addresses(module: Module) -> dict[str, int]:
    """A number for each function that a pointer may hold; from it no memory is in reach."""
    functions = (name for name, function in module.functions.items() if not function.is_entry)
    return {name: kernel_address(FUNCTION_WINDOW) + 16 * k for k, name in enumerate(functions)}


def variable_windows(module: Module) -> dict[str, int]:
    """The window of each global or constant variable that is referenced, directly or by an initialiser."""
    used: set[str] = set()
    for function in module.functions.values():
        for item in function.body:
            if isinstance(item, Instruction):
                used.update(symbols_of(item.operands))
    waiting = [v for v in module.variables.values() if v.name in used and v.space in ("global", "const")]
    windows: dict[str, int] = {}
    while waiting:
        variable = waiting.pop(0)
        if variable.name not in windows:
            windows[variable.name] = VARIABLE_WINDOW + len(windows)
            waiting += [module.variables[s] for _, s, _ in variable.relocations if s in module.variables]
    return windows


SWIZZLED_LINE = 1024  # bytes; what swizzles looks at so many of an address
SWIZZLING = {"cp.async.bulk.tensor", "cp.reduce.async.bulk.tensor", "wgmma.mma_async"}
TILE_GRANULE = 2  # of what is stored by tensor map: only that knows how large an element is
LEAST_BLOCK_BYTES = 1 << 18  # of the arena, for a block of a cluster: matrix descriptors have so many bits
SHARED_LINE = 128  # bytes; no instruction asks for more, but by an array's own alignment


@dataclass(frozen=True)
class SharedLayout:
    map: SharedMap
    addresses: dict[str, int]  # in a block's part of the arena, as in `arrays`
    arrays: dict[str, tuple[int, int]]  # name -> (start, size)


def lay_out_shared(module: Module, function: Function, blocks: list[Block]) -> SharedLayout:
    """Static shared arrays with guards in between, then dynamic shared memory.

    ptxas puts arrays one after the other, each aligned as its type asks and no further. Here each is as far from a
    multiple of SHARED_LINE as there, so that a wider access is as aligned as on a GPU.
    """
    used = {s for b in blocks for i in b.instructions for s in symbols_of(i.operands)}
    variables = {**module.variables, **function.variables}.values()
    shared = [v for v in variables if v.space == "shared" and v.name in used]
    at, packed, addresses, arrays = SHARED_GUARD, 0, {}, {}
    line_bytes = SWIZZLED_LINE if any(i.op.row in SWIZZLING for b in blocks for i in b.instructions) else SHARED_LINE
    for variable in (v for v in shared if v.size):
        packed, line = _aligned(packed, variable.align), max(variable.align, line_bytes)
        at += (packed - at) % line
        packed += variable.size
        addresses[variable.name] = at
        arrays[variable.name] = (at, variable.size)
        at += variable.size + SHARED_GUARD
    if asks_for_reserved(blocks):
        addresses[RESERVED], arrays[RESERVED] = at, (at, RESERVED_BYTES)
        at += RESERVED_BYTES + SHARED_GUARD
    dynamic = [v for v in shared if not v.size]
    start = _aligned(at, max([1024, *(v.align for v in dynamic)]))
    addresses |= {v.name: start for v in dynamic}
    static = sum(size for _, size in arrays.values())
    arena = _aligned(start + (MAX_SHARED_BYTES - static if dynamic else 0) + ARENA_TAIL, 1024)
    count = prod(function.cluster)
    step = max(1 << (arena - 1).bit_length(), LEAST_BLOCK_BYTES) if count > 1 else arena
    polls = count > 1 or any(ins.base == POLL for block in blocks for ins in block.instructions)
    map_ = SharedMap(
        tuple((at + rank * step, size) for rank in range(count) for at, size in arrays.values()),
        start,
        count * step,
        granule(blocks, "shared"),
        polls,
        may_rewrite(blocks, in_cluster=count > 1),
        count,
        step,
        bool(dynamic),
    )
    return SharedLayout(map_, addresses, arrays)


def granule(blocks: list[Block], space: str) -> int:
    """Bytes per shadow cell: the width of the narrowest access to `space`, at most 4."""
    widths = {4}
    for ins in (i for b in blocks for i in b.instructions):
        if ins.traits.by_element and ins.op.space in (space, "generic"):
            widths.add(max(BITS.get(ins.op.type, 32) // 8, 1))
        if space == "global" and ins.op.row in SWIZZLING and "bulk_group" in ins.modifiers:
            widths.add(TILE_GRANULE)
    return min(widths)


@dataclass(frozen=True)
class FrameLayout:
    frame: Frame
    slots: dict[str, int]  # registers that outlive a suspension -> offset
    resident: frozenset[str]  # those that live only in the frame
    locals: dict[str, int]  # .local variables -> offset in local memory
    stack_start: int  # the stack for recursion: the number of bytes in use, then the bytes


def lay_out_frame(function: Function, blocks: list[Block]) -> FrameLayout:
    at, slots = FRAME_HEADER, {}
    saved: set[str] = set().union(*(b.live_in for b in blocks if b.is_resume))
    for name in sorted(saved & function.registers.keys()):
        size = max(BITS[function.registers[name]] // 8, 1)
        at = _aligned(at, size)
        slots[name] = at
        at += size
    local_start, local, locals_ = _aligned(at, 16), 0, {}
    for variable in _local_variables(function):
        local = _aligned(local, max(variable.align, 16))
        locals_[variable.name] = local
        local += variable.size
    copies = _aligned(local_start + local, 16)
    instructions = [i for b in blocks for i in b.instructions]
    stack = _aligned(copies + (MAX_COPIES * COPY.size if any(i.traits.asynchronous for i in instructions) else 0), 16)
    products = stack + (8 + STACK_BYTES if any(i.base == PUSH for i in instructions) else 0)
    count = sum(i.op.row == WGMMA for i in instructions)
    end = products + PRODUCT.size * count
    # An odd number of cache lines, so that the frames of neighbouring threads do not share cache sets.
    stride = (_aligned(end, 64) // 64 | 1) * 64
    resident = frozenset(written_once(blocks) & slots.keys())
    frame = Frame(local_start, local, copies, products, count, stride)
    return FrameLayout(frame, slots, resident, locals_, stack)


def _local_variables(function: Function) -> list[Variable]:
    return [v for v in function.variables.values() if v.space == "local"]


def written_once(blocks: list[Block]) -> set[str]:
    """Registers with a single definition. If they outlive a suspension they live in the frame, so that a barrier need
    not save and restore them."""
    seen: set[str] = set()
    again: set[str] = set()
    for ins in (i for b in blocks for i in b.instructions):
        for name in defs_and_uses(ins)[0]:
            (again if name in seen or ins.guard else seen).add(name)
    return seen - again


def _aligned(at: int, align: int) -> int:
    return (at + align - 1) // align * align

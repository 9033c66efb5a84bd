"""Instructions of the interpreter that do not wait: arithmetic, memory accesses, copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grader.ptx.definition import mbarrier, semantics, tensor
from grader.ptx.definition.atomic import ATOMICS
from grader.ptx.definition.computation import unpack
from grader.ptx.definition.formats import FORMATS, decode
from grader.ptx.definition.fragments import wmma_fragment
from grader.ptx.definition.spaces import InterpreterError
from grader.ptx.definition.state import LOCAL_WINDOW, SHARED_STRETCH, SHARED_WINDOW, State
from grader.ptx.syntax import Instruction, Operand, Pair, Vector, items_of
from grader.ptx.types import BITS

DISCARDED = 0x7F
CLUSTER_MOST = 1 << 8  # more blocks than a cluster can have; a divisor of what generic addresses start with


def compute(thread: State, instruction: Instruction) -> None:
    opcode = instruction.opcode
    types = semantics.signature(opcode)
    target, *sources = instruction.operands
    values = [thread.read(s, t) for s, t in zip(sources, types.operands, strict=False)]
    if len(types.operands) == len(values) + 1:
        values.append(thread.carry)
    results = semantics.evaluate(opcode, values)
    results = results if isinstance(results, tuple) else (results,)
    targets = [target.first, target.second] if isinstance(target, Pair) else [target]
    if instruction.op.writes_carry:
        thread.carry = results[1]
    for register, type_, result in zip(targets, types.results, results, strict=False):
        thread.write(register, type_, result)


def _move(thread: State, instruction: Instruction) -> None:
    target, source = instruction.operands
    type_ = instruction.op.type
    if isinstance(source, Vector):
        element = f"b{BITS[type_] // len(source.items)}"
        values = [thread.read(item, element) for item in source.items]
        result = semantics.evaluate(f"mov.pack{len(values)}.{type_}", values)
        assert isinstance(result, int)
        thread.write(target, type_, result)
    elif isinstance(target, Vector):
        opcode = f"mov.unpack{len(target.items)}.{type_}"
        results = semantics.evaluate(opcode, [thread.read(source, type_)])
        assert isinstance(results, tuple)
        element = f"b{BITS[type_] // len(target.items)}"
        for item, value in zip(target.items, results, strict=True):
            thread.write(item, element, value)
    else:
        thread.write(target, type_, thread.read(source, type_))


def _to_or_from_generic(thread: State, instruction: Instruction) -> None:
    op, (target, source) = instruction.op, instruction.operands
    sign = -1 if "to" in op.modifiers else 1
    window = {"shared": SHARED_WINDOW, "local": LOCAL_WINDOW}.get(op.space, 0)
    thread.write(target, op.type, thread.read(source, op.type) + sign * window)


def _is_space(thread: State, instruction: Instruction) -> None:
    address = thread.read(instruction.operands[1], "u64")
    space = "shared" if SHARED_WINDOW <= address < LOCAL_WINDOW else "local" if address >= LOCAL_WINDOW else "global"
    thread.write(instruction.operands[0], "pred", int(instruction.op.space == space))


def _load(thread: State, instruction: Instruction) -> None:
    op, (target, source, *_) = instruction.op, instruction.operands
    for register, data in zip(items_of(target), thread.cells(op, source), strict=True):
        thread.write(register, op.type, int.from_bytes(data, "little"))


def _store(thread: State, instruction: Instruction) -> None:
    op, (target, source, *_) = instruction.op, instruction.operands
    for value, data in zip(items_of(source), thread.cells(op, target), strict=True):
        data[:] = thread.read(value, op.type).to_bytes(len(data), "little")


def _discard(thread: State, instruction: Instruction) -> None:
    """The bytes become unspecified; here they get the value DISCARDED."""
    place, size = instruction.operands
    data = thread.memory(instruction.op.space, place, thread.read(size, "u32"))
    data[:] = bytes([DISCARDED]) * len(data)


def _atomic(thread: State, instruction: Instruction) -> None:
    """atom and red: read, combine, write. One thread runs at a time, so this is atomic."""
    op, operands = instruction.op, list(instruction.operands)
    target = operands.pop(0) if instruction.traits.result else None
    type_ = op.type
    cells = thread.cells(op, operands[0])
    values = [[thread.read(item, type_) for item in items_of(operand)] for operand in operands[1:]]
    operation = ATOMICS[next(m for m in op.modifiers if m in ATOMICS)]
    olds = [int.from_bytes(data, "little") for data in cells]
    for data, old, *arguments in zip(cells, olds, *values, strict=True):
        in_shared = any(data.obj is shared.obj for shared in thread.cluster)
        data[:] = operation(type_, in_shared, old, *arguments).to_bytes(len(data), "little")
    if target is not None:
        for register, old in zip(items_of(target), olds, strict=True):
            thread.write(register, type_, old)


def _copy_async(thread: State, instruction: Instruction) -> None:
    """The bytes are read at once and written at the wait. Operands: destination, source, bytes [, bytes to read]."""
    operands = instruction.operands
    size = thread.read(operands[2], "u32")
    count = thread.read(operands[3], "u32") if len(operands) > 3 else size
    data = bytes(thread.memory("global", operands[1], size)[:count]) if count else b""
    thread.copies.append((thread.memory("shared", operands[0], size), data.ljust(size, b"\0")))


def _commit_group(thread: State, _: Instruction) -> None:
    thread.groups.append(thread.copies)
    thread.copies = []


def _wait_group(thread: State, instruction: Instruction) -> None:
    _finish(thread, thread.read(instruction.operands[0], "u32"))


def _wait_all(thread: State, instruction: Instruction) -> None:
    _commit_group(thread, instruction)
    _finish(thread, 0)


def _finish(thread: State, keep: int) -> None:
    """Complete all groups but the last `keep`."""
    while len(thread.groups) > keep:
        for target, data in thread.groups.pop(0):
            target[:] = data


def _fragment_cells(thread: State, instruction: Instruction, operands: Sequence[Operand]) -> list[memoryview]:
    """The memory of each element that this lane holds of a wmma fragment."""
    op, mods = instruction.op, instruction.modifiers
    shape = next(m for m in mods if m.startswith("m") and m[1].isdigit())
    layout = "col" if "col" in mods else "row"
    fragment = wmma_fragment(mods[1] if mods[1] in "ab" else "c", shape, op.type, layout)
    base, size = thread.read(operands[0], "u64"), max(fragment.bits // 8, 1)
    least = fragment.columns if layout == "row" else fragment.rows
    stride = thread.read(operands[1], "u32") if len(operands) > 1 else least
    by_byte = fragment.places[thread.lane][:: max(8 // fragment.bits, 1)]
    offsets = (r * stride + c if layout == "row" else c * stride + r for r, c in by_byte)
    return [thread.at(op.space, base + offset * fragment.bits // 8, size) for offset in offsets]


def _load_fragment(thread: State, instruction: Instruction) -> None:
    target, *source = instruction.operands
    data = b"".join(_fragment_cells(thread, instruction, source))
    size = len(data) // len(items_of(target))
    for i, register in enumerate(items_of(target)):
        thread.write(register, f"b{8 * size}", int.from_bytes(data[i * size : (i + 1) * size], "little"))


def _store_fragment(thread: State, instruction: Instruction) -> None:
    target, source, *stride = instruction.operands
    cells = _fragment_cells(thread, instruction, [target, *stride])
    registers = items_of(source)
    bits = 8 * sum(map(len, cells)) // len(registers)
    data = b"".join(thread.read(r, f"b{bits}").to_bytes(bits // 8, "little") for r in registers)
    for i, cell in enumerate(cells):
        cell[:] = data[i * len(cell) : (i + 1) * len(cell)]


def _trap(_thread: State, _: Instruction) -> None:
    raise InterpreterError("trap")


def _fuse(thread: State, instruction: Instruction) -> None:
    """fma.oob is fma, but a NaN that stands for what lies outside a tensor gives 0. Which NaN is left open."""
    opcode = instruction.opcode.replace(".oob", "")
    target, *sources = instruction.operands
    type_ = instruction.op.type
    values = [thread.read(source, type_) for source in sources]
    halves = [half for value in values[:2] for half in unpack(value, BITS[type_] // 16, 16)]
    if any(decode(FORMATS[type_.removesuffix("x2")], half).is_nan for half in halves):
        raise InterpreterError(f"{instruction.opcode} of NaN")
    result = semantics.evaluate(opcode, values)
    assert isinstance(result, int)
    thread.write(target, type_, result)


def _policy(thread: State, instruction: Instruction) -> None:
    """createpolicy: cache policies are ignored."""
    thread.write(instruction.operands[0], "b64", 0)


def _map_address(thread: State, instruction: Instruction) -> None:
    """mapa: the same variable of another block of the cluster."""
    target, place, rank = instruction.operands
    number, address = thread.read(rank, "u32"), thread.read(place, instruction.op.type)
    if number >= len(thread.cluster):
        raise InterpreterError(f"no block {number} in a cluster of {len(thread.cluster)}")
    own = address // SHARED_STRETCH % CLUSTER_MOST
    thread.write(target, instruction.op.type, address + (number - own) * SHARED_STRETCH)


def _rank(thread: State, instruction: Instruction) -> None:
    """getctarank"""
    address = thread.read(instruction.operands[1], instruction.op.type)
    thread.write(instruction.operands[0], "u32", address // SHARED_STRETCH % CLUSTER_MOST)


def _nothing(_thread: State, _: Instruction) -> None:
    """Fences: with one thread at a time, memory is always up to date."""


# By the key of the row in opcodes/rows.py.
EFFECTS: dict[str, Callable[[State, Instruction], None]] = {
    "ld": _load,
    "ldu": _load,
    "st": _store,
    "mov": _move,
    "trap": _trap,
    "createpolicy": _policy,
    "fma.rn.oob": _fuse,
    "mapa": _map_address,
    "getctarank": _rank,
    "cvta": _to_or_from_generic,
    "isspacep": _is_space,
    "discard": _discard,
    "atom": _atomic,
    "red": _atomic,
    "cp.async.ca": _copy_async,
    "cp.async.cg": _copy_async,
    "cp.async.commit_group": _commit_group,
    "cp.async.wait_group": _wait_group,
    "cp.async.wait_all": _wait_all,
    "wmma.load": _load_fragment,
    "wmma.store": _store_fragment,
    **mbarrier.EFFECTS,
    **tensor.EFFECTS,
    "wgmma.commit_group": _nothing,
    **dict.fromkeys(("membar", "fence", "fence.mbarrier_init", "fence.proxy.async"), _nothing),
}

"""Instructions of one interpreted thread that wait for nobody: arithmetic, memory, copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grader.ptx.definition import mbarrier, semantics
from grader.ptx.definition.atomic import ATOMICS
from grader.ptx.definition.fragments import wmma_fragment
from grader.ptx.definition.instruction import WIDTHS
from grader.ptx.definition.spaces import InterpreterError
from grader.ptx.definition.state import LOCAL_WINDOW, SHARED_WINDOW, State, items_of, space_of
from grader.ptx.syntax import Instruction, Operand, Pair, Vector


def compute(thread: State, instruction: Instruction) -> None:
    opcode, (target, *sources) = instruction.opcode, instruction.operands
    types = semantics.signature(opcode)
    values = [thread.read(s, t) for s, t in zip(sources, types.operands, strict=False)]
    if len(types.operands) == len(values) + 1:
        values.append(thread.carry)
    results = semantics.evaluate(opcode, values)
    results = results if isinstance(results, tuple) else (results,)
    targets = [target.first, target.second] if isinstance(target, Pair) else [target]
    if ".cc." in opcode:
        thread.carry = results[1]
    for register, type_, result in zip(targets, types.results, results, strict=False):
        thread.write(register, type_, result)


def _move(thread: State, instruction: Instruction) -> None:
    target, source = instruction.operands
    type_ = instruction.opcode.split(".")[-1]
    if isinstance(source, Vector):
        lane = f"b{WIDTHS[type_] // len(source.items)}"
        lanes = [thread.read(item, lane) for item in source.items]
        result = semantics.evaluate(f"mov.pack{len(lanes)}.{type_}", lanes)
        assert isinstance(result, int)
        thread.write(target, type_, result)
    elif isinstance(target, Vector):
        opcode = f"mov.unpack{len(target.items)}.{type_}"
        lanes = semantics.evaluate(opcode, [thread.read(source, type_)])  # type: ignore[assignment]
        lane = f"b{WIDTHS[type_] // len(target.items)}"
        for item, value in zip(target.items, lanes, strict=True):
            thread.write(item, lane, value)
    else:
        thread.write(target, type_, thread.read(source, type_))


def _to_or_from_generic(thread: State, instruction: Instruction) -> None:
    parts = instruction.opcode.split(".")
    target, source = instruction.operands
    sign = -1 if "to" in parts else 1
    window = {"shared": SHARED_WINDOW, "local": LOCAL_WINDOW}.get(space_of(parts), 0)
    thread.write(target, parts[-1], thread.read(source, parts[-1]) + sign * window)


def _load(thread: State, instruction: Instruction) -> None:
    parts = instruction.opcode.split(".")
    target, source = instruction.operands[:2]
    for register, data in zip(items_of(target), thread.cells(parts, source), strict=True):
        thread.write(register, parts[-1], int.from_bytes(data, "little"))


def _store(thread: State, instruction: Instruction) -> None:
    parts = instruction.opcode.split(".")
    target, source = instruction.operands[:2]
    for value, data in zip(items_of(source), thread.cells(parts, target), strict=True):
        data[:] = thread.read(value, parts[-1]).to_bytes(len(data), "little")


def _atomic(thread: State, instruction: Instruction) -> None:
    """atom and red: read, combine, write; one thread runs at a time, so nothing comes between."""
    parts = instruction.opcode.split(".")
    operands = list(instruction.operands)
    target = operands.pop(0) if instruction.base == "atom" else None
    type_ = parts[-1]
    cells = thread.cells(parts, operands[0])
    values = [[thread.read(item, type_) for item in items_of(operand)] for operand in operands[1:]]
    operation = ATOMICS[next(p for p in parts if p in ATOMICS)]
    olds = [int.from_bytes(data, "little") for data in cells]
    for data, old, *arguments in zip(cells, olds, *values, strict=True):
        in_shared = data.obj is thread.shared.obj
        data[:] = operation(type_, in_shared, old, *arguments).to_bytes(len(data), "little")
    if target is not None:
        for register, old in zip(items_of(target), olds, strict=True):
            thread.write(register, type_, old)


def _copy_async(thread: State, instruction: Instruction) -> None:
    """The bytes are read at once and arrive at the wait."""
    parts, operands = instruction.opcode.split("."), list(instruction.operands)
    if parts[2:4] == ["mbarrier", "arrive"]:
        mbarrier.arrive_after_copies(thread, instruction)
    elif parts[2] == "bulk":
        mbarrier.bulk(thread, instruction)
    elif parts[2] == "commit_group":
        thread.groups.append(thread.copies)
        thread.copies = []
    elif parts[2] in ("wait_group", "wait_all"):
        if parts[2] == "wait_all":
            thread.groups.append(thread.copies)
            thread.copies = []
        keep = thread.read(operands[0], "u32") if parts[2] == "wait_group" else 0
        while len(thread.groups) > keep:
            for target, data in thread.groups.pop(0):
                target[:] = data
    elif parts[2] in ("ca", "cg"):
        size = thread.read(operands[2], "u32")
        count = thread.read(operands[3], "u32") if len(operands) > 3 else size
        data = bytes(thread.memory("global", operands[1], size)[:count]) if count else b""
        thread.copies.append((thread.memory("shared", operands[0], size), data.ljust(size, b"\0")))
    else:
        raise InterpreterError(f"{instruction.opcode} is not known")


def _fragment_cells(thread: State, instruction: Instruction, operands: Sequence[Operand]) -> list[memoryview]:
    """The memory of each element of this lane's part of a wmma fragment."""
    parts = instruction.opcode.split(".")
    shape, layout = (
        next(p for p in parts if p.startswith("m") and p[1].isdigit()),
        "col" if "col" in parts else "row",
    )
    fragment = wmma_fragment(parts[2] if parts[2] in "ab" else "c", shape, parts[-1], layout)
    base, size = thread.read(operands[0], "u64"), fragment.bits // 8
    least = fragment.columns if layout == "row" else fragment.rows
    stride = thread.read(operands[1], "u32") if len(operands) > 1 else least
    offsets = (r * stride + c if layout == "row" else c * stride + r for r, c in fragment.places[thread.lane])
    return [thread.at(space_of(parts), base + offset * size, size) for offset in offsets]


def _load_or_store_fragment(thread: State, instruction: Instruction) -> None:
    target, source, *stride = instruction.operands
    if ".store." in instruction.opcode:
        cells = _fragment_cells(thread, instruction, [target, *stride])
        registers = items_of(source)
        bits = 8 * sum(map(len, cells)) // len(registers)
        data = b"".join(thread.read(r, f"b{bits}").to_bytes(bits // 8, "little") for r in registers)
        for i, cell in enumerate(cells):
            cell[:] = data[i * len(cell) : (i + 1) * len(cell)]
    else:
        data = b"".join(_fragment_cells(thread, instruction, [source, *stride]))
        size = len(data) // len(items_of(target))
        for i, register in enumerate(items_of(target)):
            thread.write(register, f"b{8 * size}", int.from_bytes(data[i * size : (i + 1) * size], "little"))


def _trap(_thread: State, _: Instruction) -> None:
    raise InterpreterError("trap")


def _policy(thread: State, instruction: Instruction) -> None:
    """createpolicy: nothing looks at what it gives."""
    thread.write(instruction.operands[0], "b64", 0)


def _nothing(thread: State, _: Instruction) -> None:
    """Fences and prefetches: with one thread at a time, memory is always up to date."""


EFFECTS: dict[str, Callable[[State, Instruction], None]] = {
    "ld": _load,
    "ldu": _load,
    "st": _store,
    "mov": _move,
    "trap": _trap,
    "createpolicy": _policy,
    "cvta": _to_or_from_generic,
    "atom": _atomic,
    "red": _atomic,
    "cp": _copy_async,
    "mbarrier": mbarrier.mbarrier,
    "wmma": _load_or_store_fragment,
    **dict.fromkeys(("membar", "fence", "prefetch", "prefetchu", "nanosleep"), _nothing),
}

"""atom and red. PTX ISA, "Parallel Synchronization and Communication Instructions: atom"."""

from __future__ import annotations

from grader.ptx.analysis.registers import registers_of
from grader.ptx.ir import Value
from grader.ptx.lowering.accesses import checked
from grader.ptx.lowering.arithmetic import llvm_type
from grader.ptx.lowering.arithmetic.half import extreme_of, sum_of
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.syntax import Instruction, Operand, items_of
from grader.ptx.types import BITS, is_signed

OPERATIONS = {"add": "add", "and": "and", "or": "or", "xor": "xor", "exch": "xchg", "min": "min", "max": "max",
              "inc": "uinc_wrap", "dec": "udec_wrap"}  # fmt: skip
HALVES = {"f16", "bf16", "f16x2", "bf16x2"}


def atomic(u: KernelBuilder, ins: Instruction) -> None:
    """A vector form is an atomic operation on each of its elements."""
    op, mods = ins.op, ins.modifiers
    operation = next((m for m in mods if m in OPERATIONS or m == "cas"), None)
    if "async" in mods or operation is None or not op.element_bytes:
        raise u.unsupported()
    if op.element_bytes < 4 and op.type not in HALVES and operation != "cas":
        raise u.unsupported()
    operands = list(ins.operands)
    destination = operands.pop(0) if ins.traits.result else None
    if {"release", "acq_rel"} & set(mods):
        u.fence(wide=not op.is_of_block_scope)
    direction = "write" if operation == "exch" else "update"  # what an exchange gives back is often dropped
    pointer = checked(u, direction, op.space, operands[0], op.bytes, strong=True)
    if destination is not None:
        # Behind the checks: it orders what follows, and not itself. What nobody looks at orders nothing.
        looked_at = bool(u.used & set(registers_of(destination)))
        u.acquire(wide=op.reaches_other_blocks and looked_at)
    sources = [items_of(operand) for operand in operands[1:]]
    targets = items_of(destination) if destination is not None else [None] * op.count
    for k, (target, *values) in enumerate(zip(targets, *sources, strict=True)):
        old = _apply(u, operation, op.type, pointer.at(k * op.element_bytes), values)
        if target is not None:
            u.assign(target, old)


def _apply(u: KernelBuilder, operation: str, type_: str, pointer: Value, operands: list[Operand]) -> Value:
    """Combine memory with the operands; returns what was there before."""
    f, kind = u.f, llvm_type(type_)
    if operation == "cas":
        expected, new = (u.value(operand, f"b{BITS[type_]}") for operand in operands)
        return _exchange(pointer, expected, new)[0]
    value = u.value(operands[0], type_)
    if type_ in HALVES and operation != "exch":
        return _of_halves(u, operation, type_, pointer, value)
    name = OPERATIONS[operation]
    if operation in ("min", "max", "add") and type_ in ("f32", "f64"):
        name = "f" + operation
    elif operation in ("min", "max") and not is_signed(type_):
        name = "u" + operation
    return f.emit(kind, f"atomicrmw {name} ptr {pointer}, {value.typed} seq_cst")


def _exchange(pointer: Value, expected: Value, new: Value) -> tuple[Value, Value]:
    """The value that was there, and whether it was the expected one."""
    f, kind = pointer.fn, expected.type
    pair = f.emit(f"{{{kind}, i1}}", f"cmpxchg ptr {pointer}, {expected.typed}, {new.typed} seq_cst seq_cst")
    return f.emit(kind, f"extractvalue {pair.typed}, 0"), f.emit("i1", f"extractvalue {pair.typed}, 1")


def _of_halves(u: KernelBuilder, operation: str, type_: str, pointer: Value, value: Value) -> Value:
    """No CPU has these: try until nobody came between."""
    f, kind = u.f, value.type
    seen = f.alloca(kind)
    seen.store(pointer.load(kind))
    with f.loop() as done:
        old = seen.load(kind)
        new = sum_of(u, type_, old, value) if operation == "add" else extreme_of(u, operation, type_, old, value)
        now, swapped = _exchange(pointer, old, new)
        seen.store(now)
        f.stop_when(done, swapped)
    return seen.load(kind)


HANDLERS = {"atom": atomic, "red": atomic}

"""atom and red. PTX ISA, "Parallel Synchronization and Communication Instructions: atom"."""

from __future__ import annotations

from grader.ptx.analysis.looks import is_looked_at
from grader.ptx.ir import Value
from grader.ptx.lowering.accesses import address_of, check, synchronise
from grader.ptx.lowering.arithmetic import BITS, is_signed, llvm_type
from grader.ptx.lowering.arithmetic.half import extreme_of, sum_of
from grader.ptx.lowering.kernel import Kernel
from grader.ptx.lowering.memory import access_of
from grader.ptx.machine import BLIND, CHANGES, DROPS, KEEPS, LOOKS, QUIET, TRIES
from grader.ptx.parser import Instruction, Operand, Vector

OPERATIONS = {"add": "add", "and": "and", "or": "or", "xor": "xor", "exch": "xchg", "min": "min", "max": "max",
              "inc": "uinc_wrap", "dec": "udec_wrap"}  # fmt: skip
OVERWRITES = {"exch": BLIND, "cas": TRIES}  # where nobody looks at what they give
HALVES = {"f16", "bf16", "f16x2", "bf16x2"}


def atomic(u: Kernel, ins: Instruction) -> None:
    """A vector form is an atomic operation on each of its elements."""
    space, count, type_, mods = access_of(ins.opcode)
    operation = next((m for m in ins.opcode.split(".") if m in OPERATIONS or m == "cas"), None)
    if "async" in mods or operation is None or type_ not in BITS:
        raise u.unsupported()
    if BITS[type_] < 32 and type_ not in HALVES and operation != "cas":
        raise u.unsupported()
    operands = list(ins.operands)
    destination = operands.pop(0) if ins.base == "atom" else None
    if {"release", "acq_rel"} & mods:
        u.fence(wide="cta" not in mods)
    element = BITS[type_] // 8
    looked_at = is_looked_at(ins, u.used)
    # What an exchange gives back is often dropped: then it is a store.
    direction, flags = ("write" if operation == "exch" else "update"), (0 if looked_at else DROPS)
    if not looked_at and operation in OVERWRITES:
        flags |= OVERWRITES[operation]
    address, width = address_of(u, operands[0]), element * count
    pointer = u.f.call("ptr", f"{space}_peek", u.worker, address, u.f.const("i32", width))
    sources = [_items(operand) for operand in operands[1:]]
    targets = _items(destination) if destination is not None else [None] * count
    changed, given = u.f.const("i1", 0), []
    for k, values in enumerate(zip(*sources, strict=True)):
        place = pointer.at(k * element)
        given.append(_apply(u, operation, type_, place, list(values)))
        changed = changed | _bits(place.load(given[-1].type)).ne(_bits(given[-1]))
    # Who changes nothing has but looked; of those that nobody looks at it is not known what they would do elsewhere.
    quiet = QUIET if looked_at or operation in OVERWRITES else 0
    site = u.site(width, strong=True) | flags
    site_now = u.f.select(changed, u.f.const("i32", site), u.f.const("i32", site | quiet))
    check(u, direction, space, address, width, site_now)
    for target, old in zip(targets, given, strict=True):
        if target is not None:
            u.assign(target, old)
    looks = LOOKS if looked_at else 0
    how = u.f.select(changed, u.f.const("i32", looks | CHANGES | KEEPS), u.f.const("i32", looks | KEEPS))
    synchronise(u, space, mods, address, how)
    if ins.base == "atom":
        u.acquire()  # behind all else: it orders what follows, and not itself


def _bits(value: Value) -> Value:
    width = {"float": 32, "double": 64, "half": 16, "bfloat": 16}.get(value.type)
    return value.bitcast(f"i{width}") if width else value


def _items(operand: Operand) -> list[Operand]:
    return list(operand.items) if isinstance(operand, Vector) else [operand]


def _apply(u: Kernel, operation: str, type_: str, pointer: Value, operands: list[Operand]) -> Value:
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


def _of_halves(u: Kernel, operation: str, type_: str, pointer: Value, value: Value) -> Value:
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

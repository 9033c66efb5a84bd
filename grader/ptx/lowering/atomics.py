"""atom and red. PTX ISA, "Parallel Synchronization and Communication Instructions: atom"."""

from __future__ import annotations

from grader.ptx.analysis.around import WORD, inside
from grader.ptx.analysis.looks import FLOATS, is_looked_at
from grader.ptx.ir import Value
from grader.ptx.lowering.accesses import check, peeked, synchronise
from grader.ptx.lowering.addresses import address_of
from grader.ptx.lowering.arithmetic import llvm_type
from grader.ptx.lowering.arithmetic.floating import flush
from grader.ptx.lowering.arithmetic.half import extreme_of, sum_of
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.shared_cells import clamped
from grader.ptx.machine import (
    BLIND,
    CHANGES,
    COUNTS,
    DROPS,
    FIRST_WINDOW,
    KEEPS,
    LOOKS,
    QUIET,
    SHARED_WINDOW,
    TRIES,
    WINDOW_BITS,
)
from grader.ptx.opcodes.opcode import Opcode
from grader.ptx.syntax import Instruction, items_of
from grader.ptx.types import BITS, is_signed

OPERATIONS = {"add": "add", "and": "and", "or": "or", "xor": "xor", "exch": "xchg", "min": "min", "max": "max",
              "inc": "uinc_wrap", "dec": "udec_wrap"}  # fmt: skip
OVERWRITES = {"exch": BLIND, "cas": TRIES}  # when the result is unused
COUNTING = {"add", "inc", "dec"}
HALVES = {"f16", "bf16", "f16x2", "bf16x2"}


def atomic(u: KernelBuilder, ins: Instruction) -> None:
    """A vector form is an atomic operation on each of its elements."""
    op, mods = ins.op, ins.modifiers
    operation = next((m for m in mods if m in OPERATIONS or m == "cas"), None)
    if "async" in mods or operation is None or op.element_bytes not in (1, 2, 4, 8):
        raise u.unsupported()
    if op.element_bytes < 4 and op.type not in HALVES and operation != "cas":
        raise u.unsupported()
    operands, meant = list(ins.operands), inside(ins)
    if meant is not None:
        operands.pop()
    destination = operands.pop(0) if ins.traits.result else None
    if {"release", "acq_rel"} & set(mods):
        u.fence(wide=not op.is_of_block_scope)
    looked_at = is_looked_at(ins, u.used)
    flags = 0 if looked_at else DROPS | OVERWRITES.get(operation, 0)
    if operation in COUNTING and op.type not in FLOATS:
        flags |= COUNTS
    address = address_of(u, operands[0])
    if op.space == "shared":
        pointer, _ = clamped(u, address, op.bytes, 0)
    else:
        pointer = peeked(u, op.space, address, op.bytes if meant is None else 1)
    sources = [items_of(operand) for operand in operands[1:]]
    targets = items_of(destination) if destination is not None else [None] * op.count
    changed, given = u.f.const("i1", 0), []
    for k, values in enumerate(zip(*sources, strict=True)):
        place = pointer.at(k * op.element_bytes)
        type_ = f"b{BITS[op.type]}" if operation == "cas" else op.type
        given.append(combine(u, operation, op, address, place, [u.value(value, type_) for value in values]))
        changed = changed | _bits(place.load(given[-1].type)).ne(_bits(given[-1]))
    # One that changes nothing only reads; but if its result is unused, in another order it might change something.
    quiet = QUIET if looked_at or operation in OVERWRITES else 0
    site = u.site(op.bytes, strong=True) | flags
    site_now = u.f.select(changed, u.f.const("i32", site), u.f.const("i32", site | quiet))
    # The result of an exchange is often unused: then it is a store.
    direction = "write" if operation == "exch" else "update"
    if meant is None:
        check(u, direction, op.space, address, op.bytes, site_now)
    else:
        _check_bytes(u, direction, op.space, address, address_of(u, meant), (_bits(given[0]), pointer, site_now))
    for target, old in zip(targets, given, strict=True):
        if target is not None:
            u.assign(target, old)
    looks = LOOKS if looked_at and id(ins) not in u.looks.idle else 0
    how = u.f.select(changed, u.f.const("i32", looks | CHANGES | KEEPS), u.f.const("i32", looks | KEEPS))
    synchronise(u, op, address, how)
    if destination is not None:
        u.acquire()  # after all else: it orders what follows, and not itself


def _check_bytes(
    u: KernelBuilder, direction: str, space: str, word: Value, meant: Value, what: tuple[Value, Value, Value]
) -> None:
    """Of a word, the byte that is meant and all that changed. `what`: the old word, where it lies, and the site."""
    old, pointer, site = what
    check(u, direction, space, meant, 1, site)
    changed = old ^ pointer.load(old.type)
    for k in range(WORD):
        at = word + k
        with u.f.when((changed >> 8 * k & 0xFF).ne(0) & at.ne(meant)):
            check(u, direction, space, at, 1, site)


def _bits(value: Value) -> Value:
    width = {"float": 32, "double": 64, "half": 16, "bfloat": 16}.get(value.type)
    return value.bitcast(f"i{width}") if width else value


def combine(
    u: KernelBuilder, operation: str, op: Opcode, address: Value, pointer: Value, values: list[Value]
) -> Value:
    """Combine memory with the values. Returns the old one. `pointer`: the place of `address`."""
    f, type_ = u.f, op.type
    kind = llvm_type(type_)
    if operation == "cas":
        expected, new = values
        return _exchange(pointer, expected, new)[0]
    (value,) = values
    if operation == "add" and type_ == "f32" and op.space != "shared":
        return _flushing_sum(u, op, address, pointer, value)
    if type_ in HALVES and operation != "exch":
        return _of_halves(u, operation, type_, pointer, value)
    name = OPERATIONS[operation]
    if operation in ("min", "max", "add") and type_ in ("f32", "f64"):
        name = "f" + operation
    elif operation in ("min", "max") and not is_signed(type_):
        name = "u" + operation
    return f.emit(kind, f"atomicrmw {name} ptr {pointer}, {value.typed} seq_cst")


def _flushing_sum(u: KernelBuilder, op: Opcode, address: Value, pointer: Value, value: Value) -> Value:
    """In global memory an FP32 sum takes subnormals for zero and gives none; in shared memory it is ordinary."""
    f = u.f
    in_shared = f.const("i1", 0)
    if op.space == "generic":
        in_shared = ((address >> WINDOW_BITS) - FIRST_WINDOW).eq(SHARED_WINDOW)
    seen = f.alloca("i32")
    seen.store(pointer.load("i32"))
    with f.loop() as done:
        old = seen.load("i32")
        before = old.bitcast("float")
        plain = f.emit("float", f"fadd {before.typed}, {value}")
        flushed = f.emit("float", f"fadd {flush(u, before).typed}, {flush(u, value)}")
        new = f.select(in_shared, plain, flush(u, flushed)).bitcast("i32")
        now, swapped = _exchange(pointer, old, new)
        seen.store(now)
        f.stop_when(done, swapped)
    return seen.load("i32").bitcast("float")


def _exchange(pointer: Value, expected: Value, new: Value) -> tuple[Value, Value]:
    """Compare and swap. Returns the old value, and whether it was the expected one."""
    f, kind = pointer.fn, expected.type
    pair = f.emit(f"{{{kind}, i1}}", f"cmpxchg ptr {pointer}, {expected.typed}, {new.typed} seq_cst seq_cst")
    return f.emit(kind, f"extractvalue {pair.typed}, 0"), f.emit("i1", f"extractvalue {pair.typed}, 1")


def _of_halves(u: KernelBuilder, operation: str, type_: str, pointer: Value, value: Value) -> Value:
    """CPUs lack these: compare and swap until no other thread came in between."""
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

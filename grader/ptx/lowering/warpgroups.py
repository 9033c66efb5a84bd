"""wgmma: matrix products of four warps, whose matrices lie in shared memory.

The definition is definition/warpgroup.py. Each lane computes its own elements of D, at once; runtime/warpgroups.py
knows what the tensor cores may still read. The lanes of a warp meet, because they share the registers of A.
"""

from __future__ import annotations

from functools import cache

from grader.ptx.definition.formats import FORMATS
from grader.ptx.definition.fragments import ELEMENT_BITS, UnknownShape
from grader.ptx.definition.tensor_cores import of_wgmma
from grader.ptx.definition.warpgroup import WARP_ROWS, GroupProduct, group_product
from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic import intrinsic
from grader.ptx.lowering.arithmetic.narrow import widened
from grader.ptx.lowering.arithmetic.unit import Routine, call
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.mail import lane_of, word_of
from grader.ptx.lowering.products import number_of
from grader.ptx.lowering.sites import PRODUCT_READ
from grader.ptx.lowering.tensor_sums import Line, code_of, dot, line
from grader.ptx.lowering.whole_warps import leads, must_be_whole
from grader.ptx.machine import HEADER, LAUNCH, PRODUCT, Kind
from grader.ptx.runtime.warpgroups import GROUP_THREADS, PIECE, element_place
from grader.ptx.syntax import Immediate, Instruction, Operand, Vector, items_of

A_WORDS = 4  # registers of A
BASE_OFFSET = 49  # where a descriptor has it: the first row of the swizzle's pattern


def bring(u: KernelBuilder, ins: Instruction, sources: tuple[Operand, ...]) -> list[Value]:
    """The registers of A, if it lies in registers."""
    _shape(u, ins)
    if not isinstance(sources[0], Vector):
        return []
    if len(sources[0].items) != A_WORDS:
        raise u.unsupported()
    return [u.value(item, "b32") for item in sources[0].items]


def _shape(u: KernelBuilder, ins: Instruction) -> GroupProduct:
    try:
        return group_product(ins.opcode)
    except UnknownShape as error:
        raise u.unsupported() from error


def multiply(u: KernelBuilder, ins: Instruction) -> None:
    """Operands: D, A, B, whether D counts, then numbers: signs of A and B, whether they are transposed."""
    f, shape, (d, a, b, counts, *rest) = u.f, _shape(u, ins), ins.operands
    if not all(isinstance(o, Immediate) for o in rest) or len(items_of(d)) != shape.words:
        raise u.unsupported()
    numbers = [o.bits for o in rest if isinstance(o, Immediate)]
    negated = shape.d != "s32" and numbers[0] * numbers[1] < 0
    transposed = numbers[2:] if shape.transposes else [0, 0]
    by_row = [not flag for flag in ([0, *transposed] if isinstance(a, Vector) and shape.transposes else transposed)]
    must_be_whole(u, leads(u))
    own_thread = f["tid"] - u.rank * LAUNCH.get(u.launch, "block_threads")
    row = (((own_thread >> 5) & 3) * WARP_ROWS).zext("i64")
    a_place, b_place = (f.const("i64", 0) if isinstance(o, Vector) else u.value(o, "b64") for o in (a, b))
    with f.when(leads(u)):
        _count(u, ins, own_thread)
        site = f.const("i32", u.site(PIECE, opcode=PRODUCT_READ))
        if not isinstance(a, Vector):
            _read(u, a_place, row, WARP_ROWS, site, by_row=by_row[0])
        _read(u, b_place, f.const("i64", 0), shape.n, site, by_row=by_row[1])
    words = f.alloca(f"[{shape.words} x i32]", 4)
    keep = u.value(counts, "pred")
    for i, item in enumerate(items_of(d)):
        words.at(4 * i).store(f.select(keep, u.value(item, "b32"), f.const("i32", 0)))
    given = f.alloca(f"[{4 * A_WORDS} x i32]", 4)
    if isinstance(a, Vector):
        for quad in range(4):
            for k in range(A_WORDS):
                given.at(4 * (A_WORDS * quad + k)).store(word_of(u, (lane_of(u) & -4) | quad, k))
    how = (isinstance(a, Vector), by_row[0], by_row[1], negated)
    lane = lane_of(u).zext("i64")
    limit = f.const("i64", u.shared.arena - PIECE)
    where = (u.shared_host, u.shared_base, limit, given, a_place, b_place, words, row, lane)
    call(u, _multiplier(ins.opcode, *how), *where)
    for i, item in enumerate(items_of(d)):
        u.assign(item, words.at(4 * i).load("i32"))
    number = next(k for k, product in enumerate(u.accumulators.products) if product is ins)
    _issued(u, number).store(HEADER.get(f["frame"], "product_group") + 1)
    u.passes()


def _count(u: KernelBuilder, ins: Instruction, own_thread: Value) -> None:
    """That this warp has run the product, or another one in the same place of the source; and is its group whole?"""
    f, products = u.f, u.accumulators.products
    alike = next(k for k, product in enumerate(products) if product.location == ins.location)
    entry = _run_of(u, alike)
    PRODUCT.set(entry, "times", PRODUCT.get(entry, "times") + 1)
    PRODUCT.set(entry, "site", f.const("i32", u.site()))
    lacking = (own_thread | (GROUP_THREADS - 1)).uge(LAUNCH.get(u.launch, "block_threads"))
    _record(u, ins, Kind.SPLIT_WARPGROUP, lacking, None)


def _read(u: KernelBuilder, place: Value, first: Value, rows: int, site: Value, *, by_row: bool) -> None:
    f = u.f
    with f.when(((place >> BASE_OFFSET) & 7).ne(0), likely=False):
        u.give_up(u.unsupported(f"the base offset of a descriptor of {u.here.opcode}"))
        f.line("unreachable")
        f.label(f.fresh("dead"))
    more = f.const("i32", int(rows > 8 or not by_row))
    f.call(
        "void", "descriptor_check", u.worker, u.me, u.shared_base, place, more, f.const("i32", int(not by_row)), site
    )
    name = "matrix_read_by_row" if by_row else "matrix_read_by_column"
    where = (u.shared_base, place, first, u.f.const("i64", rows), site, u.f["frame"])
    u.f.call("i32", name, u.worker, u.me, *where)


# One lane's elements --------------------------------------------------------------------------------------------


@cache
def _multiplier(opcode: str, in_registers: bool, a_by_row: bool, b_by_row: bool, negated: bool) -> dict[str, str]:
    shape = group_product(opcode)
    name = f"{opcode}.{int(in_registers)}{int(a_by_row)}{int(b_by_row)}{int(negated)}"
    places = {"shared": "ptr", "base": "i64", "limit": "i64", "given": "ptr", "a": "i64", "b": "i64"}
    routine = Routine(name, "void", {**places, "words": "ptr", "row": "i64", "lane": "i64"})
    f = routine.f
    rows, column = [_line(routine, shape) for _ in range(2)], _line(routine, shape)
    own_row = f["row"] + (f["lane"] >> 2)
    for half, values in enumerate(rows):
        if in_registers:
            codes = [_from_registers(routine, shape, half, k) for k in range(shape.k)]
        else:
            codes = _from_shared(routine, shape, shape.a, f["a"], own_row + 8 * half, by_row=a_by_row)
        for k, code in enumerate(codes):
            _set(routine, shape.a, values, k, code, negated=negated)
    with f.count(f.const("i64", shape.n // 4)) as pair:
        first = (pair >> 1) * 8 + ((f["lane"] & 3) << 1) + (pair & 1)
        for k, code in enumerate(_from_shared(routine, shape, shape.b, f["b"], first, by_row=b_by_row)):
            _set(routine, shape.b, column, k, code)
        for half, values in enumerate(rows):
            _element(routine, shape, (pair >> 1) * 4 + 2 * half + (pair & 1), values, column)
    f.ret()
    return routine.texts()


def _line(routine: Routine, shape: GroupProduct) -> Line | Value:
    """One row of A or column of B: of integers their values alone."""
    return routine.f.alloca(f"[{shape.k} x i32]", 64) if shape.d == "s32" else line(routine, shape.k)


def _set(routine: Routine, type_: str, values: Line | Value, k: int, code: Value, *, negated: bool = False) -> None:
    if isinstance(values, Value):
        values.index("i32", k).store(number_of(routine, type_, "i32", code))
        return
    value = number_of(routine, type_, "double", code)
    if negated:
        value = routine.f.emit("double", f"fneg {value.typed}")
    values.set(k, value, FORMATS[type_].min_exponent)


def _from_registers(routine: Routine, shape: GroupProduct, half: int, k: int) -> Value:
    """As mma holds A: four lanes to a row, the rows eight below in every other register."""
    bits = ELEMENT_BITS[shape.a]
    per = 32 // bits
    quad, register = k // per % 4, half + 2 * (k // (4 * per))
    word = routine.f["given"].at(4 * (A_WORDS * quad + register)).load("i32")
    return (word >> (k % per * bits)).trunc(f"i{bits}")


def _from_shared(
    routine: Routine, shape: GroupProduct, type_: str, place: Value, row: Value, *, by_row: bool
) -> list[Value]:
    """A row along k. What lies in one piece needs one address."""
    f, bits = routine.f, ELEMENT_BITS[type_]
    together = PIECE * 8 // bits if by_row else 1
    codes = []
    for first in range(0, shape.k, together):
        at = element_place(f["base"], place, row, f.const("i64", first), bits // 8, by_row=by_row)
        at = f.select(at.ult(f["limit"]), at, f.const("i64", 0))  # what is outside was told
        start = f["shared"].at(at)
        codes += [start.index(f"i{bits}", k).load(f"i{bits}", 1) for k in range(min(together, shape.k - first))]
    return codes


def _element(routine: Routine, shape: GroupProduct, i: Value, row: Line | Value, column: Line | Value) -> None:
    f = routine.f
    at = f["words"].index("i16" if shape.d == "f16" else "i32", i)
    if isinstance(row, Line) and isinstance(column, Line):
        sums = of_wgmma(shape.a, shape.b, shape.d)
        start = widened(routine, "f16", at.load("i16", 2)) if shape.d == "f16" else at.load("i32").bitcast("float")
        total = dot(routine, sums, start.cast("fpext", "double"), row, column, shape.k, shape.d)
        at.store(code_of(routine, shape.d, total), 2)
        return
    assert isinstance(row, Value) and isinstance(column, Value)
    wide = "i64"
    total = at.load("i32").sext(wide)
    for k in range(shape.k):
        total = total + (row.index("i32", k).load("i32") * column.index("i32", k).load("i32")).sext(wide)
    if shape.saturate:
        total = intrinsic(routine, "smax", total, f.const(wide, -(2**31)))
        total = intrinsic(routine, "smin", total, f.const(wide, 2**31 - 1))
    at.store(total.trunc("i32"))


# Groups ---------------------------------------------------------------------------------------------------------


def commit_group(u: KernelBuilder, _: Instruction) -> None:
    HEADER.set(u.f["frame"], "product_group", HEADER.get(u.f["frame"], "product_group") + 1)


def wait_group(u: KernelBuilder, ins: Instruction) -> None:
    """The lanes of a warp meet here: what one of them does before is not ordered by what another one waits for."""
    u.f.call("void", "group_wait", u.worker, u.me, u.value(ins.operands[0], "u32"), u.f["frame"])
    u.passes()


def _run_of(u: KernelBuilder, product: int) -> Value:
    """What a thread keeps of a product."""
    return u.f["frame"].at(u.frame.products_start + PRODUCT.size * product)


def _issued(u: KernelBuilder, product: int) -> Value:
    """The group that this product belongs to, counted from 1; 0: it has not run."""
    return PRODUCT.at(_run_of(u, product), "group")


def forget_products(u: KernelBuilder) -> None:
    """At the start of a kernel."""
    for product in range(len(u.accumulators.products)):
        for name in ("group", "times", "site"):
            PRODUCT.set(_run_of(u, product), name, u.f.const("i32", 0))


def check_touch(u: KernelBuilder, ins: Instruction, holds: Value | None) -> None:
    """Is a register of a product used or changed too early, or has a product no fence before it?

    `holds`: the instruction's guard.
    """
    known = u.accumulators
    holds = u.f.const("i1", 1) if holds is None else holds
    if id(ins) in known.unfenced:
        _record(u, ins, Kind.NO_PRODUCT_FENCE, holds, known.unfenced[id(ins)])
    for kind, found in ((Kind.EARLY_ACCUMULATOR, known.touched), (Kind.EARLY_FACTOR, known.overwritten)):
        for product in sorted(found.get(id(ins), ())):
            early = _issued(u, product).load("i32").ugt(HEADER.get(u.f["frame"], "products_done"))
            _record(u, ins, kind, holds & early, known.products[product])


def _record(u: KernelBuilder, ins: Instruction, kind: Kind, when: Value, by: Instruction | None) -> None:
    """`by`: the other instruction that has to do with it."""
    f, other = u.f, 0
    if by is not None:
        u.here = by
        other = u.site()
    u.here = ins
    with f.when(when, likely=False):
        zero, site = f.const("i64", 0), f.const("i32", u.site())
        numbers = (f["tid"], zero, zero, f.const("i32", other))
        f.call("void", "record", u.worker, f.const("i32", int(kind)), site, *numbers)


HANDLERS = {"wgmma.commit_group": commit_group}

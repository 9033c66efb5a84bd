"""wgmma: matrix products of four warps, whose matrices lie in shared memory.

The definition is definition/warpgroup.py. Each lane computes its own elements of D, at once; runtime/warpgroups.py
knows what the tensor cores may still read. The lanes of a warp meet, because they share the registers of A.
"""

from __future__ import annotations

from functools import cache

from grader.ptx.definition.formats import FORMATS
from grader.ptx.definition.fragments import ELEMENT_BITS, UnknownShape
from grader.ptx.definition.warpgroup import PRODUCT_BITS, SUM_BITS, WARP_ROWS, GroupProduct, group_product
from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic import intrinsic
from grader.ptx.lowering.arithmetic.narrow import narrowed, widened
from grader.ptx.lowering.arithmetic.unit import Routine, call
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.mail import lane_of, word_of
from grader.ptx.lowering.products import number_of
from grader.ptx.lowering.whole_warps import leads, must_be_whole
from grader.ptx.machine import HEADER, LAUNCH, Kind
from grader.ptx.runtime.warpgroups import PIECE, element_place
from grader.ptx.syntax import Immediate, Instruction, Operand, Vector, items_of

A_WORDS = 4  # registers of A
NONE = -10_000  # an exponent below all others
F32_MANTISSA, F64_MANTISSA = 23, 52


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
        site = f.const("i32", u.site(PIECE, opcode="ld.shared.bulk"))
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


def _read(u: KernelBuilder, place: Value, first: Value, rows: int, site: Value, *, by_row: bool) -> None:
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
    f, kind = routine.f, "i32" if shape.d == "s32" else "double"
    rows = [f.alloca(f"[{shape.k} x {kind}]", 16) for _ in range(2)]
    column = f.alloca(f"[{shape.k} x {kind}]", 16)
    own_row = f["row"] + (f["lane"] >> 2)
    for half, values in enumerate(rows):
        for k in range(shape.k):
            if in_registers:
                code = _from_registers(routine, shape, half, k)
            else:
                code = _from_shared(routine, shape.a, f["a"], own_row + 8 * half, k, by_row=a_by_row)
            value = number_of(routine, shape.a, kind, code)
            if negated:
                value = f.emit(kind, f"fneg double {value}")
            values.index(kind, k).store(value)
    with f.count(f.const("i64", shape.n // 4)) as pair:
        first = (pair >> 1) * 8 + ((f["lane"] & 3) << 1) + (pair & 1)
        for k in range(shape.k):
            code = _from_shared(routine, shape.b, f["b"], first, k, by_row=b_by_row)
            column.index(kind, k).store(number_of(routine, shape.b, kind, code))
        for half, values in enumerate(rows):
            _element(routine, shape, (pair >> 1) * 4 + 2 * half + (pair & 1), values, column)
    f.ret()
    return routine.texts()


def _from_registers(routine: Routine, shape: GroupProduct, half: int, k: int) -> Value:
    """As mma holds A: four lanes to a row, the rows eight below in every other register."""
    bits = ELEMENT_BITS[shape.a]
    per = 32 // bits
    quad, register = k // per % 4, half + 2 * (k // (4 * per))
    word = routine.f["given"].at(4 * (A_WORDS * quad + register)).load("i32")
    return (word >> (k % per * bits)).trunc(f"i{bits}")


def _from_shared(routine: Routine, type_: str, place: Value, row: Value, k: int, *, by_row: bool) -> Value:
    f, bits = routine.f, ELEMENT_BITS[type_]
    at = element_place(f["base"], place, row, f.const("i64", k), bits // 8, by_row=by_row)
    at = f.select(at.ult(f["limit"]), at, f.const("i64", 0))  # what is outside was told
    return f["shared"].at(at).load(f"i{bits}", 1)


def _element(routine: Routine, shape: GroupProduct, i: Value, row: Value, column: Value) -> None:
    f = routine.f
    at = f["words"].index("i16" if shape.d == "f16" else "i32", i)
    if shape.d == "f16":
        start = widened(routine, "f16", at.load("i16", 2))
        at.store(_sum(routine, shape, start.cast("fpext", "double"), row, column), 2)
        return
    if shape.d == "f32":
        start = at.load("i32").bitcast("float")
        at.store(_sum(routine, shape, start.cast("fpext", "double"), row, column))
        return
    wide = "i64"
    total = at.load("i32").sext(wide)
    for k in range(shape.k):
        total = total + (row.index("i32", k).load("i32") * column.index("i32", k).load("i32")).sext(wide)
    if shape.saturate:
        total = intrinsic(routine, "smax", total, f.const(wide, -(2**31)))
        total = intrinsic(routine, "smin", total, f.const(wide, 2**31 - 1))
    at.store(total.trunc("i32"))


def _sum(routine: Routine, shape: GroupProduct, start: Value, row: Value, column: Value) -> Value:
    """The bits of one element of D, in FP32 or FP16."""
    f = routine.f
    least_a, least_b = (FORMATS[type_].min_exponent for type_ in (shape.a, shape.b))
    products, exponents, plain = [start], [_exponent(start, FORMATS[shape.d].min_exponent)], start
    for k in range(shape.k):
        x, y = row.index("double", k).load("double"), column.index("double", k).load("double")
        product = f.emit("double", f"fmul double {x}, {y}")
        products.append(product)
        exponents.append(_exponent(x, least_a) + _exponent(y, least_b))
        plain = f.emit("double", f"fadd double {plain}, {product}")
    largest = f.const("i32", NONE)
    for product, exponent in zip(products, exponents, strict=True):
        zero = f.emit("i1", f"fcmp oeq double {product}, 0.0")
        largest = intrinsic(routine, "smax", largest, f.select(zero, f.const("i32", NONE), exponent))
    empty = largest.eq(NONE)
    largest = f.select(empty, f.const("i32", 0), largest)
    bits, total = PRODUCT_BITS[shape.a], f.const("i64", 0)
    up, down = _power(f.const("i32", bits) - largest), _power(largest - bits)
    for product in products:
        scaled = f.emit("double", f"fmul double {product}, {up}")
        total = total + f.emit("i64", f"call i64 @llvm.fptosi.sat.i64.f64(double {scaled})")
    routine.helper("llvm.fptosi.sat.i64.f64", "declare i64 @llvm.fptosi.sat.i64.f64(double)")
    exact = f.emit("double", f"fmul double {total.cast('sitofp', 'double')}, {down}")
    difference = f.emit("double", f"fsub double {plain}, {plain}")
    special = f.emit("i1", f"fcmp uno double {difference}, 0.0")
    value = f.select(special, plain, exact)
    if shape.d == "f16":
        return narrowed(routine, "f16", value)
    return f.select(special, _special(plain), _cut_off(routine, shape, exact))


def _exponent(x: Value, least: int) -> Value:
    """That of a double, at least `least`, as i32."""
    field = ((x.bitcast("i64") >> F64_MANTISSA) & 0x7FF).trunc("i32") - 1023
    return x.fn.select(field.icmp("slt", least), x.fn.const("i32", least), field)


def _power(exponent: Value) -> Value:
    """Two to that, a normal double."""
    return ((exponent + 1023).zext("i64") << F64_MANTISSA).bitcast("double")


def _special(plain: Value) -> Value:
    """Infinity, or the canonical NaN."""
    fn = plain.fn
    nan = fn.emit("i1", f"fcmp uno double {plain}, {plain}")
    return fn.select(nan, fn.const("i32", 0x7FFFFFFF), plain.cast("fptrunc", "float").bitcast("i32"))


def _cut_off(routine: Routine, shape: GroupProduct, exact: Value) -> Value:
    """Rounded toward zero to FP32, and to fewer bits where the tensor cores keep fewer."""
    fn = exact.fn
    rounded = exact.cast("fptrunc", "float")
    values = (rounded.cast("fpext", "double"), exact)
    sizes = [intrinsic(routine, "fabs", x) for x in values]
    up = fn.emit("i1", f"fcmp ogt double {sizes[0]}, {sizes[1]}")
    bits = rounded.bitcast("i32") - up.zext("i32")
    lost = F32_MANTISSA - SUM_BITS.get(shape.a, F32_MANTISSA)
    bits = (bits >> lost) << lost if lost else bits
    return fn.select((bits & 0x7FFFFFFF).eq(0), fn.const("i32", 0), bits)


# Groups ---------------------------------------------------------------------------------------------------------


def commit_group(u: KernelBuilder, _: Instruction) -> None:
    HEADER.set(u.f["frame"], "product_group", HEADER.get(u.f["frame"], "product_group") + 1)


def wait_group(u: KernelBuilder, ins: Instruction) -> None:
    """The lanes of a warp meet here: what one of them does before is not ordered by what another one waits for."""
    u.f.call("void", "group_wait", u.worker, u.me, u.value(ins.operands[0], "u32"), u.f["frame"])
    u.passes()


def _issued(u: KernelBuilder, product: int) -> Value:
    """Where a thread keeps the group that this product belongs to, counted from 1; 0: it has not run."""
    return u.f["frame"].at(u.frame_layout.products_start + 4 * product)


def forget_products(u: KernelBuilder) -> None:
    """At the start of a kernel."""
    for product in range(len(u.accumulators.products)):
        _issued(u, product).store(u.f.const("i32", 0))


def check_touch(u: KernelBuilder, ins: Instruction, holds: Value | None) -> None:
    """Is an accumulator used too early, or has a product no fence before it? `holds`: the instruction's guard."""
    f, products = u.f, u.accumulators.products
    holds = f.const("i1", 1) if holds is None else holds
    if id(ins) in u.accumulators.unfenced:
        _record(u, ins, Kind.NO_PRODUCT_FENCE, holds, 0)
    for product in sorted(u.accumulators.touched.get(id(ins), ())):
        early = _issued(u, product).load("i32").ugt(HEADER.get(f["frame"], "products_done"))
        u.here = products[product]
        other = u.site()
        _record(u, ins, Kind.EARLY_ACCUMULATOR, holds & early, other)


def _record(u: KernelBuilder, ins: Instruction, kind: Kind, when: Value, other: int) -> None:
    f, u.here = u.f, ins
    with f.when(when, likely=False):
        zero, site = f.const("i64", 0), f.const("i32", u.site())
        numbers = (f["tid"], zero, zero, f.const("i32", other))
        f.call("void", "record", u.worker, f.const("i32", int(kind)), site, *numbers)


HANDLERS = {"wgmma.commit_group": commit_group}

"""Matrix products of a warp: mma and wmma.mma. The definition is definition/matrix.py.

Each lane brings its registers of A, B and C. The first lane to continue multiplies for the warp, then each lane takes
its registers of D. PTX ISA, "Warp Level Matrix Multiply-Accumulate Instructions".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache

from grader.ptx.definition.formats import FORMATS, decode
from grader.ptx.definition.fragments import LANES, Fragment, Product, UnknownShape, product
from grader.ptx.definition.sparse import Index, Sparsity
from grader.ptx.definition.tensor_cores import FLOATS, QUAD_SUMS
from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic import intrinsic
from grader.ptx.lowering.arithmetic.narrow import widened
from grader.ptx.lowering.arithmetic.unit import Routine, call
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.lowering.mail import mail_of
from grader.ptx.lowering.tensor_sums import code_of, dot, line, quad
from grader.ptx.lowering.whole_warps import leads, must_be_whole
from grader.ptx.machine import MAIL_BYTES, MAIL_PUBLISHED
from grader.ptx.syntax import Instruction, Operand, items_of

COLUMNS = 8  # of D, computed at once


def bring_fragments(u: KernelBuilder, ins: Instruction, sources: tuple[Operand, ...]) -> list[Value]:
    shape = _product(u, ins.opcode)
    fragments = (shape.a, shape.b, shape.c)
    if len(sources) != len(fragments) + shape.extra_words:
        raise u.unsupported()
    words = [w for o, fragment in zip(sources, fragments, strict=False) for w in _words(u, o, fragment)]
    return words + [u.value(o, "b32") for o in sources[len(fragments) :]]


def _product(u: KernelBuilder, opcode: str) -> Product:
    try:
        return product(opcode)
    except UnknownShape as error:
        raise u.unsupported() from error


def _words(u: KernelBuilder, operand: Operand, fragment: Fragment) -> list[Value]:
    items = items_of(operand)
    if len(items) != fragment.registers:
        raise u.unsupported()
    values = [u.value(item, f"b{fragment.register_bits}") for item in items]
    return [word for value in values for word in _words_of(value)]


def _words_of(value: Value) -> list[Value]:
    return [value] if value.type == "i32" else [value.trunc("i32"), (value >> 32).trunc("i32")]


def multiply(u: KernelBuilder, ins: Instruction) -> None:
    """Once all lanes have brought their registers."""
    f = u.f
    first = leads(u)
    must_be_whole(u, first)
    with f.when(first):
        call(u, _multiplier(ins.opcode), mail_of(u, f["tid"] & -32).at(MAIL_PUBLISHED))
    mine = mail_of(u, f["tid"]).at(MAIL_PUBLISHED)
    fragment = product(ins.opcode).d
    for k, item in enumerate(items_of(ins.operands[0])):
        u.assign(item, mine.at(k * fragment.register_bits // 8).load(f"i{fragment.register_bits}", 4))


@cache
def _multiplier(opcode: str) -> dict[str, str]:
    """A function that replaces the words of each lane, the registers of A, B and C, by those of D."""
    shape = product(opcode)
    routine = Routine(opcode.replace("::", "."), "void", {"words": "ptr"})
    f = routine.f
    first = sum(x.registers * x.register_bits // 8 for x in (shape.a, shape.b, shape.c))
    where = _columns(routine, shape.sparsity, f["words"].at(first), shape.a) if shape.sparsity else None
    total = (
        _multiply_floats(routine, shape, where) if shape.a.type in FLOATS else _multiply_plain(routine, shape, where)
    )
    with f.count(f.const("i64", LANES)) as lane:
        _pack(routine, shape, _number_type(shape), f["words"].at(lane * MAIL_BYTES), lane, total)
    f.ret()
    return routine.texts()


def _number_type(shape: Product) -> str:
    """The LLVM type in which sums are accumulated."""
    if shape.d.type != "s32":
        return "double"
    return "i64" if shape.saturate else "i32"


Store = Callable[[Value, Value], None]  # of the row-major index and the number of an element


def _read_lanes(routine: Routine, shape: Product, number: str, stores: tuple[Store, Store, Store]) -> None:
    """All elements of A, B and C, from the registers of the lanes."""
    f = routine.f
    with f.count(f.const("i64", LANES)) as lane:
        at = f["words"].at(lane * MAIL_BYTES)
        for fragment, store in zip((shape.a, shape.b, shape.c), stores, strict=True):
            _unpack(routine, fragment, number, at, lane, store)
            at = at.at(fragment.registers * fragment.register_bits // 8)


# Floating-point numbers of the tensor cores: a row of A and a column of B ------------------------------------------


def _multiply_floats(routine: Routine, shape: Product, where: Value | None) -> Value:
    """C becomes D. `where`: the row of B that each element of A meets."""
    f, sums, depth = routine.f, shape.sums, shape.depth
    least_a, least_b = (FORMATS[type_].min_exponent for type_ in (sums.a, sums.b))
    a, b = (line(routine, x.rows * x.columns) for x in (shape.a, shape.b))
    c = f.alloca(f"[{shape.c.rows * shape.c.columns} x double]", 64)
    columns, height = shape.b.columns, shape.b.rows

    def place(k: Value) -> Value:
        """Where the chunks look for product k."""
        return ((k >> 1) & 1) * (depth // 2) + ((k >> 2) << 1) + (k & 1) if sums.halved else k

    def by_row(i: Value, value: Value) -> None:
        a.set(i.udiv(depth) * depth + place(i.urem(depth)), value, least_a)

    def by_column(i: Value, value: Value) -> None:
        b.set(i.urem(columns) * height + place(i.udiv(columns)), value, least_b)

    stores = by_row, by_column, (lambda i, x: c.index("double", i).store(x))
    _read_lanes(routine, shape, "double", stores)
    met = line(routine, depth) if where else None
    with f.count(f.const("i64", shape.a.rows)) as row:
        left, part = a.at(row * depth), row.udiv(shape.a.rows // shape.parts) * (height // shape.parts)
        with f.count(f.const("i64", columns)) as column:
            right = b.at(column * height + part)
            if met and where:
                for k in range(depth):
                    there = right.at(where.index("i32", row * depth + k).load("i32"))
                    met.at(k).values.store(there.values.load("double"))
                    met.at(k).exponents.store(there.exponents.load("i32"))
                right = met
            at = c.index("double", row * columns + column)
            if shape.parts > 1:
                at.store(quad(routine, QUAD_SUMS[shape.d.type], at.load("double"), left, right))
            else:
                at.store(dot(routine, sums, at.load("double"), left, right, depth, shape.c.type))
    return c


# All others: a row of A and several columns of B --------------------------------------------------------------------


def _multiply_plain(routine: Routine, shape: Product, where: Value | None) -> Value:
    f, number = routine.f, _number_type(shape)
    a, b, c = (f.alloca(f"[{x.rows * x.columns} x {number}]", 64) for x in (shape.a, shape.b, shape.c))

    def into(matrix: Value) -> Store:
        return lambda i, value: matrix.index(number, i).store(value)

    _read_lanes(routine, shape, number, (into(a), into(b), into(c)))
    _multiply_rows(routine, shape, number, [a, b, c], where)
    return c


def _places(routine: Routine, fragment: Fragment) -> str:
    """A table of the index of each lane's elements in the matrix."""
    indices = [index for lane in fragment.indices for index in lane]
    text = ", ".join(f"i16 {index}" for index in indices)
    name = f"{routine.f.name}.places.{len(routine.needs)}"
    routine.helper(name, f"@{name} = private constant [{len(indices)} x i16] [{text}]")
    return name


def _place(routine: Routine, table: str, fragment: Fragment, lane: Value, i: int) -> Value:
    at = routine.f.const("ptr", f"@{table}").index("i16", lane * fragment.elements + i)
    return at.load("i16").zext("i64")


def _unpack(routine: Routine, fragment: Fragment, number: str, at: Value, lane: Value, store: Store) -> None:
    """One lane's registers, as numbers."""
    table, per, width = _places(routine, fragment), fragment.register_bits // fragment.bits, fragment.register_bits
    for register in range(fragment.registers):
        word = at.at(register * width // 8).load(f"i{width}", 4)
        for part in range(per):
            code = (word >> (part * fragment.bits)).trunc(f"i{fragment.bits}")
            index = _place(routine, table, fragment, lane, register * per + part)
            store(index, number_of(routine, fragment.type, number, code))


def number_of(routine: Routine, type_: str, number: str, code: Value) -> Value:
    """The value of a code, in the LLVM type `number`."""
    if number != "double":
        return code.cast("sext" if type_[0] == "s" else "zext", number)
    if type_ == "f64":
        return code.bitcast("double")
    if type_ in ("e4m3", "e5m2"):
        routine.helper(f"values.{type_}", _values(type_))
        return routine.f.const("ptr", f"@values.{type_}").index("double", code.zext("i64")).load("double")
    if type_ == "tf32":  # the low 13 bits are ignored
        code = code & ~0x1FFF
    wide = code.bitcast("float") if type_ in ("f32", "tf32") else widened(routine, type_, code)
    return wide.cast("fpext", "double")


@cache
def _values(type_: str) -> str:
    """A table of the values of the 256 codes of an FP8 format."""
    values = [float(decode(FORMATS[type_], code)) for code in range(256)]
    text = ", ".join(f"double 0x{int.from_bytes(struct.pack('<d', value), 'little'):016X}" for value in values)
    return f"@values.{type_} = private constant [256 x double] [{text}]"


def _columns(routine: Routine, sparsity: Sparsity, words: Value, a: Fragment) -> Value:
    """Of each element of a sparse A, row by row: its column. `words`: lane 0's metadata; its selector follows."""
    f, count = routine.f, a.rows * a.columns
    table = f"{f.name}.indices"
    indices = [sparsity.index(*divmod(i, a.columns)) for i in range(count)]
    text = ", ".join(f"i32 {x}" for index in indices for x in index)
    routine.helper(table, f"@{table} = private constant [{len(Index._fields) * count} x i32] [{text}]")
    columns = f.alloca(f"[{count} x i32]")
    more = words.at(4).load("i32") * sparsity.contributors
    with f.count(f.const("i64", count)) as i:
        entry = f.const("ptr", f"@{table}").at(i * (4 * len(Index._fields)))
        lane, shift, mask, first, step = (entry.at(4 * k).load("i32") for k in range(len(Index._fields)))
        word = words.at(((lane + more) & (LANES - 1)).zext("i64") * MAIL_BYTES).load("i32")
        columns.index("i32", i).store(first + ((word >> shift) & mask) * step)
    return columns


def _multiply_rows(routine: Routine, shape: Product, number: str, matrices: list[Value], where: Value | None) -> None:
    """C += A·B, row by row, in ascending order of k. `where`: the row of B that each element of A meets."""
    f, (a, b, c) = routine.f, matrices
    vector, size = f"<{COLUMNS} x {number}>", 4 if number == "i32" else 8
    row_bytes = shape.b.columns * size
    with f.count(f.const("i64", shape.a.rows)) as row:
        left = a.at(row * (shape.depth * size))
        for first in range(0, shape.b.columns, COLUMNS):
            sums = c.at(row * row_bytes).at(first * size)
            total = sums.load(vector, size)
            for k in range(shape.depth):
                one = f.emit(vector, f"insertelement {vector} poison, {left.at(k * size).load(number).typed}, i64 0")
                factor = f.emit(
                    vector, f"shufflevector {one.typed}, {vector} poison, <{COLUMNS} x i32> zeroinitializer"
                )
                met: Value | int = k * row_bytes
                if where is not None:
                    met = where.index("i32", row * shape.depth + k).load("i32").zext("i64") * row_bytes
                across = b.at(met).at(first * size).load(vector, size)
                total = _add_product(routine, shape, factor, across, total)
            sums.store(total, size)


def _add_product(routine: Routine, shape: Product, x: Value, y: Value, total: Value) -> Value:
    f = routine.f
    if shape.d.type == "s32":
        return total + ((x ^ y) if shape.differs else x * y)
    name = f"llvm.fma.v{COLUMNS}f64"
    routine.helper(name, f"declare {x.type} @{name}({x.type}, {x.type}, {x.type})")
    return f.call(x.type, name, x, y, total)


def _pack(routine: Routine, shape: Product, number: str, at: Value, lane: Value, matrix: Value) -> None:
    """Write one lane's registers of D."""
    fragment = shape.d
    table, per, width = _places(routine, fragment), fragment.register_bits // fragment.bits, fragment.register_bits
    for register in range(fragment.registers):
        word = routine.f.const(f"i{width}", 0)
        for part in range(per):
            index = _place(routine, table, fragment, lane, register * per + part)
            code = _code(routine, shape, matrix.index(number, index).load(number))
            word = word | (code.zext(f"i{width}") << (part * fragment.bits))
        at.at(register * width // 8).store(word, 4)


def _code(routine: Routine, shape: Product, x: Value) -> Value:
    type_, f = shape.d.type, routine.f
    if type_ == "f64":
        return x.bitcast("i64")
    if type_ in ("f32", "f16"):
        return code_of(routine, type_, x)
    if shape.saturate:
        x = intrinsic(routine, "smax", x, f.const("i64", -(2**31)))
        x = intrinsic(routine, "smin", x, f.const("i64", 2**31 - 1))
    return x.trunc("i32")

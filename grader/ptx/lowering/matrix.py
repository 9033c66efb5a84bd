"""A warp's matrix instructions: mma, ldmatrix, stmatrix, movmatrix and wmma. The definition is definition/matrix.py.

mma is a collective: each lane leaves its registers of A, B and C, the first lane to go on multiplies for all, and
each takes its registers of D. PTX ISA, "Warp Level Matrix Multiply-Accumulate Instructions".
"""

from __future__ import annotations

import re
import struct
from functools import cache

from grader.ptx.definition.formats import FORMATS, decode
from grader.ptx.definition.fragments import LANES, Fragment, Product, UnknownShape, product, wmma_fragment
from grader.ptx.ir import Value
from grader.ptx.lowering.accesses import address_of, checked_at
from grader.ptx.lowering.arithmetic import intrinsic
from grader.ptx.lowering.arithmetic.narrow import narrowed, widened
from grader.ptx.lowering.arithmetic.unit import Routine, call
from grader.ptx.lowering.kernel import Kernel
from grader.ptx.lowering.mail import bring, lane_of, mail_of, own, report_absent, word_of
from grader.ptx.lowering.memory import access_of
from grader.ptx.machine import MAIL_BYTES, MAIL_PUBLISHED
from grader.ptx.parser import Instruction, Operand, Vector

COLUMNS = 8  # of D, that are computed at once


def _items(operand: Operand) -> tuple[Operand, ...]:
    return operand.items if isinstance(operand, Vector) else (operand,)


def _must_be_whole(u: Kernel, leader: Value) -> None:
    """A warp with a lane that has left, or was never there, has no matrix product."""
    f, members = u.f, own(u, "members")
    with f.when(members.ne(-1) & leader, likely=False):
        report_absent(u, f.call("i32", "llvm.cttz.i32", members ^ -1, f.const("i1", 0)))


def _leads(u: Kernel) -> Value:
    """Is this the first lane that goes on? Lanes do so in ascending order."""
    f = u.f
    return f.call("i32", "llvm.cttz.i32", own(u, "members"), f.const("i1", 0)).eq(lane_of(u))


# Products -------------------------------------------------------------------------------------------------------


def deposit(u: Kernel, ins: Instruction, operands: tuple[Operand, ...]) -> None:
    """Leave this lane's registers for `ins`; `operands` are what it reads."""
    if ins.base == "ldmatrix":
        _bring_row(u, ins)
    elif ins.base in ("stmatrix", "movmatrix"):
        bring(u, u.f.const("i32", -1), *(u.value(item, "b32") for item in _items(ins.operands[1])))
    else:
        shape = _product(u, ins.opcode)
        fragments = (shape.a, shape.b, shape.c)
        words = [w for o, fragment in zip(operands, fragments, strict=True) for w in _words(u, o, fragment)]
        bring(u, u.f.const("i32", -1), *words)


def _product(u: Kernel, opcode: str) -> Product:
    try:
        return product(opcode)
    except UnknownShape as error:
        raise u.unsupported() from error


def _words(u: Kernel, operand: Operand, fragment: Fragment) -> list[Value]:
    items = _items(operand)
    if len(items) != fragment.registers:
        raise u.unsupported()
    values = [u.value(item, f"b{fragment.register_bits}") for item in items]
    return [word for value in values for word in _words_of(value)]


def _words_of(value: Value) -> list[Value]:
    return [value] if value.type == "i32" else [value.trunc("i32"), (value >> 32).trunc("i32")]


def multiply(u: Kernel, ins: Instruction) -> None:
    """After all lanes have left their registers."""
    f = u.f
    leads = _leads(u)
    _must_be_whole(u, leads)
    with f.when(leads):
        call(u, _multiplier(ins.opcode), mail_of(u, f["tid"] & -32).at(MAIL_PUBLISHED))
    mine = mail_of(u, f["tid"]).at(MAIL_PUBLISHED)
    fragment = product(ins.opcode).d
    for k, item in enumerate(_items(ins.operands[0])):
        u.assign(item, mine.at(k * fragment.register_bits // 8).load(f"i{fragment.register_bits}", 4))


@cache
def _multiplier(opcode: str) -> dict[str, str]:
    """A function of the lanes' words, A's, B's and C's registers in that order; it leaves D's in their place."""
    shape = product(opcode)
    routine = Routine(opcode, "void", {"words": "ptr"})
    f = routine.f
    number = _number_type(shape)
    matrices = [f.alloca(f"[{x.rows * x.columns} x {number}]", 64) for x in (shape.a, shape.b, shape.c)]
    with f.count(f.const("i64", LANES)) as lane:
        at = f["words"].at(lane * MAIL_BYTES)
        for fragment, matrix in zip((shape.a, shape.b, shape.c), matrices, strict=True):
            _unpack(routine, fragment, number, at, lane, matrix)
            at = at.at(fragment.registers * fragment.register_bits // 8)
    _multiply_rows(routine, shape, number, *matrices)
    with f.count(f.const("i64", LANES)) as lane:
        _pack(routine, shape, number, f["words"].at(lane * MAIL_BYTES), lane, matrices[2])
    f.ret()
    return routine.texts()


def _number_type(shape: Product) -> str:
    """What sums are made in."""
    if shape.d.type != "s32":
        return "double"
    return "i64" if shape.saturate else "i32"


def _places(routine: Routine, fragment: Fragment) -> str:
    """A table of where each element of each lane lies in its matrix."""
    indices = [index for lane in fragment.indices for index in lane]
    text = ", ".join(f"i16 {index}" for index in indices)
    name = f"{routine.f.name}.places.{len(routine.needs)}"
    routine.helper(name, f"@{name} = private constant [{len(indices)} x i16] [{text}]")
    return name


def _place(routine: Routine, table: str, fragment: Fragment, lane: Value, i: int) -> Value:
    at = routine.f.const("ptr", f"@{table}").index("i16", lane * fragment.elements + i)
    return at.load("i16").zext("i64")


def _unpack(routine: Routine, fragment: Fragment, number: str, at: Value, lane: Value, matrix: Value) -> None:
    """One lane's registers into the matrix, as numbers."""
    table, per, width = _places(routine, fragment), fragment.register_bits // fragment.bits, fragment.register_bits
    for register in range(fragment.registers):
        word = at.at(register * width // 8).load(f"i{width}", 4)
        for part in range(per):
            code = (word >> (part * fragment.bits)).trunc(f"i{fragment.bits}")
            index = _place(routine, table, fragment, lane, register * per + part)
            matrix.index(number, index).store(_number(routine, fragment.type, number, code))


def _number(routine: Routine, type_: str, number: str, code: Value) -> Value:
    if number != "double":
        return code.cast("sext" if type_[0] == "s" else "zext", number)
    if type_ == "f64":
        return code.bitcast("double")
    if type_ in ("e4m3", "e5m2"):
        routine.helper(f"values.{type_}", _values(type_))
        return routine.f.const("ptr", f"@values.{type_}").index("double", code.zext("i64")).load("double")
    if type_ == "tf32":  # the low 13 bits do not count
        code = code & ~0x1FFF
    wide = code.bitcast("float") if type_ in ("f32", "tf32") else widened(routine, type_, code)
    return wide.cast("fpext", "double")


@cache
def _values(type_: str) -> str:
    """A table of what the 256 codes of an FP8 format stand for."""
    values = [float(decode(FORMATS[type_], code)) for code in range(256)]
    text = ", ".join(f"double 0x{int.from_bytes(struct.pack('<d', value), 'little'):016X}" for value in values)
    return f"@values.{type_} = private constant [256 x double] [{text}]"


def _multiply_rows(routine: Routine, shape: Product, number: str, a: Value, b: Value, c: Value) -> None:
    """C += A·B, row by row, with k ascending."""
    f = routine.f
    vector, size = f"<{COLUMNS} x {number}>", 4 if number == "i32" else 8
    with f.count(f.const("i64", shape.a.rows)) as row:
        left = a.at(row * (shape.depth * size))
        for first in range(0, shape.b.columns, COLUMNS):
            sums = c.at(row * (shape.b.columns * size)).at(first * size)
            total = sums.load(vector, size)
            for k in range(shape.depth):
                one = f.emit(vector, f"insertelement {vector} poison, {left.at(k * size).load(number).typed}, i64 0")
                factor = f.emit(
                    vector, f"shufflevector {one.typed}, {vector} poison, <{COLUMNS} x i32> zeroinitializer"
                )
                right = b.at((k * shape.b.columns + first) * size).load(vector, size)
                total = _add_product(routine, shape, factor, right, total)
            sums.store(total, size)


def _add_product(routine: Routine, shape: Product, x: Value, y: Value, total: Value) -> Value:
    f = routine.f
    if shape.d.type == "s32":
        return total + x * y
    if shape.d.type == "f64":
        name = f"llvm.fma.v{COLUMNS}f64"
        routine.helper(name, f"declare {x.type} @{name}({x.type}, {x.type}, {x.type})")
        return f.call(x.type, name, x, y, total)
    exact = f.emit(x.type, f"fmul {x.typed}, {y}")
    return f.emit(x.type, f"fadd {total.typed}, {exact}")


def _pack(routine: Routine, shape: Product, number: str, at: Value, lane: Value, matrix: Value) -> None:
    """One lane's registers of D."""
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
    if type_ == "f32":
        return x.cast("fptrunc", "float").bitcast("i32")
    if type_ == "f16":
        return narrowed(routine, "f16", x)
    if shape.saturate:
        x = intrinsic(routine, "smax", x, f.const("i64", -(2**31)))
        x = intrinsic(routine, "smin", x, f.const("i64", 2**31 - 1))
    return x.trunc("i32")


# 8 by 8 halves from and to shared memory ------------------------------------------------------------------------

ROW_BYTES = 16


def _matrices(u: Kernel, ins: Instruction) -> int:
    mods = ins.opcode.split(".")
    if "m8n8" not in mods or mods[-1] != "b16":
        raise u.unsupported()
    return next(count for name, count in (("x1", 1), ("x2", 2), ("x4", 4)) if name in mods)


def _bring_row(u: Kernel, ins: Instruction) -> None:
    """Lane i reads row i of the matrices, eight rows each, and leaves it."""
    f, count = u.f, _matrices(u, ins)
    space = access_of(ins.opcode)[0]
    words = [f.alloca("i32") for _ in range(4)]
    address = address_of(u, ins.operands[1])
    with f.when(lane_of(u).ult(8 * count)):
        pointer = checked_at(u, "read", space, address, ROW_BYTES)
        for k, word in enumerate(words):
            word.store(pointer.at(4 * k).load("i32", 1))
    bring(u, f.const("i32", -1), *(word.load("i32") for word in words))


def load_matrices(u: Kernel, ins: Instruction) -> None:
    """ldmatrix: two neighbours of a row, or with .trans of a column, from the lanes that read these rows."""
    _must_be_whole(u, _leads(u))
    group, pair = lane_of(u) >> 2, lane_of(u) & 3
    items = _items(ins.operands[0])
    if len(items) != _matrices(u, ins):
        raise u.unsupported()
    for matrix, item in enumerate(items):
        if "trans" in ins.opcode.split("."):
            low, high = (_half(u, (pair << 1) + i + 8 * matrix, group) for i in (0, 1))
            u.assign(item, low | (high << 16))
        else:
            u.assign(item, word_of(u, group + 8 * matrix, pair))


def _half(u: Kernel, lane: Value, i: Value) -> Value:
    """Half number `i` of what `lane` left, in an i32."""
    return (word_of(u, lane, i >> 1) >> ((i & 1) << 4)) & 0xFFFF


def store_matrices(u: Kernel, ins: Instruction) -> None:
    """stmatrix: lane i collects row i and writes it."""
    f, count = u.f, _matrices(u, ins)
    _must_be_whole(u, _leads(u))
    space, trans = access_of(ins.opcode)[0], "trans" in ins.opcode.split(".")
    address = address_of(u, ins.operands[0])
    with f.when(lane_of(u).ult(8 * count)):
        matrix, row = lane_of(u) >> 3, lane_of(u) & 7
        words = []
        for k in range(4):
            if trans:
                column = f.const("i32", 8 * k)  # lanes 8k and 8k + 4 hold columns 2k and 2k + 1
                halves = [_half_of_word(u, column + (row >> 1) + 4 * i, matrix, row & 1) for i in (0, 1)]
                words.append(halves[0] | (halves[1] << 16))
            else:
                words.append(word_of(u, (row << 2) + k, matrix))
        pointer = checked_at(u, "write", space, address, ROW_BYTES, values=words)
        for k, word in enumerate(words):
            pointer.at(4 * k).store(word, 1)


def _half_of_word(u: Kernel, lane: Value, k: Value, part: Value) -> Value:
    return (word_of(u, lane, k) >> (part << 4)) & 0xFFFF


def transpose(u: Kernel, ins: Instruction) -> None:
    """movmatrix: the halves of this lane's pair, from the two lanes that hold them in the other order."""
    _must_be_whole(u, _leads(u))
    group, pair = lane_of(u) >> 2, lane_of(u) & 3
    none = u.f.const("i32", 0)
    low, high = (_half_of_word(u, (((pair << 1) + i) << 2) + (group >> 1), none, group & 1) for i in (0, 1))
    u.assign(ins.operands[0], low | (high << 16))


# wmma -----------------------------------------------------------------------------------------------------------


def wmma(u: Kernel, ins: Instruction) -> None:
    {"load": _load_fragment, "store": _store_fragment, "mma": multiply}[ins.opcode.split(".")[1]](u, ins)


class _Chunks:
    """The stretches of memory that hold this lane's elements of a fragment."""

    def __init__(self, u: Kernel, ins: Instruction, operands: tuple[Operand, ...]) -> None:
        """`operands`: the address, and the stride from row to row (or column to column) if it is not the least."""
        parts = ins.opcode.split(".")
        which, layout, type_ = parts[2], "col" if "col" in parts else "row", parts[-1]
        shape = next(p for p in parts if re.fullmatch(r"m\d+n\d+k\d+", p))
        self.u, self.space = u, access_of(ins.opcode)[0]
        try:
            self.fragment = wmma_fragment(which if which in "ab" else "c", shape, type_, layout)
        except KeyError as error:
            raise u.unsupported() from error
        by_rows = which not in "ab" or layout == "row"
        self.inner = self.fragment.columns if by_rows else self.fragment.rows
        self.contiguous = which in "ab" or layout == "row"
        least = self.inner if self.contiguous else self.fragment.rows
        self.base = address_of(u, operands[0])
        stride = u.value(operands[1], "u32") if len(operands) > 1 else u.f.const("i32", least)
        self.stride = stride.zext("i64")
        self.bytes = self.fragment.bits // 8
        most = min(self.fragment.elements, self.inner, ROW_BYTES // self.bytes)
        self.per_chunk = most if self.contiguous else 1

    @property
    def width(self) -> int:
        return self.per_chunk * self.bytes

    @property
    def starts(self) -> range:
        return range(0, self.fragment.elements, self.per_chunk)

    def address(self, start: int) -> Value:
        """Of the chunk that begins with this lane's element `start`."""
        size = self.fragment.rows * self.fragment.columns
        position = (lane_of(self.u) * self.fragment.elements + start) & (size - 1)
        major, minor = position.udiv(self.inner), position & (self.inner - 1)
        if not self.contiguous:
            major, minor = minor, major
        return self.base + (major.zext("i64") * self.stride + minor.zext("i64")) * self.bytes

    def pieces(self) -> int:
        """Bits of what is loaded or stored at once: a register, or an element where these stand apart."""
        return min(8 * self.width, self.fragment.register_bits)


def _load_fragment(u: Kernel, ins: Instruction) -> None:
    chunks = _Chunks(u, ins, ins.operands[1:])
    items = _items(ins.operands[0])
    if len(items) != chunks.fragment.registers:
        raise u.unsupported()
    bits = chunks.pieces()
    values: list[Value] = []
    for start in chunks.starts:
        pointer = checked_at(u, "read", chunks.space, chunks.address(start), chunks.width)
        values += [pointer.at(k).load(f"i{bits}", 1) for k in range(0, chunks.width, bits // 8)]
    per = len(values) // len(items)
    for k, item in enumerate(items):
        u.assign(item, _joined(values[k * per : (k + 1) * per]))


def _joined(parts: list[Value]) -> Value:
    """One register of its parts, lowest first."""
    if len(parts) == 1:
        return parts[0]
    width = int(parts[0].type[1:])
    kind = f"i{width * len(parts)}"
    whole = parts[0].zext(kind)
    for k, part in enumerate(parts[1:], 1):
        whole = whole | (part.zext(kind) << (k * width))
    return whole


def _store_fragment(u: Kernel, ins: Instruction) -> None:
    address, source, *stride = ins.operands
    chunks = _Chunks(u, ins, (address, *stride))
    bits, register = chunks.pieces(), chunks.fragment.register_bits
    values = [
        (u.value(item, f"b{register}") >> shift).trunc(f"i{bits}")
        for item in _items(source)
        for shift in range(0, register, bits)
    ]
    per = chunks.width * 8 // bits
    for number, start in enumerate(chunks.starts):
        parts = values[number * per : (number + 1) * per]
        pointer = checked_at(u, "write", chunks.space, chunks.address(start), chunks.width, values=parts)
        for k, part in enumerate(parts):
            pointer.at(k * bits // 8).store(part, 1)


COLLECTIVES = {"mma": multiply, "ldmatrix": load_matrices, "stmatrix": store_matrices, "movmatrix": transpose}
HANDLERS = {"wmma": wmma}

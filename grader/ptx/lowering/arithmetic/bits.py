"""Bits: PTX ISA, "Logic and Shift Instructions" and the bit-field part of "Integer Arithmetic Instructions"."""

from __future__ import annotations

from functools import cache

from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic.unit import Handler, Routine, Unit, call, intrinsic
from grader.ptx.syntax import Operand
from grader.ptx.types import BITS, is_signed


def bitwise(op: str) -> Handler:
    def lower(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
        a, b = (u.value(o, mods[-1]) for o in operands)
        return a._binary(op, b)

    return lower


def invert(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    return u.value(operands[0], mods[-1]) ^ -1


def logical_not(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    x = u.value(operands[0], mods[-1])
    return x.eq(0).zext(x.type)


def shift_left(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    x, n = u.value(operands[0], mods[-1]), u.value(operands[1], "u32")
    width = BITS[mods[-1]]
    shifted = x << _fit(n & (width - 1), x.type)
    return u.f.select(n.ult(width), shifted, u.f.const(x.type, 0))


def shift_right(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    x, n = u.value(operands[0], type_), u.value(operands[1], "u32")
    width = BITS[type_]
    if is_signed(type_):
        n = u.f.select(n.ult(width), n, u.f.const("i32", width - 1))
        return x.ashr(_fit(n, x.type))
    shifted = x >> _fit(n & (width - 1), x.type)
    return u.f.select(n.ult(width), shifted, u.f.const(x.type, 0))


def _fit(n: Value, type_: str) -> Value:
    """A small count, converted to another integer width."""
    return n.trunc(type_) if type_ == "i16" else n.zext(type_)


def funnel_shift(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """shf: shift the 64-bit value hi:lo and take the upper (l) or lower (r) half."""
    lo, hi, n = (u.value(o, "u32") for o in operands)
    n = n & 31 if "wrap" in mods else u.f.select(n.ult(32), n, u.f.const("i32", 32))
    both = (hi.zext("i64") << 32) | lo.zext("i64")
    if mods[0] == "l":
        return ((both << n.zext("i64")) >> 32).trunc("i32")
    return (both >> n.zext("i64")).trunc("i32")


def lookup_3(u: Unit, mods: list[str], operands: list[Operand]) -> Value | tuple[Value, ...]:
    """lop3: any function of three bits, from its truth table as a sum of products. .or and .and add a predicate."""
    a, b, c = (u.value(o, "b32") for o in operands[:3])
    table = int(str(u.value(operands[3], "b32")))
    result = u.f.const("i32", 0)
    for k in range(8):
        if table >> k & 1:
            term = (a if k & 4 else a ^ -1) & (b if k & 2 else b ^ -1) & (c if k & 1 else c ^ -1)
            result = result | term
    if len(mods) == 1:
        return result
    return result, result.ne(0)._binary(mods[0], u.value(operands[4], "pred"))


PRMT_MODES = {
    "f4e": ((3, 2, 1, 0), (4, 3, 2, 1), (5, 4, 3, 2), (6, 5, 4, 3)),
    "b4e": ((5, 6, 7, 0), (6, 7, 0, 1), (7, 0, 1, 2), (0, 1, 2, 3)),
    "rc8": ((0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3)),
    "ecl": ((3, 2, 1, 0), (3, 2, 1, 1), (3, 2, 2, 2), (3, 3, 3, 3)),
    "ecr": ((0, 0, 0, 0), (1, 1, 1, 0), (2, 2, 1, 0), (3, 2, 1, 0)),
    "rc16": ((1, 0, 1, 0), (3, 2, 3, 2), (1, 0, 1, 0), (3, 2, 3, 2)),
}


def permute(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """prmt: pick four of eight bytes, each perhaps replaced by its sign."""
    a, b, selector = (u.value(o, "b32") for o in operands)
    both = (b.zext("i64") << 32) | a.zext("i64")
    result = u.f.const("i32", 0)
    mode = mods[-1] if mods[-1] in PRMT_MODES else None
    for k in range(4):
        if mode:
            choices = PRMT_MODES[mode]
            pick = u.f.const("i32", choices[0][3 - k])
            for s in (1, 2, 3):
                pick = u.f.select((selector & 3).eq(s), u.f.const("i32", choices[s][3 - k]), pick)
            byte = (both >> (pick.zext("i64") << 3)).trunc("i32") & 255
        else:
            nibble = (selector >> (4 * k)) & 15
            byte = (both >> ((nibble & 7).zext("i64") << 3)).trunc("i32") & 255
            sign = u.f.select((byte & 128).ne(0), u.f.const("i32", 255), u.f.const("i32", 0))
            byte = u.f.select((nibble & 8).ne(0), sign, byte)
        result = result | (byte << (8 * k))
    return result


def field_extract(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """bfe: `length` bits from `position`, sign or zero extended; positions past the end read the sign or zero."""
    type_ = mods[-1]
    width, f = BITS[type_], u.f
    x = u.value(operands[0], type_)
    position, length = (u.value(o, "u32") & 255 for o in operands[1:])
    wide = x.cast("sext" if is_signed(type_) else "zext", f"i{2 * width}")
    position = f.select(position.ult(width), position, f.const("i32", width))
    length = f.select(length.ult(width), length, f.const("i32", width))
    shifted = (wide >> position.zext(wide.type)).trunc(x.type)
    if is_signed(type_):
        shifted = wide.ashr(position.zext(wide.type)).trunc(x.type)
    room = (f.const("i32", width) - length).cast("zext", f"i{2 * width}")
    up = shifted.zext(wide.type) << room
    narrow = up.trunc(x.type)
    full = narrow.cast("sext" if is_signed(type_) else "zext", wide.type)
    result = (full.ashr(room) if is_signed(type_) else full >> room).trunc(x.type)
    return f.select(length.eq(0), f.const(x.type, 0), result)


def field_insert(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    type_ = mods[-1]
    width = BITS[type_]
    a, b = (u.value(o, type_) for o in operands[:2])
    position, length = (u.value(o, "u32") & 255 for o in operands[2:])
    wide = f"i{2 * width}"
    limit = u.f.const("i32", width)
    position = u.f.select(position.ult(width), position, limit).zext(wide)
    length = u.f.select(length.ult(width), length, limit).zext(wide)
    mask = ((u.f.const(wide, 1) << length) - 1) << position
    inserted = (a.zext(wide) << position) & mask
    return ((b.zext(wide) & (mask ^ -1)) | inserted).trunc(b.type)


def find_leading(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    """bfind: position of the most significant bit that differs from the sign; -1 if there is none."""
    type_ = mods[-1]
    x, width = u.value(operands[0], type_), BITS[mods[-1]]
    if is_signed(type_):
        x = u.f.select(x.icmp("slt", 0), x ^ -1, x)
    zeros = count_leading_zeros(u, x)
    position = u.f.const("i32", width - 1) - zeros
    shown = zeros if "shiftamt" in mods else position
    return u.f.select(x.eq(0), u.f.const("i32", -1), shown)


def count_leading_zeros(u: Unit, x: Value) -> Value:
    name = f"llvm.ctlz.{x.type}"
    u.helper(name, f"declare {x.type} @{name}({x.type}, i1)")
    return u.f.emit(x.type, f"call {x.type} @{name}({x.typed}, i1 false)").trunc("i32")


def leading_zeros(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    return count_leading_zeros(u, u.value(operands[0], mods[-1]))


def population(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    return intrinsic(u, "ctpop", u.value(operands[0], mods[-1])).trunc("i32")


def reverse_bits(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    return intrinsic(u, "bitreverse", u.value(operands[0], mods[-1]))


def bit_mask(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    start, length = (u.value(o, "u32") for o in operands)
    if "wrap" in mods:
        start, length = start & 31, length & 31
    limit = u.f.const("i32", 32)
    start = u.f.select(start.ult(32), start, limit).zext("i64")
    length = u.f.select(length.ult(32), length, limit).zext("i64")
    return (((u.f.const("i64", 1) << length) - 1) << start).trunc("i32")


def sign_extend(u: Unit, mods: list[str], operands: list[Operand]) -> Value:
    x, n = u.value(operands[0], "b32"), u.value(operands[1], "u32")
    n = n & 31 if "wrap" in mods else u.f.select(n.ult(32), n, u.f.const("i32", 32))
    room = (u.f.const("i64", 64) - n.zext("i64")) & 63
    up = x.zext("i64") << room
    result = (up.ashr(room) if is_signed(mods[-1]) else up >> room).trunc("i32")
    return u.f.select(n.eq(0), u.f.const("i32", 0), result)


def find_nth_set(u: Unit, _mods: list[str], operands: list[Operand]) -> Value:
    """fns: the n-th set bit from `base` on, upward or downward; n of 0 asks for bit `base` itself."""
    return call(u, _find_nth_set(), *(u.value(o, "b32") for o in operands))


@cache
def _find_nth_set() -> dict[str, str]:
    routine = Routine("fns", "i32", {"bits": "i32", "base": "i32", "offset": "i32"})
    f = routine.f
    place, left = f.alloca("i32"), f.alloca("i32")
    upward = f["offset"].icmp("sge", 0)
    step = f.select(upward, f.const("i32", 1), f.const("i32", -1))
    steps = f.select(upward, f["offset"], f.const("i32", 0) - f["offset"])
    only = f["offset"].eq(0)
    left.store(f.select(only, f.const("i32", 1), steps))
    place.store(f["base"] & 31)
    with f.loop() as done:
        at = place.load("i32")
        f.stop_when(done, at.uge(32))
        with f.when(((f["bits"] >> at) & 1).ne(0)):
            left.store(left.load("i32") - 1)
            with f.when(left.load("i32").eq(0)):
                f.ret(at)
                f.label(f.fresh("dead"))
        f.stop_when(done, only)
        place.store(at + step)
    f.ret(f.const("i32", -1))
    return routine.texts()


TABLE: dict[str, Handler] = {
    "and": bitwise("and"),
    "or": bitwise("or"),
    "xor": bitwise("xor"),
    "not": invert,
    "cnot": logical_not,
    "shl": shift_left,
    "shr": shift_right,
    "shf": funnel_shift,
    "lop3": lookup_3,
    "prmt": permute,
    "bfe": field_extract,
    "bfi": field_insert,
    "bfind": find_leading,
    "clz": leading_zeros,
    "popc": population,
    "brev": reverse_bits,
    "bmsk": bit_mask,
    "szext": sign_extend,
    "fns": find_nth_set,
}

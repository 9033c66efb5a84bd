"""The definition of the instructions against what is known of them from elsewhere.

Witnesses: NumPy and the C library for IEEE arithmetic, ml_dtypes for bf16 and FP8, the examples in the PTX
ISA, and results measured on an H200.
"""

from __future__ import annotations

import ctypes
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.ptx.definition import bits, compare, convert, floating, integer, semantics
from grader.ptx.definition.semantics import UnknownInstruction, agrees, evaluate
from grader.ptx.types import BITS
from tests.ptx.samples import corners, edges, rows

FLOAT_TYPES = {"f16": (np.uint16, np.float16), "f32": (np.uint32, np.float32), "f64": (np.uint64, np.float64)}
HALF_TYPES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16}
LIBM = ctypes.CDLL("libm.so.6")
LIBM.fmaf.argtypes, LIBM.fmaf.restype = [ctypes.c_float] * 3, ctypes.c_float
LIBM.fma.argtypes, LIBM.fma.restype = [ctypes.c_double] * 3, ctypes.c_double


def as_float(type_: str, pattern: int) -> np.floating:
    unsigned, floating_type = FLOAT_TYPES[type_]
    return np.array([pattern], dtype=unsigned).view(floating_type)[0]


def as_bits(type_: str, value: float) -> int:
    unsigned, floating_type = FLOAT_TYPES[type_]
    return int(np.array([value], dtype=floating_type).view(unsigned)[0])


def f32(value: float) -> int:
    return as_bits("f32", value)


# IEEE arithmetic --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        *((name, type_) for name in ("add", "sub", "mul") for type_ in FLOAT_TYPES),
        ("div", "f32"),
        ("div", "f64"),
    ],
)
def test_two_operand_arithmetic_is_numpys(name: str, type_: str) -> None:
    opcode = f"{name}.rn.{type_}"
    operation = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[name]
    with np.errstate(all="ignore"):
        for a, b in rows((type_, type_), 2000, seed=1):
            expected = as_bits(type_, operation(as_float(type_, a), as_float(type_, b)))
            assert agrees(opcode, [a, b], expected), (opcode, hex(a), hex(b), hex(expected))


@pytest.mark.parametrize("type_", ["f32", "f64"])
def test_fused_multiply_add_is_the_c_librarys(type_: str) -> None:
    fma = LIBM.fmaf if type_ == "f32" else LIBM.fma
    for row in rows((type_,) * 3, 3000, seed=2):
        expected = as_bits(type_, fma(*(float(as_float(type_, bits_)) for bits_ in row)))
        assert agrees(f"fma.rn.{type_}", row, expected), [hex(bits_) for bits_ in row]


@pytest.mark.parametrize("type_", ["f32", "f64"])
def test_square_root_is_numpys(type_: str) -> None:
    with np.errstate(all="ignore"):
        for (a,) in rows((type_,), 1000, seed=3):
            assert agrees(f"sqrt.rn.{type_}", [a], as_bits(type_, np.sqrt(as_float(type_, a))))


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(FINITE, FINITE)
def test_directed_rounding_takes_the_neighbours_of_the_exact_product(a: float, b: float) -> None:
    """The product of two FP32 numbers is exact in FP64."""
    with np.errstate(all="ignore"):
        down, up, toward_zero, nearest = (
            float(as_float("f32", evaluate(f"mul.{mode}.f32", [f32(a), f32(b)]))) for mode in ("rm", "rp", "rz", "rn")
        )
        assert down <= a * b <= up
        assert up in (down, np.nextafter(np.float32(down), np.float32(np.inf)))
        assert toward_zero == (down if a * b > 0 else up)
        assert nearest == np.float32(a * b)


@given(FINITE, FINITE)
def test_directed_quotients_and_roots_enclose_the_nearest(a: float, b: float) -> None:
    for opcode, operands in (
        ("div", [f32(a), f32(b)]),
        ("sqrt", [f32(abs(a))]),
        ("rcp", [f32(b)]),
        ("add", [f32(a), f32(b)]),
    ):
        down, up, zero, near = (
            float(as_float("f32", evaluate(f"{opcode}.{mode}.f32", operands))) for mode in ("rm", "rp", "rz", "rn")
        )
        if math.isnan(near):
            assert all(map(math.isnan, (down, up, zero)))
            continue
        with np.errstate(over="ignore"):
            assert down == up == near or up == np.nextafter(np.float32(down), np.float32(np.inf))
        assert near in (down, up)
        assert zero == (down if abs(down) <= abs(up) else up)


@pytest.mark.parametrize("opcode", ["add.rn.bf16", "mul.rn.bf16", "add.rn.f16", "mul.rn.f16"])
def test_packed_halves_are_two_scalars(opcode: str) -> None:
    type_ = opcode.split(".")[-1]
    for a, b in rows((f"{type_}x2",) * 2, 300, seed=4):
        low = evaluate(opcode, [a & 0xFFFF, b & 0xFFFF])
        high = evaluate(opcode, [a >> 16, b >> 16])
        assert evaluate(f"{opcode}x2", [a, b]) == high << 16 | low


# Conversions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", HALF_TYPES)
def test_conversion_to_halves_is_numpys(type_: str) -> None:
    with np.errstate(all="ignore"):
        for (a,) in rows(("f32",), 3000, seed=5):
            expected = int(np.array([as_float("f32", a)]).astype(HALF_TYPES[type_]).view(np.uint16)[0])
            assert agrees(f"cvt.rn.{type_}.f32", [a], expected), hex(a)


FP8_TYPES = {"e4m3": (ml_dtypes.float8_e4m3fn, 448.0), "e5m2": (ml_dtypes.float8_e5m2, 57344.0)}


@pytest.mark.parametrize("name", FP8_TYPES)
def test_conversion_to_fp8_is_ml_dtypes_after_clamping(name: str) -> None:
    """ml_dtypes overflows to NaN or infinity; PTX saturates."""
    type_, largest = FP8_TYPES[name]
    for (a,) in rows(("f32",), 3000, seed=6):
        value = as_float("f32", a)
        if np.isnan(value):
            assert evaluate(f"cvt.rn.satfinite.{name}x2.f32", [a, a]) == 0x7F7F
            continue
        code = int(np.array([np.clip(value, -largest, largest)]).astype(type_).view(np.uint8)[0])
        assert evaluate(f"cvt.rn.satfinite.{name}x2.f32", [a, 0]) == code << 8


@pytest.mark.parametrize("name", FP8_TYPES)
def test_every_fp8_code_widens_as_in_ml_dtypes(name: str) -> None:
    for code in range(256):
        value = np.array([code], dtype=np.uint8).view(FP8_TYPES[name][0]).astype(np.float16)
        expected = int(value.view(np.uint16)[0]) << 16
        assert agrees(f"cvt.rn.f16x2.{name}x2", [code << 8], expected), hex(code)


@pytest.mark.parametrize("target", ["f16", "f32", "f64"])
@pytest.mark.parametrize("source", ["s32", "u32", "s64", "u64"])
def test_integers_become_the_nearest_float(target: str, source: str) -> None:
    integer_type = np.dtype(source.replace("s", "int").replace("u", "uint"))
    with np.errstate(all="ignore"):
        for (a,) in rows((source,), 500, seed=7):
            number = np.array([a], dtype=f"uint{source[1:]}").view(integer_type)
            expected = as_bits(target, number.astype(FLOAT_TYPES[target][1])[0])
            assert evaluate(f"cvt.rn.{target}.{source}", [a]) == expected, hex(a)


@pytest.mark.parametrize(
    ("mode", "integral"), [("rni", np.rint), ("rzi", np.trunc), ("rmi", np.floor), ("rpi", np.ceil)]
)
def test_floats_round_to_integers_then_clamp(mode: str, integral: np.ufunc) -> None:
    for (a,) in rows(("f32",), 500, seed=8):
        value = as_float("f32", a)
        with np.errstate(invalid="ignore"):
            assert agrees(f"cvt.{mode}.f32.f32", [a], as_bits("f32", integral(value)))
        if np.isfinite(value):
            whole = int(integral(value))
            assert evaluate(f"cvt.{mode}.s32.f32", [a]) == min(max(whole, -(2**31)), 2**31 - 1) % 2**32
            assert evaluate(f"cvt.{mode}.u8.f32", [a]) == min(max(whole, 0), 255)


# Integers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["u16", "s16", "u32", "s32", "u64", "s64"])
def test_integer_arithmetic_wraps_as_numpys(type_: str) -> None:
    unsigned = np.dtype(f"uint{type_[1:]}")
    signed = np.dtype(type_.replace("s", "int").replace("u", "uint"))
    with np.errstate(over="ignore"):
        for row in rows((type_, type_), 500, seed=9):
            a, b = np.array(row, dtype=unsigned).view(signed)
            expected = {"add": a + b, "sub": a - b, "mul.lo": a * b, "min": min(a, b), "max": max(a, b)}
            for name, value in expected.items():
                assert evaluate(f"{name}.{type_}", row) == int(np.array([value]).view(unsigned)[0])


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_the_halves_of_a_product_make_the_product(a: int, b: int) -> None:
    operands = [a % 2**64, b % 2**64]
    high, low = evaluate("mul.hi.s64", operands), evaluate("mul.lo.s64", operands)
    assert (high << 64 | low) == a * b % 2**128


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_carries_and_borrows_chain(a: int, b: int) -> None:
    """128-bit sums from 64-bit halves; after sub.cc the flag is the borrow."""
    low_mask = 2**64 - 1
    for name, expected in (("add", (a + b) % 2**128), ("sub", (a - b) % 2**128)):
        low, flag = evaluate(f"{name}.cc.u64", [a & low_mask, b & low_mask])
        assert evaluate(f"{name}c.u64", [a >> 64, b >> 64, flag]) << 64 | low == expected


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_lop3_looks_up_each_bit(a: int, b: int, c: int, table: int) -> None:
    """The table of any expression is what the expression gives for 0xF0, 0xCC, 0xAA: the ISA's recipe."""
    assert evaluate("lop3.b32", [a, b, c, (0xF0 & 0xCC) ^ 0xAA]) == a & b ^ c
    assert evaluate("lop3.b32", [a, b, c, table]) ^ evaluate("lop3.b32", [a, b, c, table ^ 0xFF]) == 0xFFFFFFFF


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 40))
def test_a_field_inserted_is_extracted(a: int, start: int, length: int) -> None:
    inserted = evaluate("bfi.b32", [a, 0xDEADBEEF, start, length])
    kept = max(0, min(length, 32 - start))
    assert evaluate("bfe.u32", [inserted, start, length]) == a & (2**kept - 1)


# Known results ----------------------------------------------------------------------------------------------

NAN, INFINITY = 0x7FFFFFFF, 0x7F800000

ISA_EXAMPLES = [
    ("fns.b32", [0xAAAAAAAA, 3, 1], 3),
    ("fns.b32", [0xAAAAAAAA, 3, 0xFFFFFFFF], 3),
    ("fns.b32", [0xAAAAAAAA, 2, 1], 3),
    ("fns.b32", [0xAAAAAAAA, 2, 0xFFFFFFFF], 1),
    ("bmsk.wrap.b32", [1, 2], 6),
    ("szext.wrap.u32", [0xFFFFFFFF, 0], 0),
    ("mov.pack2.b32", [0x1111, 0x2222], 0x22221111),
    ("bfind.u32", [0], 0xFFFFFFFF),
    ("bfind.shiftamt.s32", [0xFFFF0000], 16),
]

MEASURED_ON_H200 = [
    ("div.u32", [7, 0], 0xFFFFFFFF),
    ("rem.s32", [7, 0], 0xFFFFFFFF),
    ("rem.u16", [0xFF, 0], 0xFFFF),
    ("div.s32", [0x80000000, 0xFFFFFFFF], 0x80000000),
    ("rem.s32", [0x80000000, 0xFFFFFFFF], 0),
    ("shl.b32", [1, 32], 0),
    ("shr.s32", [0x80000000, 0xFFFFFFFF], 0xFFFFFFFF),
    ("shf.l.clamp.b32", [1, 2, 33], 1),
    ("shf.l.wrap.b32", [1, 2, 33], 4),
    ("prmt.b32", [0x03020100, 0x87060504, 0xF531], 0xFF050301),
    ("cvt.rzi.s32.f32", [NAN], 0),
    ("cvt.rzi.u8.f32", [NAN], 0),
    ("cvt.rzi.s64.f32", [NAN], 1 << 63),
    ("cvt.rzi.u64.f16", [0x7E00], 1 << 63),
    ("cvt.rzi.u32.f64", [0xFFF0000000000001], 1 << 31),
    ("cvt.rzi.s8.f64", [0xFFF0000000000001], 0x80),
    ("cvt.rni.s32.f32", [f32(2.5)], 2),
    ("cvt.rni.f32.f32", [f32(-0.5)], 0x80000000),
    ("cvt.sat.f32.f32", [NAN], 0),
    ("cvt.sat.f32.f32", [0x80000000], 0),
    ("cvt.rn.satfinite.e4m3x2.f32", [INFINITY, f32(-465.0)], 0x7EFE),
    ("min.f32", [0, 0x80000000], 0x80000000),
    ("max.f32", [0x80000000, 0], 0),
    ("max.f32", [NAN, f32(1.0)], f32(1.0)),
    ("max.NaN.f32", [NAN, f32(1.0)], NAN),
    ("min.xorsign.abs.f32", [f32(-3.0), f32(2.0)], f32(-2.0)),
    ("testp.normal.f32", [0], 1),
    ("testp.subnormal.f32", [0], 0),
    ("setp.ltu.f32", [NAN, 0], (1, 0)),
    ("setp.lt.f32", [NAN, 0], (0, 1)),
    ("setp.eq.f32", [0, 0x80000000], (1, 0)),
    ("slct.f32.f32", [1, 2, 0x80000000], 1),
    ("slct.f32.f32", [1, 2, NAN], 2),
    ("set.eq.u32.f32", [0, 0], 0xFFFFFFFF),
    ("set.eq.f32.f32", [0, 0], f32(1.0)),
    # .ftz asks after rounding: just below 2**-126, a product that rounds up to it stays, one that does not is
    # flushed
    ("cvt.rn.ftz.f32.f64", [0x380FFFFFFFFFFFFF], 0x00800000),
    ("cvt.rn.ftz.f32.f64", [0x380FFFFFE0000000], 0),
    ("rcp.rm.ftz.f32", [0xFE800001], 0x80000000),
    ("fma.rn.ftz.f32", [f32(1.0), 0x80000001, 0x80000000], 0x80000000),
]


@pytest.mark.parametrize(("opcode", "operands", "result"), ISA_EXAMPLES + MEASURED_ON_H200)
def test_known_results(opcode: str, operands: list[int], result: int | tuple[int, ...]) -> None:
    assert evaluate(opcode, operands) == result


def test_the_sign_of_an_exact_zero_sum_depends_on_the_rounding() -> None:
    one, minus_one = f32(1.0), f32(-1.0)
    assert evaluate("add.rn.f32", [one, minus_one]) == 0
    assert evaluate("add.rm.f32", [one, minus_one]) == 0x80000000


# The door ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", ["add.q32", "mma.sync", "fma.f32", "cvt.f16.f32", ""])
def test_an_unknown_opcode_is_named(opcode: str) -> None:
    with pytest.raises(UnknownInstruction) as caught:
        evaluate(opcode, [0, 0])
    assert str(caught.value) == f"no definition of {opcode}"
    assert isinstance(caught.value, KeyError)


@pytest.mark.parametrize("operands", [[1], [1, 2, 3], [-1, 0], [1 << 32, 0]])
def test_operands_that_do_not_fit_are_refused(operands: list[int]) -> None:
    with pytest.raises(ValueError, match=r"add\.s32"):
        evaluate("add.s32", operands)


def test_no_opcode_is_defined_twice() -> None:
    listed = [opcode for family in (integer, bits, floating, compare, convert) for opcode, _ in family.entries()]
    assert len(listed) == len(set(listed))
    assert set(listed).isdisjoint(semantics.approximations())


def test_every_instruction_gives_patterns_of_its_result_types() -> None:
    for opcode in semantics.opcodes():
        instruction = semantics.signature(opcode)
        for row in rows(instruction.operands, 2, seed=10):
            results = evaluate(opcode, row)
            results = results if isinstance(results, tuple) else (results,)
            pairs = zip(instruction.results, results, strict=True)
            assert all(0 <= result < 1 << BITS[type_] for type_, result in pairs), opcode


# Approximations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", semantics.approximations())
def test_the_rounded_reference_is_within_the_tolerance(opcode: str) -> None:
    for row in rows(semantics.signature(opcode).operands, 200, seed=11):
        result = evaluate(opcode, row)
        assert agrees(opcode, row, result), (opcode, [hex(bits_) for bits_ in row])


@pytest.mark.parametrize("opcode", [opcode for opcode in semantics.approximations() if opcode.endswith("f32")])
def test_a_result_off_by_a_thousandth_is_not(opcode: str) -> None:
    operands = [f32(1.3)] * len(semantics.signature(opcode).operands)
    value = semantics.reference(opcode, operands)
    assert agrees(opcode, operands, f32(value))
    assert not agrees(opcode, operands, f32(value * 1.001 if opcode != "tanh.approx.f32" else value * 1.01))
    assert not agrees(opcode, operands, NAN)


@pytest.mark.parametrize(
    ("opcode", "operand", "result"),
    [
        ("rcp.approx.ftz.f32", 0x80000001, 0xFF800000),
        ("rcp.approx.f32", 0xFF800000, 0x80000000),
        ("rsqrt.approx.f32", 0x80000000, 0xFF800000),
        ("sqrt.approx.f32", f32(-1.0), NAN),
        ("ex2.approx.f32", 0xFF800000, 0),
        ("ex2.approx.ftz.f32", 1, f32(1.0)),
        ("lg2.approx.f32", 0, 0xFF800000),
        ("sin.approx.f32", INFINITY, NAN),
        ("cos.approx.f32", 0x80000000, f32(1.0)),
    ],
)
def test_special_values_of_approximations(opcode: str, operand: int, result: int) -> None:
    """PTX ISA, the tables beside each instruction."""
    assert evaluate(opcode, [operand]) == result
    assert agrees(opcode, [operand], result)


def test_samples_reach_the_corners() -> None:
    """The other tests lean on it.

    Zeros, infinities, NaN and shift amounts beyond the width are among the operands.
    """
    assert {0, 0x80000000, INFINITY, NAN, 1} <= {a for (a,) in rows(("f32",), 64, seed=0)}
    assert {0, 32, 33, 0xFFFFFFFF} <= {b for _, b in rows(("b32", "u32"), 300, seed=0)}
    assert set(corners("f32")) <= set(edges("f32"))


def test_samples_are_the_same_for_the_same_seed() -> None:
    again = rows.__wrapped__(("f32", "s64"), 20, seed=3)
    assert rows(("f32", "s64"), 20, seed=3) == again

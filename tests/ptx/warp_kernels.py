"""PTX kernels of one matrix instruction for one warp: each lane reads its bytes, and writes its own.

Their kernel is called `k` and takes the addresses of what it reads and of what it writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import product as every

import ml_dtypes
import numpy as np

from grader.ptx.definition import fragments, matrix, sparse
from grader.ptx.definition.fragments import Fragment
from tests.ptx.one_instruction import HEADER

LANES = 32
NUMPY = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "tf32": np.float32, "f32": np.float32, "f64": np.float64,
         "s8": np.int8, "u8": np.uint8, "s32": np.int32, "e4m3": ml_dtypes.float8_e4m3fn,
         "e5m2": ml_dtypes.float8_e5m2, "s4": ml_dtypes.int4, "u4": ml_dtypes.uint4, "b1": np.uint8}  # fmt: skip
BYTE_PAIRS = [("s8", "s8"), ("s8", "u8"), ("u8", "s8"), ("u8", "u8")]
HALF_BYTE_PAIRS = [(f"{a[0]}4", f"{b[0]}4") for a, b in BYTE_PAIRS]
FP8_PAIRS = [("e4m3", "e4m3"), ("e5m2", "e4m3"), ("e4m3", "e5m2")]


def _inputs(type_: str) -> list[tuple[str, str]]:
    pairs = {"s8": BYTE_PAIRS, "s4": HALF_BYTE_PAIRS, "e4m3": FP8_PAIRS, "b1": []}
    return pairs.get(type_, [] if type_ in ("u8", "u4", "e5m2") else [(type_, type_)])


LAYOUTS = list(every(("row", "col"), repeat=2))
COUNTS = list(every((1, 2, 4), ("", ".trans")))
MMA = [
    f"mma.sync.aligned.{shape}.row.col{'.satfinite' * saturate}.{total}.{a}.{b}.{total}"
    for type_, shapes in fragments.MMA_SHAPES.items()
    for shape in shapes
    for a, b in _inputs(type_)
    for total in fragments.SUMS[type_]
    for saturate in ((False, True) if total == "s32" else (False,))
]
MMA += [f"mma.sync.aligned.{shape}.row.col.s32.b1.b1.s32.and.popc" for shape in fragments.MMA_SHAPES["b1"]]
MMA += [
    f"mma.sync.aligned.m8n8k4.{a}.{b}.{total}.f16.f16.{total}"
    for (a, b), total in zip(LAYOUTS, ("f32", "f16", "f32", "f16"), strict=True)
]
DIFFERS = [opcode.replace(".and.", ".xor.") for opcode in MMA if ".and." in opcode]
SPARSE = [
    f"mma.sp{'::ordered_metadata' * (shape == shapes[0])}.sync.aligned.{shape}.row.col.{total}.{a}.{b}.{total}"
    for type_, shapes in sparse.SHAPES.items()
    for shape in shapes
    for a, b in _inputs(type_)[-1:]
    for total in fragments.SUMS[type_]
]
WMMA = [
    f"wmma.mma{'.and.popc' * (type_ == 'b1')}.sync.aligned.{a}.{b}.{shape}."
    + (f"{total}.{total}" if type_ == "f16" else f"{total}.{type_}.{type_}.{total}")
    for type_, shapes in fragments.WMMA_SHAPES.items()
    for shape in shapes
    for total in fragments.SUMS[type_]
    for a, b in (LAYOUTS[1:2] if fragments.ELEMENT_BITS[type_] < 8 else LAYOUTS[1:3])
]


# Kernels of one instruction, whose lanes read and write their own registers -----------------------------------------


def registers_named(name: str, count: int) -> list[str]:
    return [f"%{name}{i}" for i in range(count)]


def declare(names: list[str], bits: int) -> str:
    return f".reg .b{bits} {', '.join(names)};"


def move(op: str, names: list[str], bits: int, start: int, pointer: str) -> list[str]:
    places = [f"[{pointer}+{start + i * bits // 8}]" for i in range(len(names))]
    pairs = zip(names, places, strict=True)
    return [f"{op}.global.b{bits} {', '.join((n, p) if op == 'ld' else (p, n))};" for n, p in pairs]


def kernel(body: list[str], reads: int, writes: int) -> str:
    """Thread i's `reads` and `writes` bytes lie at %in and at %out."""
    return f"""{HEADER}.visible .entry k(.param .u64 source, .param .u64 target)
{{
    .reg .b64 %in, %out, %step; .reg .b32 %t;
    mov.u32 %t, %tid.x;
    ld.param.u64 %in, [source]; mul.wide.u32 %step, %t, {reads}; add.s64 %in, %in, %step;
    ld.param.u64 %out, [target]; mul.wide.u32 %step, %t, {writes}; add.s64 %out, %out, %step;
    {chr(10).join(body)}
    ret;
}}
"""


@cache
def product_kernel(opcode: str, selector: int = 0) -> tuple[str, int, int]:
    """Text, and the bytes of a lane that it reads and writes. Of mma.sp: the metadata comes last."""
    shape = fragments.product(opcode)
    body, names, at = [], [], 0
    for letter, fragment in zip("abcd", (shape.a, shape.b, shape.c, shape.d), strict=True):
        bits = fragment.register_bits
        registers = registers_named(letter, fragment.registers)
        body.append(declare(registers, bits))
        names.append("{" + ", ".join(registers) + "}")
        if letter != "d":
            body += move("ld", registers, bits, at, "%in")
            at += len(registers) * bits // 8
        else:
            writes = len(registers) * bits // 8
            operands = [names[3], *names[:3]]
            if shape.sparsity:
                body += [".reg .b32 %which;", f"ld.global.b32 %which, [%in+{at}];"]
                operands += ["%which", str(selector)]
                at += 4
            body.append(f"{opcode} {', '.join(operands)};")
            body += move("st", registers, bits, 0, "%out")
    return kernel(body, at, writes), at, writes


def lanes_as_bytes(fragment: Fragment, lanes: list[list[int]]) -> np.ndarray:
    size = fragment.register_bits // 8
    data = b"".join(register.to_bytes(size, "little") for lane in lanes for register in lane)
    return np.frombuffer(data, np.uint8).reshape(LANES, -1)


def patterns(fragment: Fragment, values: np.ndarray) -> list[int]:
    if fragment.bits < 8:
        return [int(value) & ((1 << fragment.bits) - 1) for value in np.asarray(values).astype(np.int64).ravel()]
    bits = np.asarray(values).astype(NUMPY[fragment.type]).view(f"u{fragment.bits // 8}")
    return [int(b) for b in bits.ravel()]


SHARED = """
    .shared .align 16 .b8 tile[{size}];
    .reg .b64 %row, %base; .reg .b32 %x<4>, %address, %r<4>;
    mov.u64 %base, tile; cvt.u32.u64 %address, %base; mad.lo.u32 %address, %t, {stride}, %address;
"""
STRIDE = 16 + 16  # rows of 16 bytes, set apart


def fill(stride: int = STRIDE) -> list[str]:
    """Row t of the tile is what thread t reads."""
    return [
        SHARED.format(size=LANES * stride, stride=stride),
        "ld.global.v4.b32 {%x0, %x1, %x2, %x3}, [%in];",
        "st.shared.v4.b32 [%address], {%x0, %x1, %x2, %x3};",
        "bar.sync 0;",
    ]


def load_kernel(count: int, trans: str, address: str = "") -> str:
    """ldmatrix of the rows that the lanes bring, 16 bytes each; `address` may change where a lane points."""
    registers = [f"%r{i}" for i in range(count)]
    load = f"ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {{{', '.join(registers)}}}, [%address];"
    return kernel([*fill(), address, load, *move("st", registers, 32, 0, "%out")], 16, 4 * count)


def store_kernel(count: int, trans: str) -> str:
    """stmatrix of the lanes' registers; each lane writes the row that it pointed at, 16 bytes."""
    registers = [f"%x{i}" for i in range(count)]
    body = [
        SHARED.format(size=LANES * STRIDE, stride=STRIDE),
        *move("ld", registers, 32, 0, "%in"),
        f"stmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 [%address], {{{', '.join(registers)}}};",
        ".reg .pred %none;",
        "bar.warp.sync 0xffffffff;",
        f"setp.ge.u32 %none, %t, {8 * count};",
        "@%none bra $end;",
        "ld.shared.v4.b32 {%r0, %r1, %r2, %r3}, [%address];",
        "st.global.v4.b32 [%out], {%r0, %r1, %r2, %r3};",
        "$end:",
    ]
    return kernel(body, 4 * count, 16)


def transpose_kernel() -> str:
    body = [".reg .b32 %x, %y;", "ld.global.b32 %x, [%in];",
            "movmatrix.sync.aligned.m8n8.trans.b16 %y, %x;", "st.global.b32 [%out], %y;"]  # fmt: skip
    return kernel(body, 4, 4)


def wmma_kernel(opcode: str) -> str:
    """D of A, B and C, which lie one after the other: A and B as the opcode says, C and D row by row."""
    shape = fragments.product(opcode)
    a_layout, b_layout = re.findall(r"\.(row|col)", opcode)
    size = next(p for p in opcode.split(".") if re.fullmatch(r"m\d+n\d+k\d+", p))
    body, names, at = [], [], 0
    plan = (("a", shape.a, a_layout), ("b", shape.b, b_layout), ("c", shape.c, "row"), ("d", shape.d, "row"))
    for letter, fragment, layout in plan:
        registers = registers_named(letter, fragment.registers)
        body.append(declare(registers, fragment.register_bits))
        names.append("{" + ", ".join(registers) + "}")
        stride = fragment.columns if layout == "row" else fragment.rows
        where = f"sync.aligned.{layout}.{size}.global.{fragment.type}"
        if letter == "d":
            body.append(f"{opcode} {', '.join([names[3], *names[:3]])};")
            body.append(f"wmma.store.d.{where} [%out], {names[3]}, {stride};")
        else:
            body.append(f"wmma.load.{letter}.{where} {names[-1]}, [%in+{at}], {stride};")
            at += fragment.rows * fragment.columns * fragment.bits // 8
    return kernel(body, 0, 0)


def wmma_memory(opcode: str, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """What that kernel reads, for matrices of numbers."""
    shape = fragments.product(opcode)
    a_layout, b_layout = re.findall(r"\.(row|col)", opcode)
    stored = (a if a_layout == "row" else a.T, b if b_layout == "row" else b.T, c)
    pieces = zip(stored, (shape.a, shape.b, shape.c), strict=True)
    return np.concatenate([_stored(np.ascontiguousarray(x), f) for x, f in pieces])


def _stored(matrix: np.ndarray, fragment: Fragment) -> np.ndarray:
    if fragment.bits >= 8:
        return matrix.astype(NUMPY[fragment.type]).reshape(-1).view(np.uint8)
    bits = matrix.reshape(-1, 1) >> np.arange(fragment.bits) & 1  # lowest first
    return np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little")


def integers(opcode: str) -> list[np.ndarray]:
    """A, B and C of small integers, so that every order of summing gives the same."""
    shape, random = fragments.product(opcode), np.random.default_rng(len(opcode))
    low = 0 if {"u8", "u4", "b1"} & set(opcode.split(".")) else -4
    most = 2 if shape.a.bits == 1 else 5
    return [random.integers(low, most, (f.rows, f.columns)) for f in (shape.a, shape.b, shape.c)]


def times(opcode: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A times B; of four products in one, each A times its own B, one under the other."""
    parts = fragments.product(opcode).parts
    pairs = zip(np.split(a, parts), np.split(b, parts), strict=True)
    return np.concatenate([left @ right for left, right in pairs])


# Sparse products ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SparseProblem:
    lanes: tuple[list[list[int]], ...]  # registers of A, B and C
    metadata: np.ndarray  # a word of each lane
    selector: int
    source: np.ndarray  # what the kernel reads
    expected: list[int]  # bit patterns of D


def sparse_problem(opcode: str) -> SparseProblem:
    """Half of each chunk of A is stored, by chance; the rest is zero."""
    shape, random = fragments.product(opcode), np.random.default_rng(len(opcode))
    assert shape.sparsity
    stored, b, c = integers(opcode)
    chunk, depth = shape.sparsity.chunk, shape.sparsity.depth
    # Two of four elements, two of four pairs; or the halves of one of two elements.
    pairs = [(0, 1), (2, 3)] if chunk == 2 else [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    chosen = random.choice(np.array(pairs), (16, depth // chunk))
    wide = np.zeros((16, depth), int)
    for row, place in np.ndindex(*chosen.shape[:2]):
        halves = [int(i) * chunk + h for i in chosen[row, place] for h in range(chunk)]
        columns = sorted({place * chunk + half // 4 for half in halves})
        wide[row, columns] = stored[row, place * chunk // 2 : (place + 1) * chunk // 2]
    selector = int(random.integers(4 // shape.sparsity.contributors))
    words = _metadata(chosen, by_row=shape.a.bits < 16, selector=selector)
    parts = [(shape.a, stored), (shape.b, b), (shape.c, c)]
    lanes = tuple(matrix.scatter(f, patterns(f, values)) for f, values in parts)
    brought = [lanes_as_bytes(f, rows) for (f, _), rows in zip(parts, lanes, strict=True)]
    source = np.concatenate([*brought, words.view(np.uint8).reshape(LANES, 4)], axis=1)
    return SparseProblem(lanes, words, selector, np.ascontiguousarray(source), patterns(shape.d, wide @ b + c))


def _metadata(chosen: np.ndarray, *, by_row: bool, selector: int) -> np.ndarray:
    """A word of each lane, as the figures of the ISA show it; what is not selected is noise.

    `chosen`: the two indices of each chunk of each row. `by_row`: a word is of one row, not of two.
    """
    bits = (chosen[..., 0] | chosen[..., 1] << 2).astype(np.uint32)
    words = np.random.default_rng(5).integers(0, 1 << 32, LANES, np.uint32)
    per = 8 if by_row else 4  # chunks of a row in a word
    parts = bits.shape[1] // per
    for row, part in np.ndindex(8, parts):
        chunks = slice(part * per, (part + 1) * per)
        upper, lower = (sum(int(x) << 4 * i for i, x in enumerate(bits[row + below, chunks])) for below in (0, 8))
        lane = 4 * row + selector * parts * (2 if by_row else 1)
        if by_row:
            words[lane + 2 * part], words[lane + 2 * part + 1] = upper, lower
        else:
            words[lane + part] = upper | lower << 16
    return words

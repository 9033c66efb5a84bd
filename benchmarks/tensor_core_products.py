"""One matrix instruction as a kernel: each block multiplies matrices of its own. For mma, wmma and wgmma.

Matrices are given row by row as codes, (blocks, rows, columns): A is (m, k), B is (n, k), one row for each column of
the product, C and D are (m, n). What a kernel is given are bytes, in the order in which its threads read them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grader.ptx.definition import fragments
from grader.ptx.definition.fragments import ELEMENT_BITS, Fragment
from grader.ptx.definition.warpgroup import LEAST_N, MOST_N, OPERAND_BYTES, SUMS, places

HEADER = ".version 9.0\n.target sm_90a\n.address_size 64\n"
WARP, WARPGROUP = 32, 128
PIECE = 16  # bytes of a row that lie together in shared memory
SETUP = """
    .reg .b64 %a, %b, %c, %d, %n; .reg .b32 %t, %block;
    mov.u32 %t, %tid.x; mov.u32 %block, %ctaid.x;
    ld.param.u64 %a, [pa]; ld.param.u64 %b, [pb]; ld.param.u64 %c, [pc]; ld.param.u64 %d, [pd];"""


@dataclass(frozen=True)
class Shape:
    """What an instruction multiplies: D (m, n) += A (m, k) · B (n, k)."""

    m: int
    n: int
    k: int
    a: str
    b: str
    c: str
    d: str


class Instruction:
    """`text`: PTX of a kernel `k` of four pointers; `pack` and `unpack`: between codes and its bytes."""

    shape: Shape
    threads: int
    text: str

    def __init__(self, opcode: str) -> None:
        self.opcode = opcode

    def pack(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
        raise NotImplementedError

    def unpack(self, d: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def output_bytes(self) -> int:
        """Of one block."""
        return self.shape.m * self.shape.n * ELEMENT_BITS[self.shape.d] // 8


def _kernel(body: list[str], threads: int) -> str:
    parameters = ", ".join(f".param .u64 p{name}" for name in "abcd")
    lines = "\n    ".join(body)
    return (
        f"{HEADER}.visible .entry k({parameters})\n.maxntid {threads}, 1, 1\n{{{SETUP}\n    {lines}\n    ret;\n}}\n"
    )


def _own(pointer: str, block_bytes: int, thread_bytes: int) -> list[str]:
    """The pointer moves to what this block, and in it this thread, has."""
    return [
        f"mul.wide.u32 %n, %block, {block_bytes}; add.s64 {pointer}, {pointer}, %n;",
        f"mul.wide.u32 %n, %t, {thread_bytes}; add.s64 {pointer}, {pointer}, %n;",
    ]


def _names(letter: str, count: int) -> list[str]:
    return [f"%{letter}{i}" for i in range(count)]


def _move(op: str, names: list[str], bits: int, pointer: str) -> list[str]:
    pairs = [(name, f"[{pointer}+{i * bits // 8}]") for i, name in enumerate(names)]
    return [f"{op}.global.b{bits} {n}, {p};" if op == "ld" else f"{op}.global.b{bits} {p}, {n};" for n, p in pairs]


# mma: registers of a warp ---------------------------------------------------------------------------------------


class Mma(Instruction):
    threads = WARP

    def __init__(self, opcode: str) -> None:
        super().__init__(opcode)
        self.product = fragments.product(opcode)
        p = self.product
        self.shape = Shape(p.a.rows, p.b.columns, p.depth, p.a.type, p.b.type, p.c.type, p.d.type)

    @cached_property
    def text(self) -> str:  # type: ignore[override]
        body, names = [], []
        for letter, fragment in zip(
            "abcd", (self.product.a, self.product.b, self.product.c, self.product.d), strict=True
        ):
            registers, size = _names(letter, fragment.registers), fragment.register_bits // 8 * fragment.registers
            names.append("{" + ", ".join(registers) + "}")
            body.append(f".reg .b{fragment.register_bits} {', '.join(registers)};")
            body += _own(f"%{letter}", WARP * size, size)
            if letter != "d":
                body += _move("ld", registers, fragment.register_bits, f"%{letter}")
        body.append(f"{self.opcode} {names[3]}, {names[0]}, {names[1]}, {names[2]};")
        return _kernel([*body, *_move("st", registers, fragment.register_bits, "%d")], WARP)

    def pack(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
        p = self.product
        below = np.tile(b.swapaxes(1, 2), (1, p.parts, 1))  # all parts of A meet the same B
        return _registers(p.a, a), _registers(p.b, below), _registers(p.c, c)

    def unpack(self, d: np.ndarray) -> np.ndarray:
        fragment = self.product.d
        values = d.view(f"u{fragment.bits // 8}").reshape(-1, WARP * fragment.elements)
        matrix = np.empty((len(values), fragment.rows * fragment.columns), values.dtype)
        matrix[:, np.array(fragment.indices).ravel()] = values
        return matrix.reshape(-1, fragment.rows, fragment.columns)


def _registers(fragment: Fragment, matrices: np.ndarray) -> np.ndarray:
    """The elements of each lane, in the order of its registers. Elements of less than a byte share one."""
    flat = matrices.reshape(len(matrices), -1)[:, np.array(fragment.indices).ravel()]
    if fragment.bits >= 8:
        return np.ascontiguousarray(flat.astype(f"u{fragment.bits // 8}")).view(np.uint8)
    bits = (flat[..., None] >> np.arange(fragment.bits) & 1).astype(np.uint8)
    return np.packbits(bits.reshape(len(flat), -1), axis=1, bitorder="little")


# wmma: matrices in memory ---------------------------------------------------------------------------------------


class Wmma(Mma):
    """A by rows, B by columns, C and D by rows."""

    @cached_property
    def text(self) -> str:  # type: ignore[override]
        p = self.product
        size = next(m for m in self.opcode.split(".") if re.fullmatch(r"m\d+n\d+k\d+", m))
        body, names = [], []
        for letter, fragment, layout in (("a", p.a, "row"), ("b", p.b, "col"), ("c", p.c, "row"), ("d", p.d, "row")):
            registers = _names(letter, fragment.registers)
            names.append("{" + ", ".join(registers) + "}")
            body.append(f".reg .b{fragment.register_bits} {', '.join(registers)};")
            body += _own(f"%{letter}", fragment.rows * fragment.columns * fragment.bits // 8, 0)
            stride = fragment.rows if layout == "col" else fragment.columns
            where = f"sync.aligned.{layout}.{size}.global.{fragment.type}"
            if letter == "d":
                body.append(f"{self.opcode} {names[3]}, {names[0]}, {names[1]}, {names[2]};")
                body.append(f"wmma.store.d.{where} [%d], {names[3]}, {stride};")
            else:
                body.append(f"wmma.load.{letter}.{where} {names[-1]}, [%{letter}], {stride};")
        return _kernel(body, WARP)

    def pack(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
        p = self.product
        return tuple(_in_memory(x, f.bits) for x, f in ((a, p.a), (b, p.b), (c, p.c)))

    def unpack(self, d: np.ndarray) -> np.ndarray:
        return d.view(f"u{self.product.d.bits // 8}").reshape(-1, self.shape.m, self.shape.n)


def _in_memory(matrices: np.ndarray, bits: int) -> np.ndarray:
    flat = matrices.reshape(len(matrices), -1)
    if bits >= 8:
        return np.ascontiguousarray(flat.astype(f"u{bits // 8}")).view(np.uint8)
    single = (flat[..., None] >> np.arange(bits) & 1).astype(np.uint8)
    return np.packbits(single.reshape(len(flat), -1), axis=1, bitorder="little")


# wgmma: A and B in shared memory --------------------------------------------------------------------------------


class Wgmma(Instruction):
    """Without swizzle: eight rows of 16 bytes lie together, then those of the next 16 bytes, then the next rows."""

    threads = WARPGROUP

    def __init__(self, n: int, a: str, b: str, d: str) -> None:
        k = 8 * OPERAND_BYTES // ELEMENT_BITS[a]
        super().__init__(f"wgmma.mma_async.sync.aligned.m64n{n}k{k}.{d}.{a}.{b}")
        self.shape = Shape(64, n, k, a, b, d, d)
        self.words = self.output_bytes() // 4 // WARPGROUP

    @cached_property
    def text(self) -> str:  # type: ignore[override]
        a_bytes, b_bytes = self.shape.m * OPERAND_BYTES, self.shape.n * OPERAND_BYTES
        sums, thread_bytes = _names("s", self.words), 4 * self.words
        body = [
            f".shared .align 128 .b8 tile[{a_bytes + b_bytes}];",
            f".reg .b32 {', '.join(sums)}; .reg .b32 %x<4>, %to, %at; .reg .b64 %da, %db; .reg .pred %p, %q;",
            *_own("%a", a_bytes, PIECE), *_own("%b", b_bytes, PIECE),
            *_own("%c", WARPGROUP * thread_bytes, thread_bytes), *_own("%d", WARPGROUP * thread_bytes, thread_bytes),
            f"mov.u32 %to, tile; mad.lo.u32 %at, %t, {PIECE}, %to;",
            *self._copy("%a", 0, a_bytes), *self._copy("%b", a_bytes, b_bytes),
            "fence.proxy.async.shared::cta; bar.sync 0;",
            *_move("ld", sums, 32, "%c"),
            "cvt.u64.u32 %da, %to; shr.u64 %da, %da, 4;",
            f"or.b64 %da, %da, {(8 * PIECE >> 4) << 16 | (16 * PIECE >> 4) << 32};",
            f"add.u64 %db, %da, {a_bytes >> 4}; setp.eq.u32 %p, 0, 0;",
            "wgmma.fence.sync.aligned;",
            f"{self.opcode} {{{', '.join(sums)}}}, %da, %db, %p{self._rest()};",
            "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;",
            *_move("st", sums, 32, "%d"),
        ]  # fmt: skip
        return _kernel(body, WARPGROUP)

    @staticmethod
    def _copy(pointer: str, start: int, size: int) -> list[str]:
        """From global to shared memory, by all threads that have something to copy."""
        step, lines = WARPGROUP * PIECE, []
        for at in range(0, size, step):
            left = min(size - at, step) // PIECE
            lines += [
                f"setp.lt.u32 %q, %t, {left};",
                f"@%q ld.global.v4.b32 {{%x0, %x1, %x2, %x3}}, [{pointer}+{at}];",
                f"@%q st.shared.v4.b32 [%at+{start + at}], {{%x0, %x1, %x2, %x3}};",
            ]
        return lines

    def _rest(self) -> str:
        """Signs, and of 16-bit elements that neither matrix is transposed."""
        if self.shape.d == "s32":
            return ""
        return ", 1, 1, 0, 0" if ELEMENT_BITS[self.shape.a] == 16 else ", 1, 1"

    def pack(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
        dtype = f"u{ELEMENT_BITS[self.shape.a] // 8}"
        ordered = np.empty((len(c), WARPGROUP, self.shape.n // 2), f"u{ELEMENT_BITS[self.shape.d] // 8}")
        ordered[...] = c[:, self._places[..., 0], self._places[..., 1]]
        return _tiles(a.astype(dtype)), _tiles(b.astype(dtype)), ordered.reshape(len(c), -1).view(np.uint8)

    def unpack(self, d: np.ndarray) -> np.ndarray:
        values = d.view(f"u{ELEMENT_BITS[self.shape.d] // 8}").reshape(-1, WARPGROUP, self.shape.n // 2)
        matrix = np.empty((len(values), self.shape.m, self.shape.n), values.dtype)
        matrix[:, self._places[..., 0], self._places[..., 1]] = values
        return matrix

    @cached_property
    def _places(self) -> np.ndarray:
        return np.array([places(self.shape.n, thread) for thread in range(WARPGROUP)])


def _tiles(matrices: np.ndarray) -> np.ndarray:
    blocks, rows, _ = matrices.shape
    data = np.ascontiguousarray(matrices).view(np.uint8).reshape(blocks, rows // 8, 8, OPERAND_BYTES // PIECE, PIECE)
    return np.ascontiguousarray(data.swapaxes(2, 3)).reshape(blocks, -1)


# All of them ----------------------------------------------------------------------------------------------------


def every() -> list[Instruction]:
    return [*_mmas(), *_wmmas(), *_wgmmas()]


def _pairs(type_: str) -> list[tuple[str, str]]:
    """Types of A and B whose first is this."""
    groups = (("e4m3", "e5m2"), ("s8", "u8"), ("s4", "u4"))
    return [(type_, other) for other in next((g for g in groups if type_ in g), (type_,))]


def _mmas() -> list[Instruction]:
    made: list[Instruction] = []
    for type_, shapes in fragments.MMA_SHAPES.items():
        how = ".and.popc" if type_ == "b1" else ""
        for shape in shapes:
            for (a, b), total in ((p, t) for p in _pairs(type_) for t in fragments.SUMS[type_]):
                made.append(Mma(f"mma.sync.aligned.{shape}.row.col.{total}.{a}.{b}.{total}{how}"))
    made += [Mma(f"mma.sync.aligned.m8n8k4.row.col.{total}.f16.f16.{total}") for total in ("f16", "f32")]
    return made


def _wmmas() -> list[Instruction]:
    made: list[Instruction] = []
    for type_, shapes in fragments.WMMA_SHAPES.items():
        how = ".and.popc" if type_ == "b1" else ""
        for shape in shapes:
            for total in fragments.SUMS[type_]:
                inputs = "" if type_ == "f16" else f".{type_}.{type_}"
                made.append(Wmma(f"wmma.mma{how}.sync.aligned.row.col.{shape}.{total}{inputs}.{total}"))
    return made


def _wgmmas() -> list[Instruction]:
    return [
        Wgmma(n, a, b, d)
        for n in range(LEAST_N, MOST_N + 1, 8)
        for type_, totals in SUMS.items()
        for a, b in _pairs(type_)
        for d in totals
        if d != "s32" or n in INTEGER_WIDTHS
    ]


# Of integer products not all N exist.
INTEGER_WIDTHS = (8, 16, 24, *range(32, MOST_N + 1, 16))

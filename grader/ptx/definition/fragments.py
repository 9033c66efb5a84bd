"""How the registers of a warp hold the matrices of a matrix product.

PTX ISA, "Warp Level Matrix Multiply-Accumulate Instructions": the figures of `mma` for each shape. The ISA leaves
the layout of `wmma` fragments open; here a lane holds consecutive elements, in the order in which the matrix is
stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

from grader.ptx.definition.sparse import SHAPES as SPARSE_SHAPES
from grader.ptx.definition.sparse import Sparsity
from grader.ptx.definition.tensor_cores import Sums, of_mma, of_wmma
from grader.ptx.opcodes.opcode import read_opcode

ELEMENT_BITS = {"f16": 16, "bf16": 16, "tf32": 32, "f32": 32, "f64": 64, "s8": 8, "u8": 8, "s32": 32,
                "e4m3": 8, "e5m2": 8, "s4": 4, "u4": 4, "b1": 1}  # fmt: skip
LANES = 32
_Places = tuple[tuple[int, int], ...]  # of one lane

_BYTES = ("m8n8k16", "m16n8k16", "m16n8k32")
_HALF_BYTES = ("m8n8k32", "m16n8k32", "m16n8k64")
_FP8 = ("m16n8k16", "m16n8k32")
MMA_SHAPES = {"f16": ("m16n8k8", "m16n8k16"), "bf16": ("m16n8k8", "m16n8k16"), "tf32": ("m16n8k4", "m16n8k8"),
              "f64": ("m8n8k4", "m16n8k4", "m16n8k8", "m16n8k16"), "s8": _BYTES, "u8": _BYTES,
              "e4m3": _FP8, "e5m2": _FP8, "s4": _HALF_BYTES, "u4": _HALF_BYTES,
              "b1": ("m8n8k128", "m16n8k128", "m16n8k256")}  # fmt: skip
_TILES = ("m16n16k16", "m8n32k16", "m32n8k16")
WMMA_SHAPES = {"f16": _TILES, "bf16": _TILES, "s8": _TILES, "u8": _TILES, "tf32": ("m16n16k8",), "f64": ("m8n8k4",),
               "s4": ("m8n8k32",), "u4": ("m8n8k32",), "b1": ("m8n8k128",)}  # fmt: skip
QUADS = "m8n8k4"  # of f16: four products, each of 8 lanes
SPARSE = {"sp", "sp::ordered_metadata"}
# By the element type of A and B, the types that C and D may have.
SUMS = {"f16": ("f16", "f32"), "bf16": ("f32",), "tf32": ("f32",), "f64": ("f64",), "s8": ("s32",), "u8": ("s32",),
        "e4m3": ("f16", "f32"), "e5m2": ("f16", "f32"), "s4": ("s32",), "u4": ("s32",),
        "b1": ("s32",)}  # fmt: skip
F16_REGISTERS = 8  # of a wmma fragment of A or B, whatever its shape; as on a GPU, lanes may hold the same elements


class UnknownShape(ValueError):  # noqa: N818
    """No such matrix product, or one that is not supported."""


@dataclass(frozen=True)
class Fragment:
    """`places[lane][i]` is the (row, column) of element i that a lane holds; lowest register and bits first."""

    type: str
    rows: int
    columns: int
    places: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def bits(self) -> int:
        return ELEMENT_BITS[self.type]

    @property
    def elements(self) -> int:
        return len(self.places[0])

    @property
    def register_bits(self) -> int:
        return max(self.bits, 32)

    @property
    def registers(self) -> int:
        return self.elements * self.bits // self.register_bits

    @cached_property
    def indices(self) -> tuple[tuple[int, ...], ...]:
        """Per lane, the row-major index of each of its elements."""
        return tuple(tuple(row * self.columns + column for row, column in lane) for lane in self.places)


@dataclass(frozen=True)
class Product:
    """D = A·B + C of one warp; `saturate` clamps an integer sum.

    `differs`: of single bits, those that differ are counted, not those that both are set.
    `parts`: so many independent products, whose matrices stand one under the other.
    `sparsity`: of A, of which only half of each row is there; the lanes bring a word that says which, and a selector.
    """

    a: Fragment
    b: Fragment
    c: Fragment
    d: Fragment
    saturate: bool
    differs: bool = False
    parts: int = 1
    is_wmma: bool = False
    sparsity: Sparsity | None = None

    @property
    def depth(self) -> int:
        """Products that an element of D sums up."""
        return self.a.columns

    @property
    def sums(self) -> Sums:
        """Of floating-point numbers, unless there are several parts."""
        types = self.a.type, self.b.type, self.d.type
        return of_wmma(*types) if self.is_wmma else of_mma(*types, self.depth, sparse=self.sparsity is not None)

    @property
    def extra_words(self) -> int:
        """Of a lane, behind A, B and C."""
        return 2 if self.sparsity else 0


@cache
def product(opcode: str) -> Product:
    """The product that `mma.sync…` or `wmma.mma.sync…` computes. Raises UnknownShape."""
    op = read_opcode(opcode)
    mods = op.modifiers
    shape = next((p for p in mods if re.fullmatch(r"m\d+n\d+k\d+", p)), "")
    types = [p for p in mods if p in ELEMENT_BITS]
    is_wmma = op.row == "wmma.mma"
    if is_wmma and len(types) == 2:
        types = [types[0], "f16", "f16", types[1]]
    counts = {"and", "xor", "popc"} if types[1:2] == ["b1"] else set()
    extra = set(mods) - counts - SPARSE - {"sync", "aligned", "mma", "row", "col", "rn", "satfinite", shape, *types}
    if len(types) != 4 or extra:
        raise UnknownShape(opcode)
    d, a, b, c = types
    sparse = not SPARSE.isdisjoint(mods)
    shapes = (WMMA_SHAPES if is_wmma else SPARSE_SHAPES if sparse else MMA_SHAPES).get(a, ())
    quads = (a, shape) == ("f16", QUADS) and op.base == "mma" and not sparse
    known = quads or shape in shapes
    if not known or {c, d} - set(SUMS[a]) or SUMS.get(b) != SUMS[a] or not _go_together(a, b):
        raise UnknownShape(opcode)
    m, n, k = (int(x) for x in re.findall(r"\d+", shape))
    saturate, differs = "satfinite" in mods, "xor" in mods
    layouts = [p for p in mods if p in ("row", "col")]
    if quads:
        return _four(layouts, c, d)
    if not is_wmma:
        left, right = a_fragment(a, m, k // 2 if sparse else k), _mma_b(b, k, n)
        sparsity = Sparsity(ELEMENT_BITS[a], k) if sparse else None
        return Product(left, right, _mma_sum(c, m, n), _mma_sum(d, m, n), saturate, differs, sparsity=sparsity)
    left, right = wmma_fragment("a", shape, a, layouts[0]), wmma_fragment("b", shape, b, layouts[1])
    start, total = (wmma_fragment("c", shape, type_, "row") for type_ in (c, d))
    return Product(left, right, start, total, saturate, differs, is_wmma=True)


def _go_together(a: str, b: str) -> bool:
    """Only of numbers as small, signed and unsigned ones, or both formats of FP8."""
    return a == b or (ELEMENT_BITS[a] == ELEMENT_BITS[b] and ELEMENT_BITS[a] in (4, 8))


def a_fragment(type_: str, m: int, k: int) -> Fragment:
    """A register covers eight rows, four lanes to a row; the next register is eight rows below, then to the right."""
    per, halves = max(32 // ELEMENT_BITS[type_], 1), m // 8
    registers = m * k // LANES // per
    places = tuple(
        tuple(
            (lane // 4 + 8 * (register % halves), register // halves * 4 * per + lane % 4 * per + i)
            for register in range(registers)
            for i in range(per)
        )
        for lane in range(LANES)
    )
    return Fragment(type_, m, k, places)


def _mma_b(type_: str, k: int, n: int) -> Fragment:
    per = max(32 // ELEMENT_BITS[type_], 1)
    registers = k * n // LANES // per
    places = tuple(
        tuple((r * 4 * per + lane % 4 * per + i, lane // 4) for r in range(registers) for i in range(per))
        for lane in range(LANES)
    )
    return Fragment(type_, k, n, places)


def _mma_sum(type_: str, m: int, n: int) -> Fragment:
    places = tuple(
        tuple((lane // 4 + 8 * (i // 2), lane % 4 * 2 + i % 2) for i in range(m * n // LANES))
        for lane in range(LANES)
    )
    return Fragment(type_, m, n, places)


def _four(layouts: list[str], c: str, d: str) -> Product:
    """Four products of 8 x 4 and 4 x 8 halves: lanes 4q to 4q + 3, and those 16 further, have those of part q."""
    a_layout, b_layout = layouts

    def places(rows: int, of_lane: Callable[[int, int, int], tuple[int, int]], count: int) -> tuple[_Places, ...]:
        """`of_lane` takes a lane of four, 4 if it is one of the upper lanes or 0, and an element."""
        return tuple(
            tuple(
                (lane % 16 // 4 * rows + row, column)
                for row, column in (of_lane(lane % 4, lane // 16 * 4, i) for i in range(count))
            )
            for lane in range(LANES)
        )

    by_a = {"row": lambda x, upper, i: (x + upper, i), "col": lambda x, upper, i: (i + upper, x)}
    by_b = {"row": lambda x, upper, i: (x, i + upper), "col": lambda x, upper, i: (i, x + upper)}
    by_sum = {"f16": lambda x, upper, i: (x + upper, i),
              "f32": lambda x, upper, i: ((x & 1) + (i & 2) + upper, (i & 4) + (x & 2) + (i & 1))}  # fmt: skip
    left = Fragment("f16", 32, 4, places(8, by_a[a_layout], 4))
    right = Fragment("f16", 16, 8, places(4, by_b[b_layout], 4))
    start, total = (Fragment(type_, 32, 8, places(8, by_sum[type_], 8)) for type_ in (c, d))
    return Product(left, right, start, total, saturate=False, parts=4)


@cache
def wmma_fragment(which: str, shape: str, type_: str, layout: str) -> Fragment:
    """Matrix a, b or c (also d) of a wmma shape. C and D are in row-major order, however they are stored."""
    m, n, k = (int(x) for x in re.findall(r"\d+", shape))
    rows, columns = {"a": (m, k), "b": (k, n)}.get(which, (m, n))
    size = rows * columns
    elements = max(size // LANES, 1)
    if type_ == "f16" and which in "ab":
        elements = 2 * F16_REGISTERS
    elements = max(elements, 32 // ELEMENT_BITS[type_])
    by_rows = layout == "row" or which not in "ab"
    run = columns if by_rows else rows

    def place(i: int) -> tuple[int, int]:
        major, minor = divmod(i % size, run)
        return (major, minor) if by_rows else (minor, major)

    places = tuple(tuple(place(lane * elements + i) for i in range(elements)) for lane in range(LANES))
    return Fragment(type_, rows, columns, places)

"""The matrix instructions of a warp: from the registers of all lanes to the registers of all lanes.

PTX ISA, "Warp Level Matrix Multiply-Accumulate Instructions". How floating-point products are added up is in
tensor_cores.py; FP64 products are fused multiply-adds in ascending order of k.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from grader.ptx.definition import exact, tensor_cores
from grader.ptx.definition.computation import clamp, number, pack, unpack, wrap
from grader.ptx.definition.formats import FORMATS, Real, decode, round_to
from grader.ptx.definition.fragments import LANES, Fragment, Product, product

Registers = Sequence[int]  # one lane's, as bit patterns


def multiply(
    opcode: str,
    a: Sequence[Registers],
    b: Sequence[Registers],
    c: Sequence[Registers],
    metadata: Sequence[Registers] = (),
    selector: Sequence[Registers] = (),
) -> list[list[int]]:
    """mma and wmma.mma: the registers of D in each lane. The last two are mma.sp's. Raises UnknownShape."""
    shape = product(opcode)
    left, right, start = (gather(fragment, lanes) for fragment, lanes in ((shape.a, a), (shape.b, b), (shape.c, c)))
    where = list(range(shape.depth)) * shape.a.rows
    if shape.sparsity:
        where = shape.sparsity.columns([words[0] for words in metadata], selector[0][0])
    return scatter(shape.d, _product(shape, left, right, start, where))


def gather(fragment: Fragment, lanes: Sequence[Registers]) -> list[int]:
    """From registers to the bit patterns of the elements, row by row."""
    matrix = [0] * (fragment.rows * fragment.columns)
    per = fragment.register_bits // fragment.bits
    for registers, indices in zip(lanes, fragment.indices, strict=True):
        elements = [e for register in registers for e in unpack(register, per, fragment.bits)]
        for index, element in zip(indices, elements, strict=True):
            matrix[index] = element
    return matrix


def scatter(fragment: Fragment, matrix: Sequence[int]) -> list[list[int]]:
    """From elements to the registers of each lane."""
    per = fragment.register_bits // fragment.bits
    lanes = []
    for indices in fragment.indices:
        elements = [matrix[index] for index in indices]
        lanes.append([pack(elements[i : i + per], fragment.bits) for i in range(0, len(elements), per)])
    return lanes


def _product(shape: Product, a: Sequence[int], b: Sequence[int], c: Sequence[int], where: Sequence[int]) -> list[int]:
    """`where`: the row of B that each element of A meets."""
    columns, depth = shape.b.columns, shape.depth
    element = _fused if shape.d.type == "f64" else _integer if shape.d.type == "s32" else _floating
    results = []
    for i, start in enumerate(c):
        row, column = divmod(i, columns)
        above = row * shape.parts // shape.a.rows * (shape.b.rows // shape.parts)
        places = range(row * depth, (row + 1) * depth)
        factors = [(a[place], b[(above + where[place]) * columns + column]) for place in places]
        results.append(element(shape, start, factors))
    return results


Factors = Sequence[tuple[int, int]]


def _floating(shape: Product, start: int, factors: Factors) -> int:
    values = [(_decoded(shape.a.type, x), _decoded(shape.b.type, y)) for x, y in factors]
    if shape.parts > 1:
        return tensor_cores.quad(shape.d.type, (shape.c.type, start), values)
    return tensor_cores.summed(shape.sums, (shape.c.type, start), values)


@cache
def _decoded(type_: str, bits: int) -> Real:
    """The low 13 of the 32 bits of tf32 are ignored."""
    return decode(FORMATS[type_], bits)


def _fused(_shape: Product, start: int, factors: Factors) -> int:
    format_ = FORMATS["f64"]
    total = start
    for x, y in factors:
        left, right, before = (decode(format_, bits) for bits in (x, y, total))
        total = round_to(format_, exact.multiply_add(left, right, before))
    return total


def _integer(shape: Product, start: int, factors: Factors) -> int:
    if shape.differs:
        total = number("s32", start) + sum(x ^ y for x, y in factors)
    else:
        total = number("s32", start) + sum(number(shape.a.type, x) * number(shape.b.type, y) for x, y in factors)
    return wrap("s32", clamp("s32", total) if shape.saturate else total)


# Moving matrices of 8 by 8 halves --------------------------------------------------------------------------------


def load_rows(rows: Sequence[bytes], transposed: bool) -> list[list[int]]:
    """ldmatrix: 8, 16 or 32 rows of 16 bytes → a register per matrix of each lane.

    A lane gets two neighbours of a row, or, transposed, of a column.
    """
    halves = [[int.from_bytes(row[i : i + 2], "little") for i in range(0, 16, 2)] for row in rows]
    matrices = [halves[i : i + 8] for i in range(0, len(halves), 8)]
    return [[_neighbours(matrix, lane, transposed) for matrix in matrices] for lane in range(LANES)]


def store_rows(lanes: Sequence[Registers], transposed: bool) -> list[bytes]:
    """stmatrix: the inverse of load_rows."""
    rows = []
    for matrix in range(len(lanes[0])):
        halves = [[0] * 8 for _ in range(8)]
        for lane, registers in enumerate(lanes):
            for i, half in enumerate(unpack(registers[matrix], 2, 16)):
                major, minor = lane // 4, lane % 4 * 2 + i
                row, column = (minor, major) if transposed else (major, minor)
                halves[row][column] = half
        rows += [b"".join(half.to_bytes(2, "little") for half in row) for row in halves]
    return rows


def transpose(lanes: Sequence[int]) -> list[int]:
    """movmatrix: one register of each lane → the same for the transposed matrix."""
    return [registers[0] for registers in load_rows(store_rows([[lane] for lane in lanes], False), True)]


def _neighbours(matrix: Sequence[Sequence[int]], lane: int, transposed: bool) -> int:
    major, minor = lane // 4, lane % 4 * 2
    pair = (matrix[minor][major], matrix[minor + 1][major]) if transposed else matrix[major][minor : minor + 2]
    return pack(pair, 16)

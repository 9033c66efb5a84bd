"""Which columns the elements of a sparse A stand for in `mma.sp`.

PTX ISA, "Sparse matrix storage" and the figures of the metadata. Half of each chunk of a row is stored: two of four
elements, one of two (tf32), or two of four pairs (4 bits). Four bits of metadata per chunk say which, as two indices,
lowest bits first. The sparsity selector says which of four neighbouring lanes have the metadata of rows q and q + 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

_HALVES, _BYTES = ("m16n8k16", "m16n8k32"), ("m16n8k32", "m16n8k64")
_HALF_BYTES = ("m16n8k64", "m16n8k128")
SHAPES = {"f16": _HALVES, "bf16": _HALVES, "tf32": ("m16n8k8", "m16n8k16"), "s8": _BYTES, "u8": _BYTES,
          "e4m3": ("m16n8k64",), "e5m2": ("m16n8k64",), "s4": _HALF_BYTES, "u4": _HALF_BYTES}  # fmt: skip
INDEX_BITS = 2
CHUNK_BITS = 2 * INDEX_BITS
WORD_BITS = 32
ROWS_APART = 8  # the two rows that four neighbouring lanes have


class Index(NamedTuple):
    """The column is `first + step * i`, with i the bits at `shift` under `mask` of what `lane` brings.

    `lane` is for selector 0; each selector is `contributors` lanes further.
    """

    lane: int
    shift: int
    mask: int
    first: int
    step: int


@dataclass(frozen=True)
class Sparsity:
    """`bits`: of an element of A; `depth`: columns of A, half of which are stored."""

    bits: int
    depth: int

    @property
    def chunk(self) -> int:
        """Columns."""
        return {32: 2, 4: 8}.get(self.bits, 4)

    @property
    def contributors(self) -> int:
        """Lanes of four that have metadata."""
        return 2 * (self.depth // self.chunk * CHUNK_BITS) // WORD_BITS

    def index(self, row: int, stored: int) -> Index:
        """Of element `stored` of a row."""
        chunk, place = divmod(stored, self.chunk // 2)
        quad, below = row % ROWS_APART, row // ROWS_APART
        if self.bits >= 16:  # a word: 16 bits of the upper row, then of the lower one
            lane, bit = divmod(chunk * CHUNK_BITS, WORD_BITS // 2)
            bit += below * WORD_BITS // 2
        else:  # a word is of one row
            lane, bit = divmod(chunk * CHUNK_BITS, WORD_BITS)
            lane = 2 * lane + below
        lane, first = lane + 4 * quad, chunk * self.chunk
        if self.bits == 32:  # the indices are those of its halves, and neighbours
            return Index(lane, bit + 1, 1, first, 1)
        if self.bits == 4:
            pair, half = divmod(place, 2)
            return Index(lane, bit + pair * INDEX_BITS, 3, first + half, 2)
        return Index(lane, bit + place * INDEX_BITS, 3, first, 1)

    def columns(self, metadata: list[int], selector: int) -> list[int]:
        """The column of each stored element, row by row. `metadata`: a word of each lane."""
        indices = (self.index(row, i) for row in range(2 * ROWS_APART) for i in range(self.depth // 2))
        more = selector * self.contributors
        return [i.first + i.step * ((metadata[i.lane + more] >> i.shift) & i.mask) for i in indices]

"""The layout of a kernel's memory: shared arrays in the arena, and a thread's frame."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SharedMap:
    """Where shared arrays lie in the arena: (start, size) of each; dynamic memory comes last.

    The blocks of a cluster follow each other in it, `block_bytes` apart; `arrays` are of all of them.
    """

    arrays: tuple[tuple[int, int], ...]
    dynamic_start: int  # of the first block
    arena: int  # bytes
    granule: int  # bytes per cell
    polls: bool  # a thread may wait at an mbarrier
    rewrites: bool  # a thread may read a cell and write it before the next __syncthreads(), after other threads ran
    blocks: int  # of a cluster
    block_bytes: int  # of the arena; a power of two, unless there is only one block
    has_dynamic: bool  # the kernel declares dynamic shared memory

    @property
    def cells(self) -> int:
        return self.arena // self.granule


@dataclass(frozen=True)
class Frame:
    """A thread's memory between two suspensions: saved registers, local arrays, copies in flight."""

    local_start: int
    local_bytes: int
    copies_start: int
    products_start: int  # a PRODUCT for each wgmma
    products: int
    stride: int

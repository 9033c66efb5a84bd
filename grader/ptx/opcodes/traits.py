"""The traits of an opcode: what is true of it whatever its modifiers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Flow(Enum):
    """Where control goes after an instruction."""

    BRANCH = auto()  # to a label
    SWITCH = auto()  # to one of a table of labels
    CALL = auto()
    RETURN = auto()  # from a function; in a kernel, the thread ends
    EXIT = auto()  # the thread ends
    TRAP = auto()  # the kernel ends


class BarrierKind(Enum):
    """Which threads wait at a barrier."""

    BLOCK = auto()  # all threads of the block, or some of its warps
    WARP = auto()  # lanes of one warp: __syncwarp()
    CLUSTER = auto()  # all threads of the cluster
    PHASE = auto()  # threads that test a phase of an mbarrier


class CollectiveKind(Enum):
    """What the lanes of a warp compute together."""

    SYNC = auto()
    SHUFFLE = auto()
    VOTE = auto()
    MATCH = auto()
    REDUCE = auto()
    ACTIVE_MASK = auto()
    ELECT = auto()
    PRODUCT = auto()  # of matrices
    GROUP_PRODUCT = auto()  # of matrices, by four warps
    LOAD_MATRICES = auto()
    STORE_MATRICES = auto()
    TRANSPOSE = auto()


class PointerKind(Enum):
    """How a result that is an address derives from the operands."""

    SAME = auto()  # it equals the first or the second operand
    OFFSET = auto()  # one of them plus an offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """A row of the table. The defaults fit arithmetic, except for `computes`."""

    result: bool = True  # the first operand is a destination, unless it is an address
    computes: bool = False  # the result depends on the operands alone, and nothing else happens
    copies: bool = False  # the result has the exact bits of an operand
    pointer: PointerKind | None = None
    reads_carry: bool = False  # CC.CF; an instruction that writes it has the modifier .cc

    reads: bool = False  # memory
    writes: bool = False  # memory
    by_element: bool = False  # in elements of the opcode's type
    atomic: bool = False
    asynchronous: bool = False  # it starts a copy that ends later, or waits for one
    arrives_later: bool = False  # the copies complete an mbarrier or bulk group, as if made by a thread of their own
    on_mbarrier: bool = False

    updates: bool = False  # the destination is read too

    flow: Flow | None = None  # None: on to the next instruction
    suspends: bool = False  # the thread stops here and lets others run
    pauses: bool = False  # a loop around it most likely waits for another thread
    fence: bool = False
    barrier: BarrierKind | None = None
    collective: CollectiveKind | None = None  # of a warp
    masked: bool = False  # the last operand is the mask of the lanes that take part
    aligned: bool = False  # all that take part must execute this very instruction, even without .aligned
    arrives: bool = False  # counts at a barrier without waiting
    hint: bool = False  # affects no result; nothing is generated for it

    @property
    def loads(self) -> bool:
        """An ordinary load: ld."""
        return self.reads and self.by_element and not self.writes

    @property
    def stores(self) -> bool:
        """An ordinary store: st."""
        return self.writes and self.by_element and not self.reads

    @property
    def ends(self) -> bool:
        """Does the thread, or the function, end here?"""
        return self.flow in (Flow.RETURN, Flow.EXIT, Flow.TRAP)

    @property
    def branches(self) -> bool:
        return self.flow in (Flow.BRANCH, Flow.SWITCH)

    @property
    def orders(self) -> bool:
        """Must earlier reads be checked before it, because others may see or change memory from here on?"""
        return (
            self.writes
            or self.fence
            or self.suspends
            or self.on_mbarrier
            or self.barrier is not None
            or self.flow is Flow.CALL
        )

"""What there is to know of an opcode, whatever its modifiers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Flow(Enum):
    """Where control goes after an instruction."""

    BRANCH = auto()  # to the label that it names
    SWITCH = auto()  # to one of a table of labels
    CALL = auto()
    RETURN = auto()  # of a function; a kernel's ends the thread
    EXIT = auto()  # the thread ends
    TRAP = auto()  # the kernel ends


class BarrierKind(Enum):
    """Who waits at a barrier."""

    BLOCK = auto()  # all threads of the block, or some of its warps
    WARP = auto()  # lanes of a warp: __syncwarp
    PHASE = auto()  # whoever looks at the phase of an mbarrier


class CollectiveKind(Enum):
    """What the lanes of a warp do together."""

    SYNC = auto()
    SHUFFLE = auto()
    VOTE = auto()
    MATCH = auto()
    REDUCE = auto()
    ACTIVE_MASK = auto()
    ELECT = auto()
    PRODUCT = auto()  # of matrices
    LOAD_MATRICES = auto()
    STORE_MATRICES = auto()
    TRANSPOSE = auto()


class PointerKind(Enum):
    """How a result that is an address follows from addresses among the operands."""

    SAME = auto()  # it is the first or the second
    OFFSET = auto()  # one of them, moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """A row of the table. The defaults are those of arithmetic, but for `computes`."""

    result: bool = True  # the first operand is written, unless it is an address
    computes: bool = False  # the result follows from the operands, and nothing else happens
    copies: bool = False  # the result is one of the operands, whatever its bits stand for
    pointer: PointerKind | None = None
    reads_carry: bool = False  # CC.CF; what writes it has the modifier .cc

    reads: bool = False  # memory
    writes: bool = False  # memory
    by_element: bool = False  # elements of the type that the opcode ends with
    atomic: bool = False
    asynchronous: bool = False  # a copy that goes on after the instruction, or what has to do with one
    arrives_later: bool = False  # such copies end in an mbarrier or a bulk group, as work of a thread of their own
    on_mbarrier: bool = False

    flow: Flow | None = None  # None: to the next instruction
    suspends: bool = False  # the thread stops here, so that others may run
    pauses: bool = False  # a loop with it waits for another thread, most likely
    fence: bool = False
    barrier: BarrierKind | None = None
    collective: CollectiveKind | None = None  # of a warp
    masked: bool = False  # the last operand says which lanes take part
    aligned: bool = False  # those that meet execute this one instruction, .aligned or not
    arrives: bool = False  # it is counted at a barrier and does not wait there
    hint: bool = False  # changes no result, and nothing is done for it here

    @property
    def loads(self) -> bool:
        """Plainly, into registers: ld."""
        return self.reads and self.by_element and not self.writes

    @property
    def stores(self) -> bool:
        """Plainly: st."""
        return self.writes and self.by_element and not self.reads

    @property
    def ends(self) -> bool:
        """The thread, or the function."""
        return self.flow in (Flow.RETURN, Flow.EXIT, Flow.TRAP)

    @property
    def branches(self) -> bool:
        return self.flow in (Flow.BRANCH, Flow.SWITCH)

    @property
    def orders(self) -> bool:
        """What was read before it must have been checked: others may see, or change, memory from here on."""
        return (
            self.writes
            or self.fence
            or self.suspends
            or self.on_mbarrier
            or self.barrier is not None
            or self.flow is Flow.CALL
        )

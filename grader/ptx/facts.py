"""What is known of a fault once it is explained: facts alone, which words.py makes sentences of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from grader.ptx.machine import Kind

Dim3 = tuple[int, int, int]


class Detail(StrEnum):
    """What tells reports of one kind apart; the kind's plain form has none."""

    NONE = ""
    BEFORE_START = "before-start"
    STRAY_POINTER = "stray-pointer"
    NOT_REQUESTED = "shared-not-requested"
    DYNAMIC_SHARED = "dynamic-shared"
    GLOBAL_MEMORY = "global-memory"
    COPY_IN_FLIGHT = "copy-in-flight"
    NO_MBARRIER = "no-mbarrier"
    FRAGMENT = "fragment"
    OWN_ALIGNMENT = "own-alignment"
    BULK_SIZE = "bulk-size"
    BETWEEN_BLOCKS = "between-blocks"
    READ_BETWEEN_BLOCKS = "read-between-blocks"
    PLAIN_READ = "plain-read"
    BOTH_WRITE = "both-write"
    UNTRIED_SWAP = "swap-not-tried-again"
    UPDATE = "update"
    BLOCK_SCOPE = "block-scope"
    WITH_COPY = "with-copy"
    WITH_PRODUCT = "with-product"
    OWN_BARRIERS = "own-barriers"
    NO_PROXY_FENCE = "no-proxy-fence"
    UNFINISHED_COPY = "unfinished-copy"
    LEFT_BLOCK = "left-block"
    EARLY_ACCUMULATOR = "early-accumulator"
    NO_PRODUCT_FENCE = "no-product-fence"
    CHANGED_REGISTER = "changed-register"
    EARLY_FACTOR = "early-factor"
    SPLIT_WARPGROUP = "split-warpgroup"
    WRONG_DESCRIPTOR = "wrong-descriptor"
    NO_TENSOR_MAP = "no-tensor-map"
    MISALIGNED_TILE = "misaligned-tile"
    REGISTER_COUNT = "register-count"
    CLUSTER_BARRIER = "cluster-barrier"
    CLUSTER_ORDER = "cluster-order"
    COUNTS_DIFFER = "counts-differ"
    THREAD_COUNT = "thread-count"
    PASSED_EARLY = "passed-early"
    BARRIER_NUMBER = "barrier-number"
    BRANCH_INDEX = "branch-index"
    COOPERATIVE_LAUNCH = "cooperative-launch"
    STUCK_MBARRIER = "stuck-mbarrier"
    MBARRIER_MISUSE = "mbarrier-misuse"
    ABSENT_LANE = "absent-lane"
    WHOLE_WARP = "whole-warp"
    OWN_LANE = "own-lane"
    WAITS_FOR_OTHERS = "waits-for-others"
    RECURSION = "recursion"
    ASSERTION = "assertion"


@dataclass(frozen=True)
class Actor:
    """A thread; or the asynchronous copy that its instruction started."""

    thread: Dim3
    block: Dim3
    is_copy: bool = False


@dataclass(frozen=True)
class Place:
    """Where an address lies: the array's name ("": in none), and the offset in bytes into it."""

    array: str
    offset: int
    size: int
    item: int = 1  # bytes of an element
    space: str = ""  # global, shared, local
    is_dynamic: bool = False  # as large as the launch says
    rank: int | None = None  # in shared memory of another block of the cluster: that one's rank
    tile: int | None = None  # which of the tiles that fit in the array, counted from 0

    @property
    def elements(self) -> int:
        return self.size // self.item


@dataclass(frozen=True)
class Side:
    """The other access of a race, or where another thread or a copy is. `line` 0: nowhere any more."""

    file: str
    line: int
    actor: Actor
    writes: bool
    is_product: bool = False  # of tensor cores, not a copy


@dataclass(frozen=True)
class Facts:
    """A fault, explained. `number` is what the kind counts: threads, a lane, bytes; machine.py says which."""

    kind: Kind
    detail: Detail
    actor: Actor
    place: Place | None = None  # None: no memory is concerned
    width: int = 0  # bytes of the access
    writes: bool = False
    other: Side | None = None
    number: int = 0
    instruction: str = ""
    threads: int = 0  # of a block
    calls: tuple[int, ...] = ()  # lines that call the function that holds it, the innermost first


@dataclass(frozen=True)
class Related:
    """Another line that has to do with a report: `role` is other-access, call, copy, wait, product or change."""

    role: str
    file: str
    line: int
    access: str = ""


@dataclass(frozen=True)
class Report:
    """One finding: `message` says what happened first, `count` how often the same happened at this line."""

    kind: str
    detail: str
    file: str
    line: int
    column: int
    count: int
    array: str
    space: str
    access: str
    related: tuple[Related, ...]
    message: str
    notes: tuple[str, ...]

"""What parent and child say to each other. Frozen, tagged by type, decoded strictly."""

from __future__ import annotations

import msgspec

from grader.compile.compiled import Compiled
from grader.model.execution import Gpu, Invocation
from grader.model.result import Finding

# Behind an output's name: where a GPU puts its values of the second run, over other rubbish.
AGAIN = "\0again"


class Slot(msgspec.Struct, frozen=True):
    """An array in the arena: `dtype` as numpy writes it ("<f4"), C-contiguous from byte `offset`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    access: str


class Compile(msgspec.Struct, frozen=True, tag=True):
    text: str


class Load(msgspec.Struct, frozen=True, tag=True):
    """A submission that was compiled before."""

    ptx: str
    cubin: bytes = b""


class Run(msgspec.Struct, frozen=True, tag=True):
    """`seconds` is when to give up by itself, and say where."""

    invocations: tuple[Invocation, ...]
    slots: tuple[Slot, ...]
    arena_bytes: int
    seconds: float
    workers: int


class Describe(msgspec.Struct, frozen=True, tag=True):
    """Which GPU is there, and does it answer?"""


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Get ready to time: array `name` of set `i` is the slot `name/i`. Outputs are in no slot."""

    invocations: tuple[Invocation, ...]
    slots: tuple[Slot, ...]
    arena_bytes: int
    sets: int
    outputs: dict[str, tuple[str, tuple[int, ...]]]  # dtype and shape, by name
    workspace_bytes: int
    problem: tuple[tuple[int, ...], int, int]  # M_sizes, K, N


class Measure(msgspec.Struct, frozen=True, tag=True):
    """Rounds, each with every contender once; `keep` the outputs, to be verified."""

    rounds: int
    contenders: tuple[str, ...]
    keep: bool


class Verify(msgspec.Struct, frozen=True, tag=True):
    """References in FP64: output `name` of set `i` is the slot `name/i`."""

    slots: tuple[Slot, ...]
    arena_bytes: int
    tolerance: float


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The child is up; it says so once, unasked."""


class Built(msgspec.Struct, frozen=True, tag=True):
    compiled: Compiled


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The submission of a Load is in place."""


class Ran(msgspec.Struct, frozen=True, tag=True):
    findings: tuple[Finding, ...] = ()
    printed: str = ""
    unsupported: Finding | None = None
    jit_seconds: float = 0.0
    run_seconds: float = 0.0


class Described(msgspec.Struct, frozen=True, tag=True):
    gpu: Gpu


class Occupancy(msgspec.Struct, frozen=True):
    """What of a multiprocessor the launches of one kernel can fill."""

    kernel: str
    blocks: int  # resident on one multiprocessor
    share: float  # of the warps that it can hold
    grid_blocks: int


class Prepared(msgspec.Struct, frozen=True, tag=True):
    launches: dict[str, int]  # of each contender in a round
    unavailable: dict[str, str]
    empty_us: float  # an empty launch, in a graph like the others
    occupancy: tuple[Occupancy, ...]
    cublas: str


class Measured(msgspec.Struct, frozen=True, tag=True):
    """Microseconds for one launch of the whole problem, by contender and round; GPU time of it all."""

    times: dict[str, tuple[float, ...]]
    busy_seconds: float


class Verified(msgspec.Struct, frozen=True, tag=True):
    """Over every kept output, and by route over one set of outputs each. NaN counts as a mismatch."""

    max_abs_error: float
    mismatches: int
    elements: int
    routes: dict[str, int]  # mismatches


class Faulted(msgspec.Struct, frozen=True, tag=True):
    """The submission broke the GPU context, outside of a Run, which has findings of its own."""

    finding: Finding


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The child could not do it, and that is no fault of the submission."""

    message: str
    details: str = ""


Request = Compile | Load | Run | Describe | Prepare | Measure | Verify
Reply = Ready | Built | Loaded | Ran | Described | Prepared | Measured | Verified | Faulted | Failed

"""The messages between parent and child. Frozen, tagged by type, decoded strictly."""

from __future__ import annotations

from typing import Any

import msgspec

from grader.compile.compiled import Compiled
from grader.model.counted import KernelCounts
from grader.model.execution import Gpu, Invocation
from grader.model.measurements import Balance
from grader.model.result import Finding

# The name of a judge's counters in its invocation.
JUDGES_VERDICT = "\0verdict"

# Contenders of a timing, besides the baseline's routes: the submission; as a prefix, its kernels up to one of them.
SUBMISSION = "submission"
UP_TO = "up to "

# Suffix of an output's name for a GPU's values of the second run, on different garbage.
AGAIN = "\0again"


class ArenaSlot(msgspec.Struct, frozen=True):
    """An array in the arena: `dtype` as numpy writes it ("<f4"), C-contiguous from byte `offset`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    access: str


class Compile(msgspec.Struct, frozen=True, tag=True):
    text: str


class Load(msgspec.Struct, frozen=True, tag=True):
    """A submission that is already compiled."""

    ptx: str
    cubin: bytes = b""


class Run(msgspec.Struct, frozen=True, tag=True):
    """After `seconds`, the child stops by itself and says where. `count`: only `counted` is asked for.

    `counts_later`: if there are no findings, `counted` will be asked for, and the child may prepare for it.
    """

    invocations: tuple[Invocation, ...]
    slots: tuple[ArenaSlot, ...]
    arena_bytes: int
    seconds: float
    workers: int
    count: bool = False
    counts_later: bool = False


class Describe(msgspec.Struct, frozen=True, tag=True):
    """Asks which GPU there is, and whether it responds."""


class Judges(msgspec.Struct, frozen=True):
    """Kernels from a file in reference_kernels; they take a kernel's arguments plus JUDGES_VERDICT."""

    source: str
    calls: tuple[Invocation, ...]


class Trace(msgspec.Struct, frozen=True, tag=True):
    """Asks how the blocks of the uploaded kernel share its work."""


class Traced(msgspec.Struct, frozen=True, tag=True):
    """None if it cannot be shown."""

    balance: Balance | None


class Upload(msgspec.Struct, frozen=True, tag=True):
    """What to time, and its inputs: array `name` of set `i` is the slot `name/i`. Outputs have no slot.

    Without `judges`, outputs are compared with references.
    """

    invocations: tuple[Invocation, ...]
    slots: tuple[ArenaSlot, ...]
    arena_bytes: int
    sets: int
    outputs: dict[str, tuple[str, tuple[int, ...]]]  # dtype and shape, by name
    workspace_bytes: int
    baseline: str  # of grader.baselines.registry
    problem: dict[str, Any]  # as the baseline says it
    judges: Judges | None = None


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Prepare to time the upload. This already measures."""


class Sweep(msgspec.Struct, frozen=True, tag=True):
    """Run each judged kernel on all bit patterns of its first input, `elements` at a time.

    `invocations` are those of the judged kernels, in the judges' order; `arrays` are dtype and access by name.
    """

    invocations: tuple[Invocation, ...]
    judges: Judges
    elements: int
    arrays: dict[str, tuple[str, str]]
    workspace_bytes: int


class Measure(msgspec.Struct, frozen=True, tag=True):
    """Rounds, each with every contender once; with `keep`, outputs are kept for verification."""

    rounds: int
    contenders: tuple[str, ...]
    keep: bool


class Verify(msgspec.Struct, frozen=True, tag=True):
    """References in FP64: output `name` of set `i` is the slot `name/i`."""

    slots: tuple[ArenaSlot, ...]
    arena_bytes: int
    tolerance: float


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Sent once, unrequested, when the child has started. `unconfined`: what the system could not block."""

    unconfined: tuple[str, ...] = ()


class Built(msgspec.Struct, frozen=True, tag=True):
    compiled: Compiled


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The submission of a Load is loaded."""


class Ran(msgspec.Struct, frozen=True, tag=True):
    findings: tuple[Finding, ...] = ()
    printed: str = ""
    unsupported: Finding | None = None
    jit_seconds: float = 0.0
    run_seconds: float = 0.0
    unset: frozenset[int] = frozenset()
    counted: tuple[KernelCounts, ...] = ()  # of each invocation


class Described(msgspec.Struct, frozen=True, tag=True):
    gpu: Gpu


class Occupancy(msgspec.Struct, frozen=True):
    """How much of a multiprocessor one kernel's launches can occupy."""

    kernel: str
    blocks: int  # resident on one multiprocessor
    share: float  # share of the warps it can hold
    grid_blocks: int


class Uploaded(msgspec.Struct, frozen=True, tag=True):
    """The inputs of an Upload are on the GPU."""


class Prepared(msgspec.Struct, frozen=True, tag=True):
    launches: dict[str, int]  # per contender and round
    unavailable: dict[str, str]
    empty_us: float  # an empty launch, in a graph like the others
    occupancy: tuple[Occupancy, ...]
    version: str  # of the baseline's library


class Measured(msgspec.Struct, frozen=True, tag=True):
    """Microseconds per launch of the whole problem, by contender and round; total GPU time."""

    times: dict[str, tuple[float, ...]]
    busy_seconds: float


class DeviceVerdict(msgspec.Struct, frozen=True):
    wrong: int
    first: int  # smallest index of a wrong element; in a sweep, the bit pattern of its input


class Verified(msgspec.Struct, frozen=True, tag=True):
    """Over every kept output and, by route, over one set of outputs each. NaN counts as a mismatch."""

    max_abs_error: float | None  # None: by judges
    mismatches: int
    elements: int
    routes: dict[str, int]  # mismatches
    verdicts: dict[str, DeviceVerdict] = {}  # by judge


class Swept(msgspec.Struct, frozen=True, tag=True):
    verdicts: dict[str, DeviceVerdict]  # by judge
    inputs: int  # patterns, all kernels together
    seconds: float


class Faulted(msgspec.Struct, frozen=True, tag=True):
    """The submission broke the GPU context outside a Run, which has its own findings."""

    finding: Finding


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The child could not do it; this is not the submission's fault."""

    message: str
    details: str = ""


Request = Compile | Load | Run | Describe | Upload | Prepare | Measure | Verify | Sweep | Trace
Reply = (
    Ready
    | Built
    | Loaded
    | Ran
    | Described
    | Uploaded
    | Prepared
    | Measured
    | Verified
    | Swept
    | Traced
    | Faulted
    | Failed
)

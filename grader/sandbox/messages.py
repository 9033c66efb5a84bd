"""What parent and child say to each other. Frozen, tagged by type, decoded strictly."""

from __future__ import annotations

from typing import Any

import msgspec

from grader.compile.compiled import Compiled
from grader.model.execution import Gpu, Invocation
from grader.model.result import Finding

# What a judge's invocation calls the place where it counts.
JUDGES_VERDICT = "\0verdict"

# Contenders of a timing beside the baseline's routes: the submission; and one of its kernels alone, before its name.
SUBMISSION = "submission"
ALONE = "kernel "

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


class Judges(msgspec.Struct, frozen=True):
    """Kernels of a file of reference_kernels; they take a kernel's arguments and JUDGES_VERDICT."""

    source: str
    calls: tuple[Invocation, ...]


class Upload(msgspec.Struct, frozen=True, tag=True):
    """What is to be timed, and its inputs: array `name` of set `i` is the slot `name/i`. Outputs are in no slot.

    Without `judges`, outputs are compared with references.
    """

    invocations: tuple[Invocation, ...]
    slots: tuple[Slot, ...]
    arena_bytes: int
    sets: int
    outputs: dict[str, tuple[str, tuple[int, ...]]]  # dtype and shape, by name
    workspace_bytes: int
    baseline: str  # of grader.baselines.registry
    problem: dict[str, Any]  # as the baseline says it
    judges: Judges | None = None


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Get ready to time what was uploaded. This measures already."""


class Sweep(msgspec.Struct, frozen=True, tag=True):
    """Each judged kernel over all bit patterns of its first input, a piece of `elements` at a time.

    `invocations` are the judged kernels' own, in the judges' order; `arrays` dtype and access by name.
    """

    invocations: tuple[Invocation, ...]
    judges: Judges
    elements: int
    arrays: dict[str, tuple[str, str]]
    workspace_bytes: int


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
    """The child is up; it says so once, unasked. `unconfined`: what the kernel could not take away from it."""

    unconfined: tuple[str, ...] = ()


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
    unset: frozenset[int] = frozenset()


class Described(msgspec.Struct, frozen=True, tag=True):
    gpu: Gpu


class Occupancy(msgspec.Struct, frozen=True):
    """What of a multiprocessor the launches of one kernel can fill."""

    kernel: str
    blocks: int  # resident on one multiprocessor
    share: float  # of the warps that it can hold
    grid_blocks: int


class Uploaded(msgspec.Struct, frozen=True, tag=True):
    """The inputs of an Upload are on the GPU."""


class Prepared(msgspec.Struct, frozen=True, tag=True):
    launches: dict[str, int]  # of each contender in a round
    unavailable: dict[str, str]
    empty_us: float  # an empty launch, in a graph like the others
    occupancy: tuple[Occupancy, ...]
    version: str  # of the baseline's library


class Measured(msgspec.Struct, frozen=True, tag=True):
    """Microseconds for one launch of the whole problem, by contender and round; GPU time of it all."""

    times: dict[str, tuple[float, ...]]
    busy_seconds: float


class DeviceVerdict(msgspec.Struct, frozen=True):
    wrong: int
    first: int  # least index of a wrong element; of a sweep, its input's bit pattern


class Verified(msgspec.Struct, frozen=True, tag=True):
    """Over every kept output, and by route over one set of outputs each. NaN counts as a mismatch."""

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
    """The submission broke the GPU context, outside of a Run, which has findings of its own."""

    finding: Finding


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The child could not do it, and that is no fault of the submission."""

    message: str
    details: str = ""


Request = Compile | Load | Run | Describe | Upload | Prepare | Measure | Verify | Sweep
Reply = (
    Ready | Built | Loaded | Ran | Described | Uploaded | Prepared | Measured | Verified | Swept | Faulted | Failed
)

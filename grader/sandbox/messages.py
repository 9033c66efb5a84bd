"""What parent and child say to each other. Frozen, tagged by type, decoded strictly."""

from __future__ import annotations

import msgspec

from grader.compile.compiled import Compiled
from grader.model.execution import Invocation
from grader.model.result import Finding


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


class Run(msgspec.Struct, frozen=True, tag=True):
    """`seconds` is when to give up by itself, and say where."""

    invocations: tuple[Invocation, ...]
    slots: tuple[Slot, ...]
    arena_bytes: int
    seconds: float
    workers: int


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


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The child could not do it, and that is no fault of the submission."""

    message: str
    details: str = ""


Request = Compile | Load | Run
Reply = Ready | Built | Loaded | Ran | Failed

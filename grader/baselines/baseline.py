"""What a baseline is: one class that states its data types, its work, its peak and its routes, and runs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import msgspec
import numpy as np

from grader.baselines.work import Peak, Work
from grader.model.exercise import Case, Exercise

SINGLE_MATRIX = "single_matrix"  # one matrix product of as many FLOPs: another result, so it only informs

# Puts a whole problem's launches for one set of inputs on a CuPy stream. May be captured into a graph.
Enqueue = Callable[[Any, int], None]


class Route(msgspec.Struct, frozen=True):
    """One way to compute the same result. A route that does not decide is measured and shown for information only."""

    label: str  # what faces call it: "cuBLAS, one grouped call"
    decides: bool = True


class DeviceArray(Protocol):
    """One array of every set of inputs, on the device."""

    dtype: np.dtype
    sets: int
    elements: int  # of one set
    stride: int  # bytes from one set to the next
    base: int

    @property
    def bytes(self) -> int: ...

    def pointer(self, index: int) -> int: ...


class Device(msgspec.Struct, frozen=True):
    """Where a baseline runs. `allocate` makes an array of (dtype, shape) for each set, freed with the timing."""

    sets: int
    inputs: Mapping[str, DeviceArray]  # the submission's, by name; not to be changed
    allocate: Callable[[np.dtype, Sequence[int]], DeviceArray]


class Baseline(ABC):
    """The class says what it is, without a GPU; an instance lives in the child that times, on the GPU.

    Whatever an instance needs in another form (padded rows, scales in another layout) is prepared in the constructor,
    outside every timed region.
    """

    name: ClassVar[str]  # before a route's in a Result: "cublas" of "cublas strided"
    label: ClassVar[str]  # in sentences: "cuBLAS", "the device copy"
    reads: ClassVar[Mapping[str, str]] = {}  # data types of the inputs that it reads, by name
    writes: ClassVar[tuple[str, str] | None] = None  # the output that it computes, and its data type
    peak: ClassVar[Peak | None] = None  # the units that bound it; None: memory alone
    routes: ClassVar[Mapping[str, Route]]
    math_mode: ClassVar[str] = ""
    least_capability: ClassVar[tuple[int, int]] = (0, 0)  # of a GPU that its library runs on

    enqueue: Mapping[str, Enqueue]  # by route; those that this problem and this library have
    unavailable: Mapping[str, str] = {}  # by route, why not
    version: str = ""  # of the library
    output: DeviceArray | None = None  # what the routes write, to be compared with `writes`

    @abstractmethod
    def __init__(self, problem: Mapping[str, Any], device: Device) -> None:
        """Ready to be enqueued. `problem`: what `problem` gave, after its way to the child."""

    @classmethod
    @abstractmethod
    def problem(cls, exercise: Exercise, case: Case) -> dict[str, Any]:
        """The sizes of a case, as plain values. Raises GraderError if this baseline cannot run it."""

    @classmethod
    @abstractmethod
    def work(cls, exercise: Exercise, case: Case) -> Work:
        """FLOPs and bytes of one launch of the whole problem."""

    @classmethod
    def called(cls, route: str) -> str:
        """The Result's `baseline`: "cublas strided"; "copy", which has one route."""
        return cls.name if len(cls.routes) == 1 else f"{cls.name} {route}"

    def poison(self, stream: Any) -> None:  # noqa: B027 - most write to `output`, which is filled with NaN anyway
        """Fills what the routes write, if that is not `output` itself, with NaN."""

    def finish(self, stream: Any) -> None:  # noqa: B027
        """Brings the results of every set to `output`, if the routes write elsewhere. Never timed."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Frees what it holds beside the device's arrays. No captured graph runs after this."""

"""A check's measurements: named values, each with its unit. In JSON they are one flat object without None values.

The names up to `tflops` are part of the Result's contract. A name that this version does not know, or a value that it
cannot read, is kept unchanged (`further`) and written again, so that Results of older and newer graders survive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

import msgspec

from grader.model.counted import KernelCounts, Saving
from grader.model.picture import Picture

Seconds = Annotated[float, msgspec.Meta(description="seconds")]
Microseconds = Annotated[float, msgspec.Meta(description="microseconds")]
Megahertz = Annotated[int, msgspec.Meta(description="MHz")]
Share = Annotated[float, msgspec.Meta(description="a share: 1 is all there is")]

# Names for floats that JSON does not have.
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class KernelResources(msgspec.Struct, frozen=True):
    """ptxas's report on a compiled kernel."""

    registers: int | None = None  # of a thread
    shared_bytes: int | None = None  # of a block, static
    spill_bytes: int | None = None  # of a thread, stores and loads


class LaunchedKernel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A kernel as launched for one case. If no GPU measured it, occupancy is computed from the other values."""

    name: str = ""
    grid_blocks: int | None = None
    block_threads: int | None = None
    blocks_per_sm: int | None = None  # resident at a time
    occupancy: Share | None = None  # share of the threads that fit on a multiprocessor
    registers: int | None = None  # of a thread
    shared_bytes: int | None = None  # per block: static if it was timed, otherwise including the dynamic part
    spill_bytes: int | None = None


class WrongByte(msgspec.Struct, frozen=True, omit_defaults=True):
    """One wrong FP8 byte, to be drawn: codes of the named format, and the FP32 input if there is one."""

    format: str  # "E4M3", "E5M2"
    expected: int
    got: int
    input: float | None = None
    input_bits: int | None = None


class Balance(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a launch distributed its work over blocks and time, on a GPU, in a run with clocks of its own."""

    span_us: Microseconds  # from the first block's begin to the last one's end
    blocks: int
    most_busy: int  # blocks at the same time
    busy: tuple[float, ...]  # mean number of busy blocks, in each of as many equal parts of the span
    busy_share: Share  # of `most_busy` over the whole span
    tail_us: Microseconds  # at the end, with fewer than half of `most_busy`
    elements: tuple[int, float, int] | None = None  # of the output that one block wrote: fewest, mean, most


class FloorMeasured(msgspec.Struct, frozen=True):
    """A ratio to one route of the baseline that must be reached, whichever route is the fastest."""

    route: str
    label: str  # "cuBLAS, all groups padded to the longest"
    ratio: float  # t_route / t_submission, with its interval
    low: float
    high: float
    required: float
    passed: bool
    borderline: bool = False


class Measurements(msgspec.Struct, frozen=True, omit_defaults=True, repr_omit_defaults=True, kw_only=True):
    """None means not measured."""

    # Numbers: correct; and speed, for the timed outputs.
    max_abs_error: float | None = None  # NaN if an output is NaN
    mismatches: int | None = None
    elements: int | None = None

    # Of any check.
    seconds: Seconds | None = None

    # Timing: speed. Times are medians of one launch of the whole problem.
    time_us: Microseconds | None = None
    baseline: str | None = None  # "cublas strided", "copy"
    baseline_us: Microseconds | None = None
    ratio: float | None = None  # t_baseline / t_submission, with its interval
    ratio_low: float | None = None
    ratio_high: float | None = None
    tflops: float | None = None

    threshold: float | None = None  # the ratio required to pass
    floors: tuple[FloorMeasured, ...] | None = None  # further ratios required to pass
    borderline: bool | None = None  # fresh processes did not settle it, so the median decided
    bonus: float | None = None  # ratio / threshold - 1, at least 0
    gb_per_second: float | None = None
    against: str | None = None  # what sentences call the baseline: "cuBLAS"
    route: str | None = None  # the baseline's fastest route, which counts
    routes_us: dict[str, Microseconds] | None = None
    route_labels: dict[str, str] | None = None  # what a report calls them
    shown_us: dict[str, Microseconds] | None = None  # routes for information only
    single_matrix_us: Microseconds | None = None  # for information: one matrix product with the same number of FLOPs
    single_matrix_ratio: float | None = None
    kernels_us: dict[str, Microseconds] | None = None  # of several kernels, what each adds to those before it
    best_known_us: Microseconds | None = None
    empty_launch_us: Microseconds | None = None
    processes: tuple[tuple[float, ...], ...] | None = None  # of each: ratio, low, high
    rounds: int | None = None
    rounds_us: tuple[Microseconds, ...] | None = None
    rounds_dropped: int | None = None
    slowdowns: tuple[str, ...] | None = None  # reasons why rounds were dropped
    looks: int | None = None
    sets: int | None = None  # sets of inputs in rotation
    verified_elements: int | None = None
    sm_mhz: tuple[Megahertz, Megahertz] | None = None  # lowest and highest reading
    memory_mhz: Megahertz | None = None
    gpu_busy_seconds: Seconds | None = None
    intensity: float | None = None  # FLOPs per byte that must be read from or written to memory
    units: str | None = None  # what the compute roof belongs to: "the FP32 units"
    roof: str | None = None  # the limit of the case: "compute" or "memory"
    roof_share: Share | None = None
    counters: tuple[dict[str, float], ...] | None = None  # ncu's counters, per launch
    cublas: str | None = None  # version
    math_mode: str | None = None

    # Compiling and launching: compile, launch, speed.
    cached: bool | None = None
    kernels: dict[str, KernelResources] | None = None  # by name
    balance: Balance | None = None  # speed
    launches: tuple[LaunchedKernel, ...] | dict[str, tuple[LaunchedKernel, ...]] | None = None  # of launch: by case

    # Running: memory, and the kernels' output in any check.
    jit_seconds: Seconds | None = None
    run_seconds: Seconds | None = None
    printed: str | None = None

    # Of a case that cannot be judged as a whole: correct.
    right_kernels: tuple[str, ...] | None = None  # whose outputs are right all the same

    # What the hardware would count: memory, which a CPU judges. Of each kernel; and what there is to be won.
    counted: tuple[KernelCounts, ...] | None = None
    savings: tuple[Saving, ...] | None = None

    # Explanations of wrong numbers: correct.
    tolerance: float | None = None  # absolute, for every element
    unset_lines: tuple[int, ...] | None = None  # lines that may read a variable that was never set
    example: WrongByte | None = None
    picture: Picture | None = None

    # Quality: points given by the rules, and the maximum.
    points: float | None = None
    points_max: float | None = None

    summary: str | None = None  # the case's sizes
    group_rows: tuple[int, ...] | None = None  # rows of each group, if padding them is an issue

    further: dict[str, Any] = {}  # by name: values that this version does not know

    @property
    def launched(self) -> tuple[LaunchedKernel, ...]:
        """The kernels of a case that was timed."""
        return self.launches if isinstance(self.launches, tuple) else ()

    @property
    def planned(self) -> dict[str, tuple[LaunchedKernel, ...]]:
        """By case, what the launch functions set."""
        return self.launches if isinstance(self.launches, dict) else {}

    def updated(self, other: Measurements) -> Measurements:
        """Values of `other` replace those here."""
        new = {name: value for name in types() if (value := getattr(other, name)) is not None}
        return msgspec.structs.replace(self, **new, further=self.further | other.further)


NOTHING = Measurements()


def read(values: Mapping[str, Any]) -> Measurements:
    """From JSON's flat form, or from names and values."""
    known: dict[str, Any] = {}
    further: dict[str, Any] = {}
    for name, value in values.items():
        try:
            known[name] = _converted(name, value)
        except (KeyError, msgspec.ValidationError, UnicodeError):
            further[name] = value
    return Measurements(**known, further=further)


def plain(measured: Measurements) -> dict[str, Any]:
    """JSON's flat form; NaN and infinities are still floats."""
    found: dict[str, Any] = msgspec.to_builtins(measured)
    further: dict[str, Any] = found.pop("further", {})
    return further | found


@cache
def types() -> dict[str, Any]:
    """The type of each known name."""
    return {field.name: field.type for field in msgspec.structs.fields(Measurements) if field.name != "further"}


def to_number(value: float) -> float | Literal["NaN", "Infinity", "-Infinity"]:
    """A float from JSON, where NaN and infinities are given by name."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(value)


def _converted(name: str, value: Any) -> Any:
    type_ = types()[name]
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError:
        return msgspec.convert(_numbers(value), type_)


def _numbers(value: Any) -> Any:
    """With names for floats that JSON does not have."""
    if isinstance(value, str):
        return NOT_FINITE.get(value, value)
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    return [_numbers(item) for item in value] if isinstance(value, list | tuple) else value

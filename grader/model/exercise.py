"""What an exercise is: its kernels, its cases, its rubric."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:  # a child that compiles needs no arrays yet
    import numpy as np

ParameterType = Literal["array", "int", "long long"]


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One parameter of a kernel, as named in `exercise.toml`."""

    name: str
    ctype: str  # as written in problem.md: "const float*", "int", "long long", "Launch*"
    argument: str = ""  # its entry in Case.arguments, if several kernels use the same name for different arrays

    @property
    def key(self) -> str:
        """Its entry in Case.arguments."""
        return self.argument or self.name

    @property
    def is_pointer(self) -> bool:
        return self.ctype.endswith("*")

    @property
    def is_output(self) -> bool:
        return self.is_pointer and "const" not in self.ctype

    @property
    def bytes(self) -> int:
        """Width in PTX, where every pointer is an untyped .u64."""
        return 8 if self.is_pointer or self.ctype == "long long" else 4


class Kernel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kernel that a submission defines, with its launch function."""

    name: str  # ends in _kernel
    parameters: tuple[Parameter, ...]
    launch_parameters: tuple[Parameter, ...]  # without the last one, Launch*
    judge: str = ""  # in Exercise.judge_source: counts this kernel's wrong elements on the device
    weight: float = 1.0  # its part of the points for correctness, relative to the other kernels

    @property
    def launch_name(self) -> str:
        return "launch_" + self.name.removesuffix("_kernel")

    def variant_name(self, variant: int) -> str:
        return self.name if variant == 0 else f"{self.name}_{variant}"

    def signature(self, *, workspace: bool = False) -> str:
        """The required declaration, for error messages."""
        parameters = [f"{p.ctype} {p.name}" for p in self.parameters]
        if workspace:
            parameters.append("void* workspace")
        return f'extern "C" __global__ void {self.name}({", ".join(parameters)});'


class Array(msgspec.Struct, frozen=True):
    """A kernel argument in memory; its name is its key in Case.arguments.

    `data` is the input, or the shape and dtype of an output.
    access: "in" is read-only for the kernel; "out" starts uninitialised; "inout" starts with `data`.
    """

    name: str
    data: np.ndarray
    access: Literal["in", "out", "inout"] = "in"


class Case(msgspec.Struct, frozen=True):
    """One problem to run a submission on.

    `arguments` maps every parameter of every kernel of the exercise, by its key, to an array or an int.
    """

    name: str
    required: bool
    arguments: dict[str, Array | int]
    summary: str  # "M 128 128 128 128, K 256, N 256"
    secret: bool = False
    gpu_only: bool = False  # too large for a CPU: runs only on a GPU, where the outputs of its timing are judged
    sweep: bool = False  # gpu_only; each judged kernel runs on all 2^32 bit patterns of its first input
    group_rows: tuple[int, ...] = ()  # if a report is to show what padding every group to the longest would cost


class QualityRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Points of `quality` awarded automatically."""

    rule: Literal["no-warnings", "no-spills", "formatted", "commented"]
    points: float


class Forbidden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A PTX instruction that the exercise forbids: an fnmatch pattern for the whole opcode."""

    instruction: str
    message: str


class Floor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A further requirement on speed: a ratio to one route of the baseline, however fast the others are."""

    route: str
    ratio: float  # t_route / t_submission
    cases: tuple[str, ...]


class Exercise(msgspec.Struct, frozen=True):
    """An exercise folder as read. `folder` contains problem.md, starter.cu, oracle.py and the other files."""

    name: str  # the folder's name
    title: str
    folder: Path
    kernels: tuple[Kernel, ...]
    points: dict[str, int]  # correctness, performance, quality
    baseline: str = ""  # of grader.baselines.registry
    against: str = "cuBLAS"  # what sentences call it
    threshold: float = 0.60
    floors: tuple[Floor, ...] = ()
    objectives: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()  # the required ones, in grading order
    tolerance: float = 1e-3  # absolute, for every element of every output
    quality: tuple[QualityRule, ...] = ()
    speed_cases: tuple[str, ...] = ()  # cases whose speed is judged; that of the other required cases is only shown
    balance_cases: tuple[str, ...] = ()  # of those timed: where a report shows how the blocks share the work
    forbidden: tuple[Forbidden, ...] = ()
    judge_source: str = ""  # the file in reference_kernels with the device judges
    starter_sha256: str = ""  # of starter.cu as it came, for folders that keep no copy of it
    best_known_us: dict[str, dict[str, float]] = {}  # by GPU, then case: time of the project's fastest kernel

    def floors_of(self, case: str) -> dict[str, float]:
        """By route, the ratio that this case must also reach."""
        return {floor.route: floor.ratio for floor in self.floors if case in floor.cases}

    @property
    def makers(self) -> dict[str, tuple[str, ...]]:
        """By each kernel that is the last to write an output: all kernels that have a part in its outputs."""
        writers: dict[str, list[str]] = {}
        for kernel in self.kernels:
            for parameter in kernel.parameters:
                if parameter.is_output:
                    writers.setdefault(parameter.key, []).append(kernel.name)
        found: dict[str, dict[str, None]] = {}
        for names in writers.values():
            found.setdefault(names[-1], {}).update(dict.fromkeys(names))
        return {last: tuple(names) for last, names in found.items()}

    @property
    def weights(self) -> dict[str, float]:
        """By each of these last kernels: its share of the points for a case, together 1."""
        given = {kernel.name: kernel.weight for kernel in self.kernels}
        found = {last: sum(given[name] for name in names) for last, names in self.makers.items()}
        whole = sum(found.values()) or 1.0
        return {last: weight / whole for last, weight in found.items()}

    @property
    def number(self) -> str:
        return self.name.split("_", 1)[0]

    @property
    def starter(self) -> Path:
        return self.folder / "starter.cu"

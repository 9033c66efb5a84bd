"""The sets of inputs that timing rotates through, and the references for their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from grader.errors import GraderError
from grader.model.execution import Gpu
from grader.model.exercise import Array, Case, Exercise
from grader.sandbox.messages import Copy, GroupedGemm
from grader.timing import rotation
from grader.timing.roofline import Work

COPY = "copy"  # the baseline's name in exercise.toml
SEEDS_PER_RUN = 1 << 10  # so that no two runs have the same sets


class Sets(msgspec.Struct, frozen=True):
    """Enough sets of inputs to exceed a GPU's cache; the first is the case's own."""

    cases: tuple[Case, ...]
    baseline: GroupedGemm | Copy
    work: Work
    read_bytes: int

    @property
    def arrays(self) -> tuple[Mapping[str, Array], ...]:
        return tuple(_arrays(case) for case in self.cases)


def count(case: Case, gpu: Gpu) -> int:
    """The number of sets required by this GPU's cache."""
    return rotation.sets(_read_bytes(case), gpu.l2_bytes)


def make(case: Case, index: int, seed: int, another: Callable[[Case, int], Case]) -> Case:
    """The case of the set with that index. Sets are generated one by one, so that threads can share the work."""
    return another(case, seed * SEEDS_PER_RUN + index) if index else case


def together(cases: Sequence[Case], exercise: Exercise) -> Sets:
    first = cases[0]
    if exercise.baseline == COPY:
        moved = moved_bytes(exercise, first)
        return Sets(tuple(cases), Copy(moved), Work(0.0, float(moved)), _read_bytes(first))
    problem = grouped_gemm(first)
    moved = sum(array.data.nbytes for array in _arrays(first).values())
    flops = 2.0 * sum(problem.m_sizes) * problem.k * problem.n
    return Sets(tuple(cases), problem, Work(flops, float(moved)), _read_bytes(first))


def grouped_gemm(case: Case) -> GroupedGemm:
    """Raises GraderError if the case is not a grouped GEMM."""
    sizes, k, n = (case.arguments.get(name) for name in ("M_sizes", "K", "N"))
    if not isinstance(sizes, Array) or not isinstance(k, int) or not isinstance(n, int):
        raise GraderError(f"case {case.name} is not a grouped GEMM, so there is no baseline to time it against")
    return GroupedGemm(tuple(int(size) for size in sizes.data), k, n)


def moved_bytes(exercise: Exercise, case: Case) -> int:
    """Every input once for each kernel that reads it, every output once."""
    read, written = 0, {}
    for kernel in exercise.kernels:
        for parameter in kernel.parameters:
            value = case.arguments[parameter.key]
            if isinstance(value, Array) and value.access == "in":
                read += value.data.nbytes
            elif isinstance(value, Array):
                written[parameter.key] = value.data.nbytes
    return read + sum(written.values())


def _read_bytes(case: Case) -> int:
    return sum(array.data.nbytes for array in _arrays(case).values() if array.access == "in")


def _arrays(case: Case) -> dict[str, Array]:
    return {name: value for name, value in case.arguments.items() if isinstance(value, Array)}

"""The sets of inputs that a timing rotates through, and the references for what it computes from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from grader.errors import GraderError
from grader.model.execution import Gpu
from grader.model.exercise import Array, Case
from grader.timing import rotation
from grader.timing.roofline import Work

SEEDS_PER_RUN = 1 << 10  # so that no run's sets are another's


class Sets(msgspec.Struct, frozen=True):
    """Enough sets of inputs for a GPU's cache; the first is the case's own."""

    cases: tuple[Case, ...]
    problem: tuple[tuple[int, ...], int, int]  # M_sizes, K, N
    work: Work
    read_bytes: int

    @property
    def arrays(self) -> tuple[Mapping[str, Array], ...]:
        return tuple(_arrays(case) for case in self.cases)


def count(case: Case, gpu: Gpu) -> int:
    """How many sets this GPU's cache asks for."""
    return rotation.sets(_read_bytes(case), gpu.l2_bytes)


def make(case: Case, index: int, seed: int, another: Callable[[Case, int], Case]) -> Case:
    """The case of the set of that index. They are made one by one, so that threads can share the work."""
    return another(case, seed * SEEDS_PER_RUN + index) if index else case


def together(cases: Sequence[Case]) -> Sets:
    sizes, k, n = problem(cases[0])
    moved = float(sum(array.data.nbytes for array in _arrays(cases[0]).values()))
    return Sets(tuple(cases), (sizes, k, n), Work(2.0 * sum(sizes) * k * n, moved), _read_bytes(cases[0]))


def problem(case: Case) -> tuple[tuple[int, ...], int, int]:
    """M_sizes, K and N of a grouped GEMM. Raises GraderError where the case is none."""
    sizes, k, n = (case.arguments.get(name) for name in ("M_sizes", "K", "N"))
    if not isinstance(sizes, Array) or not isinstance(k, int) or not isinstance(n, int):
        raise GraderError(f"case {case.name} is no grouped GEMM: there is no baseline to time it against")
    return tuple(int(size) for size in sizes.data), k, n


def _read_bytes(case: Case) -> int:
    return sum(array.data.nbytes for array in _arrays(case).values() if array.access == "in")


def _arrays(case: Case) -> dict[str, Array]:
    return {name: value for name, value in case.arguments.items() if isinstance(value, Array)}

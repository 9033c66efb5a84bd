"""The sets of inputs that timing rotates through, and the references for their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from grader.baselines.baseline import Baseline
from grader.baselines.work import Work
from grader.model.execution import Gpu
from grader.model.exercise import Array, Case, Exercise
from grader.timing import rotation

SEEDS_PER_RUN = 1 << 10  # so that no two runs have the same sets


class Sets(msgspec.Struct, frozen=True):
    """Enough sets of inputs to exceed a GPU's cache; the first is the case's own."""

    cases: tuple[Case, ...]
    problem: dict[str, Any]  # for the baseline, in the child
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


def together(cases: Sequence[Case], exercise: Exercise, baseline: type[Baseline]) -> Sets:
    """Raises GraderError if the cases do not suit this baseline."""
    first = cases[0]
    return Sets(tuple(cases), baseline.problem(exercise, first), baseline.work(exercise, first), _read_bytes(first))


def _read_bytes(case: Case) -> int:
    return sum(array.data.nbytes for array in _arrays(case).values() if array.access == "in")


def _arrays(case: Case) -> dict[str, Array]:
    return {name: value for name, value in case.arguments.items() if isinstance(value, Array)}

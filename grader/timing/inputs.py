"""The sets of inputs that a timing rotates through, and the references for what it computes from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from grader.errors import GraderError
from grader.model.execution import Gpu
from grader.model.exercise import Array, Case
from grader.timing import rotation
from grader.timing.roofline import Work

SEEDS_PER_RUN = 1 << 10  # so that no run's sets are another's


class Sets(msgspec.Struct, frozen=True):
    """`arrays[i]` and `references[i]` belong together; the first set is the case's own."""

    arrays: tuple[Mapping[str, Array], ...]
    references: tuple[Mapping[str, np.ndarray], ...]
    problem: tuple[tuple[int, ...], int, int]  # M_sizes, K, N
    work: Work
    read_bytes: int


def make(
    case: Case,
    gpu: Gpu,
    seed: int,
    another: Callable[[Case, int], Case],
    expected: Callable[[Case], Mapping[str, np.ndarray]],
) -> Sets:
    """Enough sets for this GPU's cache, each with values of its own."""
    own = _arrays(case)
    read_bytes = sum(array.data.nbytes for array in own.values() if array.access == "in")
    count = rotation.sets(read_bytes, gpu.l2_bytes)
    cases = [case, *(another(case, seed * SEEDS_PER_RUN + index) for index in range(1, count))]
    sizes, k, n = problem(case)
    return Sets(
        tuple(_arrays(c) for c in cases),
        tuple(expected(c) for c in cases),
        (sizes, k, n),
        Work(2.0 * sum(sizes) * k * n, float(sum(a.data.nbytes for a in own.values()))),
        read_bytes,
    )


def problem(case: Case) -> tuple[tuple[int, ...], int, int]:
    """M_sizes, K and N of a grouped GEMM. Raises GraderError where the case is none."""
    sizes, k, n = (case.arguments.get(name) for name in ("M_sizes", "K", "N"))
    if not isinstance(sizes, Array) or not isinstance(k, int) or not isinstance(n, int):
        raise GraderError(f"case {case.name} is no grouped GEMM: there is no baseline to time it against")
    return tuple(int(size) for size in sizes.data), k, n


def _arrays(case: Case) -> dict[str, Array]:
    return {name: value for name, value in case.arguments.items() if isinstance(value, Array)}

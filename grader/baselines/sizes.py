"""The sizes of a case that is a grouped GEMM, of whatever data type."""

from __future__ import annotations

from grader.errors import GraderError
from grader.model.exercise import Array, Case
from grader.reference_kernels.cublas import GroupedSizes


def grouped_sizes(case: Case) -> GroupedSizes:
    """Raises GraderError where it is none."""
    sizes, K, N = (case.arguments.get(name) for name in ("M_sizes", "K", "N"))  # noqa: N806 - as in the papers
    if not isinstance(sizes, Array) or not isinstance(K, int) or not isinstance(N, int):
        raise GraderError(f"case {case.name} is not a grouped GEMM, so there is no baseline to time it against")
    return GroupedSizes(tuple(int(size) for size in sizes.data), K, N)


def bytes_of(case: Case) -> float:
    """Every array once."""
    return float(sum(value.data.nbytes for value in case.arguments.values() if isinstance(value, Array)))

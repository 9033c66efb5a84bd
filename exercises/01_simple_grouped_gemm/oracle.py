"""Inputs and expected outputs of 01_simple_grouped_gemm.

Called by the grader (exercises/README.md): required, extra, from_spec, expected, mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from grader.model.exercise import Array, Case
from grader.reference_kernels import grouped_gemm_cases as cases
from grader.reference_kernels.grouped_gemm import group_offsets, grouped_gemm
from grader.reference_kernels.grouped_gemm_cases import Sizes
from grader.reference_kernels.mistakes import Mistake
from grader.reference_kernels.mistakes.grouped_gemm import Problem, every_mistake

MAX_GROUPS = 64


def required(seed: int) -> Iterator[Case]:
    """The four cases on which speed is measured too, with values drawn from the seed."""
    for name, sizes in cases.REQUIRED.items():
        yield make_case(name, sizes, seed=seed, required=True)


def extra(seed: int) -> Iterator[Case]:
    """Awkward shapes, drawn from the seed too; together less than a tenth of the work of `imbalanced`."""
    for name, sizes in cases.awkward(seed, MAX_GROUPS):
        yield make_case(name, sizes, seed=seed)


def from_spec(spec: Mapping[str, Any], seed: int, name: str) -> Case:
    """A case from an instructor's secret file: {"M_sizes": [3, 0, 17], "K": 48, "N": 80}.

    Raises ValueError with a message that names the wrong field and what it should be.
    """
    return make_case(name, cases.from_spec(spec, name, MAX_GROUPS), seed=seed, secret=True)


def another(case: Case, seed: int) -> Case:
    """The same sizes with different values."""
    sizes, k, n = (case.arguments[name] for name in ("M_sizes", "K", "N"))
    assert isinstance(sizes, Array)
    assert isinstance(k, int)
    assert isinstance(n, int)
    return make_case(case.name, (sizes.data.tolist(), k, n), seed=seed, required=case.required)


def expected(case: Case) -> dict[str, np.ndarray]:
    """The outputs in FP64, by parameter name."""
    data = _arrays(case)
    return {"C_concat": grouped_gemm(data["A_concat"], data["B_concat"], data["M_sizes"])}


def mistakes(case: Case, right: Mapping[str, np.ndarray]) -> Iterator[Mistake[np.ndarray]]:
    """The outputs of common mistakes; `right` is what `expected` returned."""
    data = _arrays(case)
    return every_mistake(Problem(data["A_concat"], data["B_concat"], data["M_sizes"], right["C_concat"]))


def _arrays(case: Case) -> dict[str, np.ndarray]:
    return {name: value.data for name, value in case.arguments.items() if isinstance(value, Array)}


def make_case(name: str, sizes: Sizes, *, seed: int, required: bool = False, secret: bool = False) -> Case:
    """One problem. Its values depend only on the name, the sizes and the seed."""
    m_sizes, k, n = sizes
    a, b = cases.inputs(seed, name, sizes)
    arrays = (
        Array("A_concat", a),
        Array("B_concat", b),
        Array("C_concat", np.empty((len(a), n), np.float32), access="out"),
        Array("group_offsets", group_offsets(m_sizes)),
        Array("M_sizes", np.array(m_sizes, np.int32)),
    )
    return Case(
        name=name,
        required=required,
        arguments={array.name: array for array in arrays} | {"K": k, "N": n, "num_groups": len(m_sizes)},
        summary=f"M {' '.join(map(str, m_sizes))}, K {k}, N {n}",
        secret=secret,
    )

"""Inputs and expected outputs of 01_simple_grouped_gemm.

Called by the grader (exercises/README.md): required, extra, from_spec, expected, mistakes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from grader.model.exercise import Array, Case
from reference_kernels.grouped_gemm import group_offsets, grouped_gemm
from reference_kernels.mistakes import Mistake
from reference_kernels.mistakes.grouped_gemm import Problem, every_mistake

REQUIRED: dict[str, tuple[tuple[int, ...], int, int]] = {
    "uniform": ((128,) * 4, 256, 256),
    "variable": ((64, 128, 32, 256, 16, 192, 96, 48), 512, 512),
    "imbalanced": ((1, 10, 100, 1000), 1024, 1024),
    "small": ((8, 12, 16, 24, 32, 8, 16, 12, 20, 28, 16, 8, 24, 32, 16, 12), 128, 128),
}

MAX_GROUPS = 64
MAX_WORK = 1111 * 1024 * 1024  # multiply-adds of `imbalanced`, the largest case: no case needs more
# B alone can be much larger than the work suggests (many empty groups); an input must fit everywhere.
MAX_ELEMENTS = 64 << 20

Sizes = tuple[Sequence[int], int, int]  # M_sizes, K, N


def required(seed: int) -> Iterator[Case]:
    """The four cases on which speed is measured too, with values drawn from the seed."""
    for name, (m_sizes, k, n) in REQUIRED.items():
        yield make_case(name, m_sizes, k, n, seed=seed, required=True)


def extra(seed: int) -> Iterator[Case]:
    """Awkward shapes, drawn from the seed too; together less than a tenth of the work of `imbalanced`."""
    for name, draw in EXTRA.items():
        m_sizes, k, n = draw(_generator(seed, name, "shape"))
        yield make_case(name, m_sizes, k, n, seed=seed)


def from_spec(spec: Mapping[str, Any], seed: int, name: str) -> Case:
    """A case from an instructor's secret file: {"M_sizes": [3, 0, 17], "K": 48, "N": 80}.

    Raises ValueError with a message that names the wrong field and what it should be.
    """
    unknown = sorted(set(spec) - {"M_sizes", "K", "N"})
    if unknown:
        raise ValueError(f"secret case {name!r}: unknown field {unknown[0]!r}; known are M_sizes, K and N")
    for field in ("M_sizes", "K", "N"):
        if field not in spec:
            raise ValueError(f"secret case {name!r}: {field} is missing")
    m_sizes, k, n = spec["M_sizes"], spec["K"], spec["N"]
    _validate(name, m_sizes, k, n)
    return make_case(name, m_sizes, k, n, seed=seed, secret=True)


def another(case: Case, seed: int) -> Case:
    """The same sizes with different values."""
    sizes, k, n = (case.arguments[name] for name in ("M_sizes", "K", "N"))
    assert isinstance(sizes, Array)
    assert isinstance(k, int)
    assert isinstance(n, int)
    return make_case(case.name, sizes.data.tolist(), k, n, seed=seed, required=case.required)


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


def make_case(
    name: str,
    m_sizes: Sequence[int],
    k: int,
    n: int,
    *,
    seed: int,
    required: bool = False,
    secret: bool = False,
) -> Case:
    """One problem. Its values depend only on the name, the sizes and the seed."""
    rng = _generator(seed, name, "values")
    rows, groups = sum(m_sizes), len(m_sizes)
    arrays = (
        Array("A_concat", _uniform(rng, (rows, k))),
        Array("B_concat", _uniform(rng, (groups, k, n))),
        Array("C_concat", np.empty((rows, n), np.float32), access="out"),
        Array("group_offsets", group_offsets(m_sizes)),
        Array("M_sizes", np.array(m_sizes, np.int32)),
    )
    return Case(
        name=name,
        required=required,
        arguments={array.name: array for array in arrays} | {"K": k, "N": n, "num_groups": groups},
        summary=f"M {' '.join(map(str, m_sizes))}, K {k}, N {n}",
        secret=secret,
    )


def _generator(seed: int, name: str, purpose: str) -> np.random.Generator:
    """A separate stream per case, so that a single case can be generated again."""
    return np.random.default_rng([seed, *f"{purpose} {name}".encode()])


def _uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """FP32 in [-1, 1)."""
    values = rng.random(shape, dtype=np.float32)
    values *= 2
    values -= 1
    return values


def _odd16(rng: np.random.Generator, low: int, high: int) -> int:
    """An odd multiple of 16, which no tile of 32 or more divides. low and high count odd multiples."""
    return 16 * (2 * int(rng.integers(low, high)) + 1)


def _prime(rng: np.random.Generator, low: int, high: int) -> int:
    primes = [p for p in range(max(2, low), high) if all(p % d for d in range(2, math.isqrt(p) + 1))]
    return int(rng.choice(primes))


def _rows(rng: np.random.Generator, groups: int, low: int, high: int) -> list[int]:
    return [int(m) for m in rng.integers(low, high, size=groups)]


def _empty_groups(rng: np.random.Generator) -> Sizes:
    """The first, the last and a group in between have no rows."""
    return [0, *_rows(rng, 2, 1, 70), 0, *_rows(rng, 2, 1, 70), 0], _odd16(rng, 1, 4), _odd16(rng, 1, 4)


def _one_row(rng: np.random.Generator) -> Sizes:
    return [1], 16 * int(rng.integers(2, 17)), _odd16(rng, 2, 8)


def _single_rows(rng: np.random.Generator) -> Sizes:
    return [1] * int(rng.integers(3, 9)), _odd16(rng, 1, 4), 16 * int(rng.integers(1, 9))


def _prime_rows(rng: np.random.Generator) -> Sizes:
    return [_prime(rng, 3, 130) for _ in range(3)], 16 * int(rng.integers(2, 9)), _odd16(rng, 1, 5)


def _hot_group(rng: np.random.Generator) -> Sizes:
    """One expert gets every token."""
    m_sizes = [0] * int(rng.integers(4, 9))
    m_sizes[int(rng.integers(len(m_sizes)))] = int(rng.integers(200, 400))
    return m_sizes, 16 * int(rng.integers(4, 9)), 16 * int(rng.integers(4, 9))


def _one_group(rng: np.random.Generator) -> Sizes:
    return [_prime(rng, 100, 260)], _odd16(rng, 2, 6), _odd16(rng, 2, 6)


def _many_groups(rng: np.random.Generator) -> Sizes:
    """The maximum number of groups, each with a few rows or none."""
    m_sizes = _rows(rng, MAX_GROUPS - 1, 0, 10)
    return [*m_sizes, int(rng.integers(1, 10))], _odd16(rng, 1, 3), 16 * int(rng.integers(1, 5))


def _narrow(rng: np.random.Generator) -> Sizes:
    """The smallest K and N that the exercise allows."""
    return _rows(rng, 3, 1, 50), 16, 16


def _odd_sixteens(rng: np.random.Generator) -> Sizes:
    return _rows(rng, 4, 20, 90), _odd16(rng, 3, 7), _odd16(rng, 3, 7)


EXTRA: dict[str, Callable[[np.random.Generator], Sizes]] = {
    "empty-groups": _empty_groups,
    "one-row": _one_row,
    "single-rows": _single_rows,
    "prime-rows": _prime_rows,
    "hot-group": _hot_group,
    "one-group": _one_group,
    "many-groups": _many_groups,
    "narrow": _narrow,
    "odd-sixteens": _odd_sixteens,
}


def _validate(name: str, m_sizes: Any, k: Any, n: Any) -> None:
    where = f"secret case {name!r}"
    if not isinstance(m_sizes, (list, tuple)) or not m_sizes:
        raise ValueError(f"{where}: M_sizes must be a list of row counts, such as [3, 0, 17]")
    for m in m_sizes:
        if not _is_int(m) or m < 0:
            raise ValueError(f"{where}: M_sizes holds {m!r}; a row count is a whole number of at least 0")
    if len(m_sizes) > MAX_GROUPS:
        raise ValueError(f"{where}: {len(m_sizes)} groups; the limit is {MAX_GROUPS}")
    if sum(m_sizes) < 1:
        raise ValueError(f"{where}: every group is empty; at least one row is needed")
    for field, value in (("K", k), ("N", n)):
        if not _is_int(value) or value < 16 or value % 16:
            raise ValueError(f"{where}: {field} is {value!r}; it must be a positive multiple of 16")
    if sum(m_sizes) * k * n > MAX_WORK:
        raise ValueError(f"{where}: more work than the case imbalanced (sum M * K * N at most {MAX_WORK})")
    if (sum(m_sizes) + len(m_sizes) * n) * k > MAX_ELEMENTS:
        raise ValueError(f"{where}: the inputs have more than {MAX_ELEMENTS} values")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

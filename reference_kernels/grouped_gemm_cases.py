"""Cases of a grouped GEMM: their sizes and values, and which ones an instructor may ask for.

The exercises that multiply in groups share them; each oracle adds what is its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

Sizes = tuple[Sequence[int], int, int]  # M_sizes, K, N
Draw = Callable[[np.random.Generator], Sizes]

REQUIRED: dict[str, Sizes] = {
    "uniform": ((128,) * 4, 256, 256),
    "variable": ((64, 128, 32, 256, 16, 192, 96, 48), 512, 512),
    "imbalanced": ((1, 10, 100, 1000), 1024, 1024),
    "small": ((8, 12, 16, 24, 32, 8, 16, 12, 20, 28, 16, 8, 24, 32, 16, 12), 128, 128),
}

MAX_WORK = 1111 * 1024 * 1024  # multiply-adds of `imbalanced`, the largest case: no case needs more
# B alone can be much larger than the work suggests (many empty groups); an input must fit everywhere.
MAX_ELEMENTS = 64 << 20


def awkward(seed: int, max_groups: int) -> Iterator[tuple[str, Sizes]]:
    """Awkward shapes by name, drawn from the seed; together less than a tenth of the work of `imbalanced`."""
    for name, draw in draws(max_groups).items():
        yield name, draw(generator(seed, name, "shape"))


def from_spec(spec: Mapping[str, Any], name: str, max_groups: int) -> Sizes:
    """An instructor's secret case: {"M_sizes": [3, 0, 17], "K": 48, "N": 80}.

    Raises ValueError with a message that names the wrong field and what it should be.
    """
    unknown = sorted(set(spec) - {"M_sizes", "K", "N"})
    if unknown:
        raise ValueError(f"secret case {name!r}: unknown field {unknown[0]!r}; known are M_sizes, K and N")
    for field in ("M_sizes", "K", "N"):
        if field not in spec:
            raise ValueError(f"secret case {name!r}: {field} is missing")
    m_sizes, k, n = spec["M_sizes"], spec["K"], spec["N"]
    _validate(name, m_sizes, k, n, max_groups)
    return m_sizes, k, n


def inputs(seed: int, name: str, sizes: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """A_concat and B_concat, uniform in [-1, 1). They depend only on the name, the sizes and the seed."""
    m_sizes, k, n = sizes
    rng = generator(seed, name, "values")
    return uniform(rng, (sum(m_sizes), k)), uniform(rng, (len(m_sizes), k, n))


def generator(seed: int, name: str, purpose: str) -> np.random.Generator:
    """A separate stream per case, so that a single case can be generated again."""
    return np.random.default_rng([seed, *f"{purpose} {name}".encode()])


def uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """FP32 in [-1, 1)."""
    values = rng.random(shape, dtype=np.float32)
    values *= 2
    values -= 1
    return values


def zipf(rng: np.random.Generator, groups: int, rows: int, exponent: float = 1.0) -> list[int]:
    """Rows that a router sends to each group if the r-th most popular one attracts 1 / r^exponent of them.

    Which group is popular is drawn, too.
    """
    share = 1.0 / np.arange(1, groups + 1) ** exponent
    drawn = rng.multinomial(rows, share / share.sum())
    return [int(m) for m in rng.permutation(drawn)]


def odd16(rng: np.random.Generator, low: int, high: int) -> int:
    """An odd multiple of 16, which no tile of 32 or more divides. low and high count odd multiples."""
    return 16 * (2 * int(rng.integers(low, high)) + 1)


def _prime(rng: np.random.Generator, low: int, high: int) -> int:
    primes = [p for p in range(max(2, low), high) if all(p % d for d in range(2, math.isqrt(p) + 1))]
    return int(rng.choice(primes))


def rows(rng: np.random.Generator, groups: int, low: int, high: int) -> list[int]:
    return [int(m) for m in rng.integers(low, high, size=groups)]


def _empty_groups(rng: np.random.Generator) -> Sizes:
    """The first, the last and a group in between have no rows."""
    return [0, *rows(rng, 2, 1, 70), 0, *rows(rng, 2, 1, 70), 0], odd16(rng, 1, 4), odd16(rng, 1, 4)


def _one_row(rng: np.random.Generator) -> Sizes:
    return [1], 16 * int(rng.integers(2, 17)), odd16(rng, 2, 8)


def _single_rows(rng: np.random.Generator) -> Sizes:
    return [1] * int(rng.integers(3, 9)), odd16(rng, 1, 4), 16 * int(rng.integers(1, 9))


def _prime_rows(rng: np.random.Generator) -> Sizes:
    return [_prime(rng, 3, 130) for _ in range(3)], 16 * int(rng.integers(2, 9)), odd16(rng, 1, 5)


def _hot_group(rng: np.random.Generator) -> Sizes:
    """One expert gets every token."""
    m_sizes = [0] * int(rng.integers(4, 9))
    m_sizes[int(rng.integers(len(m_sizes)))] = int(rng.integers(200, 400))
    return m_sizes, 16 * int(rng.integers(4, 9)), 16 * int(rng.integers(4, 9))


def _one_group(rng: np.random.Generator) -> Sizes:
    return [_prime(rng, 100, 260)], odd16(rng, 2, 6), odd16(rng, 2, 6)


def _many_groups(rng: np.random.Generator, groups: int) -> Sizes:
    """The maximum number of groups, each with a few rows or none."""
    m_sizes = rows(rng, groups - 1, 0, 10)
    return [*m_sizes, int(rng.integers(1, 10))], odd16(rng, 1, 3), 16 * int(rng.integers(1, 5))


def _narrow(rng: np.random.Generator) -> Sizes:
    """The smallest K and N that the exercise allows."""
    return rows(rng, 3, 1, 50), 16, 16


def _odd_sixteens(rng: np.random.Generator) -> Sizes:
    return rows(rng, 4, 20, 90), odd16(rng, 3, 7), odd16(rng, 3, 7)


def draws(max_groups: int) -> dict[str, Draw]:
    return {
        "empty-groups": _empty_groups,
        "one-row": _one_row,
        "single-rows": _single_rows,
        "prime-rows": _prime_rows,
        "hot-group": _hot_group,
        "one-group": _one_group,
        "many-groups": partial(_many_groups, groups=max_groups),
        "narrow": _narrow,
        "odd-sixteens": _odd_sixteens,
    }


def _validate(name: str, m_sizes: Any, k: Any, n: Any, max_groups: int) -> None:
    where = f"secret case {name!r}"
    if not isinstance(m_sizes, (list, tuple)) or not m_sizes:
        raise ValueError(f"{where}: M_sizes must be a list of row counts, such as [3, 0, 17]")
    for m in m_sizes:
        if not _is_int(m) or m < 0:
            raise ValueError(f"{where}: M_sizes holds {m!r}; a row count is a whole number of at least 0")
    if len(m_sizes) > max_groups:
        raise ValueError(f"{where}: {len(m_sizes)} groups; the limit is {max_groups}")
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

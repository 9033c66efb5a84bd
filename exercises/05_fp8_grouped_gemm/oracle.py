"""Inputs, expected outputs and the judge of 05_fp8_grouped_gemm.

Called by the grader (exercises/README.md): required, extra, from_spec, another, expected, judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from grader.model.exercise import Array, Case
from grader.model.judged import Judged
from reference_kernels.fp8_grouped_gemm import Operands, fp8_grouped_gemm, from_bf16, quantized, to_bf16
from reference_kernels.fp8_grouped_gemm_error import bound_of, right_elements
from reference_kernels.grouped_gemm import group_offsets
from reference_kernels.mistakes.fp8_grouped_gemm import explain
from reference_kernels.quantization import BLOCK_WISE, FINE_GRAINED, spread

REQUIRED: dict[str, tuple[tuple[int, ...], int, int]] = {
    "uniform": ((128,) * 4, 256, 256),
    "variable": ((64, 128, 32, 256, 16, 192, 96, 48), 512, 512),
    "imbalanced": ((1, 10, 100, 1000), 1024, 1024),
    "small": ((8, 12, 16, 24, 32, 8, 16, 12, 20, 28, 16, 8, 24, 32, 16, 12), 128, 128),
}

OUTPUT = "C_concat"
UNWRITTEN = 0xFFFF  # an output arrives with every bit set, which is a NaN that arithmetic does not make

MAX_GROUPS = 64
MAX_WORK = 1111 * 1024 * 1024  # multiply-adds of `imbalanced`, the largest case: no case needs more
MAX_ELEMENTS = 64 << 20  # of A and B: many empty groups have a large B and no work

Sizes = tuple[Sequence[int], int, int]  # M_sizes, K, N


# ---- cases


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
    k, n = case.arguments["K"], case.arguments["N"]
    assert isinstance(k, int)
    assert isinstance(n, int)
    return make_case(case.name, _data(case, "M_sizes").tolist(), k, n, seed=seed, required=case.required)


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
    """One problem. Its values depend only on the name, the sizes and the seed.

    Quantized are numbers uniform in [-1, 1). The scales of B are nearly equal then: the largest of 16384 such numbers
    is always close to 1, and no result shows whose scale was taken. So in all but the required cases, each block has
    a magnitude of its own.
    """
    rng = _generator(seed, name, "values")
    rows, groups = sum(m_sizes), len(m_sizes)
    A, B = _uniform(rng, (rows, k)), _uniform(rng, (groups, n, k))
    if not required:
        A *= spread(_magnitudes(rng, FINE_GRAINED.scale_shape(A.shape)), FINE_GRAINED, A.shape)
        B *= spread(_magnitudes(rng, BLOCK_WISE.scale_shape(B.shape)), BLOCK_WISE, B.shape)
    operands = quantized(A, B, m_sizes)
    arrays = (
        Array("A_concat", operands.A),
        Array("A_scales", operands.A_scales),
        Array("B_concat", operands.B),
        Array("B_scales", operands.B_scales),
        Array(OUTPUT, np.empty((rows, n), np.uint16), access="out"),
        Array("group_offsets", group_offsets(m_sizes)),
        Array("M_sizes", operands.M_sizes),
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


def _magnitudes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """From 1/4 to 4, as many above 1 as below."""
    return np.exp2(rng.uniform(-2, 2, shape)).astype(np.float32)


def _data(case: Case, name: str) -> np.ndarray:
    value = case.arguments[name]
    assert isinstance(value, Array)
    return value.data


# ---- extra cases


def _odd16(rng: np.random.Generator, low: int, high: int) -> int:
    """An odd multiple of 16, which no tile of 32 or more divides. low and high count odd multiples."""
    return 16 * (2 * int(rng.integers(low, high)) + 1)


def _ragged(rng: np.random.Generator, low: int, high: int) -> int:
    """An odd multiple of 16 between 128 * low and 128 * high: the last block of 128 is ragged."""
    return 128 * int(rng.integers(low, high)) + _odd16(rng, 0, 4)


def _prime(rng: np.random.Generator, low: int, high: int) -> int:
    primes = [p for p in range(max(2, low), high) if all(p % d for d in range(2, math.isqrt(p) + 1))]
    return int(rng.choice(primes))


def _rows(rng: np.random.Generator, groups: int, low: int, high: int) -> list[int]:
    return [int(m) for m in rng.integers(low, high, size=groups)]


def _empty_groups(rng: np.random.Generator) -> Sizes:
    """The first, the last and a group in between have no rows."""
    return [0, *_rows(rng, 2, 1, 70), 0, *_rows(rng, 2, 1, 70), 0], _ragged(rng, 1, 2), _odd16(rng, 1, 4)


def _one_row(rng: np.random.Generator) -> Sizes:
    return [1], _ragged(rng, 1, 4), _ragged(rng, 1, 3)


def _single_rows(rng: np.random.Generator) -> Sizes:
    return [1] * int(rng.integers(3, 9)), _ragged(rng, 1, 3), 16 * int(rng.integers(1, 9))


def _prime_rows(rng: np.random.Generator) -> Sizes:
    return [_prime(rng, 3, 130) for _ in range(3)], 16 * int(rng.integers(2, 9)), _odd16(rng, 1, 5)


def _hot_group(rng: np.random.Generator) -> Sizes:
    """One expert gets every token."""
    m_sizes = [0] * int(rng.integers(4, 9))
    m_sizes[int(rng.integers(len(m_sizes)))] = int(rng.integers(200, 400))
    return m_sizes, 16 * int(rng.integers(4, 9)), 16 * int(rng.integers(4, 9))


def _many_groups(rng: np.random.Generator) -> Sizes:
    """The maximum number of groups, each with a few rows or none."""
    m_sizes = _rows(rng, MAX_GROUPS - 1, 0, 10)
    return [*m_sizes, int(rng.integers(1, 10))], _odd16(rng, 1, 3), 16 * int(rng.integers(1, 5))


def _narrow(rng: np.random.Generator) -> Sizes:
    """The smallest K and N that the exercise allows."""
    return _rows(rng, 3, 1, 50), 16, 16


def _short_blocks(rng: np.random.Generator) -> Sizes:
    """Less than one block of scales along K, a little more than one along N."""
    return _rows(rng, 3, 5, 60), 48, 144


def _ragged_blocks(rng: np.random.Generator) -> Sizes:
    """Two or three whole blocks and a ragged one, along K and N."""
    return _rows(rng, 3, 20, 90), _ragged(rng, 2, 4), _ragged(rng, 2, 4)


EXTRA: dict[str, Callable[[np.random.Generator], Sizes]] = {
    "empty-groups": _empty_groups,
    "one-row": _one_row,
    "single-rows": _single_rows,
    "prime-rows": _prime_rows,
    "hot-group": _hot_group,
    "many-groups": _many_groups,
    "narrow": _narrow,
    "short-blocks": _short_blocks,
    "ragged-blocks": _ragged_blocks,
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


# ---- expected outputs, and the judge


def expected(case: Case) -> dict[str, np.ndarray]:
    """The dequantized product in FP64, not rounded to BF16."""
    return {OUTPUT: fp8_grouped_gemm(_operands(case))}


def judge(case: Case, outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> Iterator[Judged]:
    """Element by element: right is the BF16 rounding of some number within the element's bound of the exact one."""
    operands, exact = _operands(case), expected[OUTPUT]
    bits = outputs[OUTPUT].reshape(exact.shape)
    wrong = ~right_elements(bits, exact, operands)
    if not wrong.any():
        yield Judged(OUTPUT, wrong, largest=_largest(bits, exact))
        return
    cause = None if case.secret else explain(operands, bits, exact, wrong)
    row, column = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    want, got = _first_wrong(operands, bits, exact, int(row), int(column))
    group, local = _place(case, int(row))
    first, found = f"group {group}, row {local}, column {column}", f"got {got}" if got else "nothing was written"
    yield Judged(
        OUTPUT,
        wrong,
        sentence=f"{first}: expected {want}, {found}",
        first=first,
        cause=cause.sentence if cause else "",
        mistake=cause.name if cause else "",
        hint=cause.hint if cause else "",
        expected=want,
        got=got,
        largest=_largest(bits, exact),
        values=_values(bits),
    )


def _operands(case: Case) -> Operands:
    return Operands(*(_data(case, name) for name in ("A_concat", "A_scales", "B_concat", "B_scales", "M_sizes")))


def _largest(bits: np.ndarray, exact: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.abs(from_bf16(bits) - exact).max())


def _values(bits: np.ndarray) -> np.ndarray:
    """In FP32; what was never written has every bit set there, too."""
    values = from_bf16(bits)
    values.view(np.uint32)[bits == UNWRITTEN] = 0xFFFFFFFF
    return values


def _first_wrong(operands: Operands, bits: np.ndarray, exact: np.ndarray, row: int, column: int) -> tuple[str, str]:
    """What was expected there, and what was got; "" where nothing was written."""
    right = exact[row, column]
    allowed = float(bound_of(operands, np.array([row]), np.array([column]))[0])
    want = f"{_value(to_bf16(right))} (exactly {right:.7g}, at most {allowed:.2g} from it before rounding to BF16)"
    got = bits[row, column]
    return want, "" if got == UNWRITTEN else _value(got)


def _value(bits: np.ndarray) -> str:
    return f"{float(from_bf16(np.asarray(bits, np.uint16).reshape(1))[0]):.6g}"


def _place(case: Case, row: int) -> tuple[int, int]:
    """The group of a row of C, and its number within the group."""
    offsets = _data(case, "group_offsets")
    group = int(np.searchsorted(offsets[1:], row, side="right"))
    return group, row - int(offsets[group])

"""Inputs, expected outputs and the judge of 05_fp8_grouped_gemm.

Called by the grader (exercises/README.md): required, extra, from_spec, another, expected, judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from grader.model.exercise import Array, Case
from grader.model.judged import Judged
from grader.reference_kernels import grouped_gemm_cases as cases
from grader.reference_kernels.fp8_grouped_gemm import Operands, fp8_grouped_gemm, from_bf16, quantized, to_bf16
from grader.reference_kernels.fp8_grouped_gemm_error import bound_of, right_elements
from grader.reference_kernels.grouped_gemm import group_offsets
from grader.reference_kernels.grouped_gemm_cases import Sizes
from grader.reference_kernels.mistakes.fp8_grouped_gemm import explain
from grader.reference_kernels.quantization import BLOCK_WISE, FINE_GRAINED, spread

OUTPUT = "C_concat"
UNWRITTEN = 0xFFFF  # an output arrives with every bit set, which is a NaN that arithmetic does not make

MAX_GROUPS = 64


# ---- cases


def required(seed: int) -> Iterator[Case]:
    """The four cases on which speed is measured too, with values drawn from the seed."""
    for name, sizes in cases.REQUIRED.items():
        yield make_case(name, sizes, seed=seed, required=True)


def extra(seed: int) -> Iterator[Case]:
    """Awkward shapes, drawn from the seed too; together less than a tenth of the work of `imbalanced`."""
    for name, draw in EXTRA.items():
        yield make_case(name, draw(cases.generator(seed, name, "shape")), seed=seed)


def from_spec(spec: Mapping[str, Any], seed: int, name: str) -> Case:
    """A case from an instructor's secret file: {"M_sizes": [3, 0, 17], "K": 48, "N": 80}.

    Raises ValueError with a message that names the wrong field and what it should be.
    """
    return make_case(name, cases.from_spec(spec, name, MAX_GROUPS), seed=seed, secret=True)


def another(case: Case, seed: int) -> Case:
    """The same sizes with different values."""
    k, n = case.arguments["K"], case.arguments["N"]
    assert isinstance(k, int)
    assert isinstance(n, int)
    return make_case(case.name, (_data(case, "M_sizes").tolist(), k, n), seed=seed, required=case.required)


def make_case(name: str, sizes: Sizes, *, seed: int, required: bool = False, secret: bool = False) -> Case:
    """One problem. Its values depend only on the name, the sizes and the seed.

    Quantized are numbers uniform in [-1, 1). The scales of B are nearly equal then: the largest of 16384 such numbers
    is always close to 1, and no result shows whose scale was taken. So in all but the required cases, each block has
    a magnitude of its own.
    """
    m_sizes, k, n = sizes
    rng = cases.generator(seed, name, "values")
    rows, groups = sum(m_sizes), len(m_sizes)
    A, B = cases.uniform(rng, (rows, k)), cases.uniform(rng, (groups, n, k))
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


def _magnitudes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """From 1/4 to 4, as many above 1 as below."""
    return np.exp2(rng.uniform(-2, 2, shape)).astype(np.float32)


def _data(case: Case, name: str) -> np.ndarray:
    value = case.arguments[name]
    assert isinstance(value, Array)
    return value.data


# ---- extra cases


def _ragged(rng: np.random.Generator, low: int, high: int) -> int:
    """An odd multiple of 16 between 128 * low and 128 * high: the last block of 128 is ragged."""
    return 128 * int(rng.integers(low, high)) + cases.odd16(rng, 0, 4)


def _empty_groups(rng: np.random.Generator) -> Sizes:
    """The first, the last and a group in between have no rows."""
    m_sizes = [0, *cases.rows(rng, 2, 1, 70), 0, *cases.rows(rng, 2, 1, 70), 0]
    return m_sizes, _ragged(rng, 1, 2), cases.odd16(rng, 1, 4)


def _one_row(rng: np.random.Generator) -> Sizes:
    return [1], _ragged(rng, 1, 4), _ragged(rng, 1, 3)


def _single_rows(rng: np.random.Generator) -> Sizes:
    return [1] * int(rng.integers(3, 9)), _ragged(rng, 1, 3), 16 * int(rng.integers(1, 9))


def _short_blocks(rng: np.random.Generator) -> Sizes:
    """Less than one block of scales along K, a little more than one along N."""
    return cases.rows(rng, 3, 5, 60), 48, 144


def _ragged_blocks(rng: np.random.Generator) -> Sizes:
    """Two or three whole blocks and a ragged one, along K and N."""
    return cases.rows(rng, 3, 20, 90), _ragged(rng, 2, 4), _ragged(rng, 2, 4)


_SHARED = cases.draws(MAX_GROUPS)

EXTRA: dict[str, cases.Draw] = {
    "empty-groups": _empty_groups,
    "one-row": _one_row,
    "single-rows": _single_rows,
    **{name: _SHARED[name] for name in ("prime-rows", "hot-group", "many-groups", "narrow")},
    "short-blocks": _short_blocks,
    "ragged-blocks": _ragged_blocks,
}


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

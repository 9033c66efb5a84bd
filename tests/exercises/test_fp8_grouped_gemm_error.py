"""The tolerance of exercise 05: right kernels keep to half of it, each wrong precision exceeds it in every case."""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from grader import ptx
from grader.compile import nvrtc, recipe
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Array, Case
from grader.reference_kernels.fp8_grouped_gemm import BLOCK, Operands, fp8_grouped_gemm, from_bf16, quantized, to_bf16
from grader.reference_kernels.fp8_grouped_gemm_error import (
    FRACTION_BITS,
    STEP,
    bound,
    bound_of,
    right_elements,
    within,
)
from grader.reference_kernels.grouped_gemm import group_offsets
from grader.reference_kernels.quantization import BLOCK_WISE, FINE_GRAINED, dequantize
from tests.kernels.several import Several

ROOT = Path(__file__).parents[2]
EXERCISE = catalog.read(ROOT / "exercises" / "05_fp8_grouped_gemm")
ORACLE = Oracle(EXERCISE)
RIGHT = [EXERCISE.folder / "solution.cu", *sorted((ROOT / "tests" / "kernels" / "fp8_grouped_gemm").glob("*.cu"))]

# The required cases with fewer rows, and as many columns as an emulation bears: the tolerance belongs to an element.
SIZES = {
    "uniform": ((64, 64), 256, 256),
    "variable": ((64, 16), 512, 256),
    "imbalanced": ((1, 10, 53), 1024, 256),
    "small": ((8, 12, 16, 24, 32, 8, 16, 12), 128, 128),
}
each_case = pytest.mark.parametrize("case", SIZES)


class Known(NamedTuple):
    operands: Operands
    exact: NDArray[np.float64]
    bound: NDArray[np.float64]

    def right(self, C: np.ndarray, share: float = 1.0) -> NDArray[np.bool_]:
        return within(to_bf16(C), self.exact, share * self.bound)


@cache
def known(case: str) -> Known:
    sizes, K, N = SIZES[case]
    rng = np.random.default_rng(3)
    A, B = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((sum(sizes), K), (len(sizes), N, K)))
    operands = quantized(A, B, sizes)
    return Known(operands, fp8_grouped_gemm(operands), bound(operands))


# ---- right


def cut(x: np.ndarray, unit: np.ndarray) -> np.ndarray:
    return np.asarray(np.trunc(x / unit) * unit)


def tensor_core(operands: Operands, fraction_bits: int, step: int) -> NDArray[np.float64]:
    """Each step aligns products and accumulator to the largest exponent among them, and truncates; so the sum."""
    C = np.zeros((len(operands.A), operands.N))
    for group, rows in operands.groups():
        A, B = operands.A_values[rows].astype(np.float64), operands.B_values[group].astype(np.float64)
        for block in range(-(-operands.K // BLOCK)):
            total = np.zeros((len(A), operands.N))
            for k in range(block * BLOCK, min(operands.K, (block + 1) * BLOCK), step):
                products = A[:, None, k : k + step] * B[None, :, k : k + step]
                largest = np.maximum(np.abs(products).max(axis=-1), np.abs(total))
                unit = np.ldexp(1.0, np.frexp(largest)[1] - 1 - fraction_bits)
                total = cut(products, unit[..., None]).sum(axis=-1) + cut(total, unit)
                total = cut(total, np.ldexp(1.0, np.frexp(total)[1] - 1 - fraction_bits))
            C[rows] += total * scales(operands, group, rows, block)
    return C


def scales(operands: Operands, group: int, rows: slice, block: int) -> NDArray[np.float64]:
    of_columns = operands.B_scales[group, :, block].repeat(BLOCK)[: operands.N]
    return np.outer(operands.A_scales[rows, block].astype(np.float64), of_columns)


@pytest.mark.parametrize("step", [16, STEP])
@each_case
def test_fp8_tensor_cores_keep_to_half_of_it(case: str, step: int) -> None:
    p = known(case)
    assert p.right(tensor_core(p.operands, FRACTION_BITS, step), 0.5).all()


@pytest.mark.parametrize("file", RIGHT, ids=lambda file: file.stem)
def test_right_kernels_keep_to_half_of_it(file: Path) -> None:
    submission = Several(EXERCISE, file.read_text(encoding="utf-8"))
    for case in ORACLE.cases(seed=11):
        if case.name in ("small", "ragged-blocks"):
            findings, outputs = submission.run(case)
            assert findings == ()
            exact, operands = ORACLE.expected(case)["C_concat"], operands_of(case)
            assert within(outputs["C_concat"].reshape(exact.shape), exact, 0.5 * bound(operands)).all()


def operands_of(case: Case) -> Operands:
    arrays = [case.arguments[n] for n in ("A_concat", "A_scales", "B_concat", "B_scales", "M_sizes")]
    return Operands(*(array.data for array in arrays if isinstance(array, Array)))


# ---- wrong

Narrow = Callable[[np.ndarray], np.ndarray]


def bf16(x: np.ndarray) -> np.ndarray:
    return from_bf16(to_bf16(x))


def fp16(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32)


def same(x: np.ndarray) -> np.ndarray:
    return x


def truncated(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def one_by_one(p: Known, sums: Narrow, inputs: Narrow = same) -> np.ndarray:
    """Dequantized values, added in the order of k."""
    o = p.operands
    A = inputs(dequantize(o.A, o.A_scales, FINE_GRAINED))
    B = inputs(dequantize(o.B, o.B_scales, BLOCK_WISE))
    C = np.zeros(p.exact.shape, np.float32)
    for group, rows in o.groups():
        for k in range(o.K):
            C[rows] = sums(C[rows] + np.outer(A[rows, k], B[group, :, k]))
    return C


def by_blocks(
    p: Known, sums: Narrow = same, totals: Narrow = same, at: Callable[[int], int] = lambda b: b
) -> np.ndarray:
    """`at`: of which block the scales are."""
    o = p.operands
    C = np.zeros(p.exact.shape, np.float32)
    for group, rows in o.groups():
        for block in range(-(-o.K // BLOCK)):
            k = slice(block * BLOCK, (block + 1) * BLOCK)
            part = sums(o.A_values[rows, k] @ o.B_values[group, :, k].T)
            with np.errstate(invalid="ignore"):  # Inf - Inf, of an FP16 that overflowed
                C[rows] = totals(C[rows] + part * scales(o, group, rows, at(block)).astype(np.float32))
    return C


WRONG: dict[str, Callable[[Known], np.ndarray]] = {
    "sums in FP16": lambda p: one_by_one(p, fp16),
    "sums in BF16": lambda p: one_by_one(p, bf16),
    "inputs in BF16": lambda p: one_by_one(p, same, bf16),
    "block sums in FP16": lambda p: by_blocks(p, sums=fp16),
    "block sums in BF16": lambda p: by_blocks(p, sums=bf16),
    "result truncated": lambda p: truncated(p.exact),
    "scale of the next row": lambda p: by_blocks(with_scales(p, np.roll(p.operands.A_scales, -1, axis=0))),
    "no scale of B": lambda p: by_blocks(with_scales(p, b=np.ones_like(p.operands.B_scales))),
}
# With a single block along K these make no difference.
WRONG_OF_SEVERAL: dict[str, Callable[[Known], np.ndarray]] = {
    "totals in BF16": lambda p: by_blocks(p, totals=bf16),
    "scales of the first block": lambda p: by_blocks(p, at=lambda _: 0),
    "scales of the next block": lambda p: by_blocks(p, at=lambda b: (b + 1) % (p.operands.K // BLOCK)),
    "last block dropped": lambda p: p.exact - last_block(p),
}


def with_scales(p: Known, a: np.ndarray | None = None, b: np.ndarray | None = None) -> Known:
    o = p.operands
    other = Operands(o.A, o.A_scales if a is None else a, o.B, o.B_scales if b is None else b, o.M_sizes)
    return p._replace(operands=other)


def last_block(p: Known) -> np.ndarray:
    o, first = p.operands, (p.operands.K - 1) // BLOCK * BLOCK
    block = first // BLOCK
    part = Operands(
        o.A[:, first:],
        o.A_scales[:, block:],
        o.B[..., first:],
        np.ascontiguousarray(o.B_scales[..., block:]),
        o.M_sizes,
    )
    return fp8_grouped_gemm(part)


def mistakes() -> Iterator[tuple[str, str]]:
    for case, (_, K, _) in SIZES.items():
        for mistake in (*WRONG, *(WRONG_OF_SEVERAL if K > BLOCK else ())):
            yield case, mistake


@pytest.mark.parametrize(("case", "mistake"), list(mistakes()))
def test_a_wrong_precision_or_scale_exceeds_it(case: str, mistake: str) -> None:
    p = known(case)
    C = (WRONG | WRONG_OF_SEVERAL)[mistake](p)
    assert not p.right(C).all()


# ---- the rule itself


@each_case
def test_the_bound_of_some_elements_is_that_of_all(case: str) -> None:
    p = known(case)
    rows, columns = np.array([0, 7, 60]), np.array([5, 100, 127])
    np.testing.assert_allclose(bound_of(p.operands, rows, columns), p.bound[rows, columns], rtol=1e-5)


def test_bf16_rounds_fp64_once() -> None:
    tie = 1 + 2.0**-8
    values = np.array([tie, tie + 2.0**-40, -tie, 1 + 3 * 2.0**-8, 0.0, 3.4e38, np.inf, np.nan, 2.0**-133, 2.0**-135])
    bits = [0x3F80, 0x3F81, 0xBF80, 0x3F82, 0, 0x7F80, 0x7F80, 0x7FFF, 1, 0]
    assert to_bf16(values).tolist() == bits
    assert from_bf16(np.array([0x3F81], np.uint16)).tolist() == [1 + 2.0**-7]


@pytest.mark.parametrize(("sizes", "K", "N"), [((3, 0, 20, 17), 304, 144), ((16,), 128, 128), ((1,), 16, 16)])
def test_the_device_judge_finds_the_same_elements(sizes: tuple[int, ...], K: int, N: int) -> None:
    rng = np.random.default_rng([*sizes, K])
    o = quantized(
        rng.uniform(-1, 1, (sum(sizes), K)).astype(np.float32),
        rng.uniform(-1, 1, (len(sizes), N, K)).astype(np.float32),
        sizes,
    )
    exact = fp8_grouped_gemm(o)
    bits = to_bf16(exact + rng.uniform(-2, 2, exact.shape) * bound(o))
    bits[0, :3] = 0xFFFF, 0x7F80, to_bf16(exact)[0, 2]
    wrong = np.flatnonzero(~right_elements(bits, exact, o))
    verdict = np.array([0, 2**64 - 1], np.uint64)
    inputs = (o.A, o.A_scales, o.B, o.B_scales, bits, group_offsets(sizes), o.M_sizes)
    execution = judge().run(
        "judge_fp8_grouped_gemm",
        grid=(5, 1, 1),
        block=(256, 1, 1),
        arguments=[
            *(ptx.Buffer(str(i), array) for i, array in enumerate(inputs)),
            *(K, N, len(sizes)),
            ptx.Buffer("verdict", verdict, writable=True),
        ],
    )
    assert execution.findings == ()
    assert verdict.tolist() == [len(wrong), wrong[0]]


@cache
def judge() -> ptx.Program:
    source = (ROOT / "reference_kernels" / EXERCISE.judge_source).read_text(encoding="utf-8")
    built = nvrtc.build(source, recipe.PTX_ARCH)
    assert built.ok, built.log
    return ptx.Program(ptx.parse(built.ptx))

"""fp8_layers.cu on the CPU engine, without a finding: its quantization bit for bit, its products within the bound."""

# ruff: noqa: N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from grader import ptx, reference_kernels
from grader.compile import nvrtc, recipe
from grader.reference_kernels import fp8_layers
from grader.reference_kernels.fp8_grouped_gemm import Operands, fp8_grouped_gemm, from_bf16, quantized, to_bf16
from grader.reference_kernels.fp8_grouped_gemm_error import bound, within
from grader.reference_kernels.quantization import BLOCK_WISE, FINE_GRAINED

SOURCE = (Path(reference_kernels.__file__).parent / "fp8_layers.cu").read_text(encoding="utf-8")


class Cpu:
    """Runs a kernel; the arrays named in `out` are poison before. Raises AssertionError for a finding."""

    def __init__(self) -> None:
        built = nvrtc.build(SOURCE, recipe.PTX_ARCH)
        assert built.ok, built.log
        self._program = ptx.Program(ptx.parse(built.ptx))

    def run(self, kernel: str, *arguments: np.ndarray | int, out: tuple[int, ...], grid: int, block: int) -> None:
        given = [
            ptx.Buffer(f"argument {i}", a, writable=i in out, initialised=i not in out)
            if isinstance(a, np.ndarray)
            else a
            for i, a in enumerate(arguments)
        ]
        findings = self._program.run(kernel, grid=(grid, 1, 1), block=(block, 1, 1), arguments=given).findings
        assert findings == ()


@pytest.fixture(scope="module")
def cpu() -> Cpu:
    return Cpu()


def values(*shape: int, seed: int = 1) -> np.ndarray:
    """With outliers, whole rows of zeros, and zeros of both signs."""
    rng = np.random.default_rng([seed, *shape])
    x = rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4, shape)
    x = np.where(rng.random((*shape[:-1], 1)) < 0.2, 0.0, x)
    return np.where(rng.random(shape) < 0.05, -0.0, x).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (3, 16), (5, 128), (37, 200), (2, 300)])
def test_rows_are_quantized_as_numpy_does(cpu: Cpu, shape: tuple[int, int]) -> None:
    x = values(*shape)
    for name, given in (("quantize_rows_fp32", x), ("quantize_rows_bf16", to_bf16(x))):
        codes = np.empty(shape, np.uint8)
        scales = np.empty(FINE_GRAINED.scale_shape(shape), np.float32)
        cpu.run(name, given, codes, scales, *shape, out=(1, 2), grid=2, block=64)
        expected = fp8_layers.quantize_rows(x if given is x else from_bf16(given))
        np.testing.assert_array_equal(codes, expected[0])
        np.testing.assert_array_equal(scales, expected[1])


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 130, 40), (1, 128, 272)])
def test_weights_are_quantized_as_numpy_does(cpu: Cpu, shape: tuple[int, int, int]) -> None:
    x = values(*shape)
    codes, scales = np.empty(shape, np.uint8), np.empty(BLOCK_WISE.scale_shape(shape), np.float32)
    cpu.run("quantize_blocks", x, codes, scales, *shape, out=(1, 2), grid=3, block=96)
    expected = fp8_layers.quantize_blocks(x)
    np.testing.assert_array_equal(codes, expected[0])
    np.testing.assert_array_equal(scales, expected[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_block_with_nan_or_infinity_has_the_scale_nan(cpu: Cpu, bad: float) -> None:
    x = values(4, 200)
    x[1, 150] = bad
    codes, scales = np.empty(x.shape, np.uint8), np.empty((4, 2), np.float32)
    cpu.run("quantize_rows_fp32", x, codes, scales, *x.shape, out=(1, 2), grid=1, block=32)
    assert np.argwhere(np.isnan(scales)).tolist() == [[1, 1]]
    np.testing.assert_array_equal(fp8_layers.quantize_rows(x)[1], scales)


SIZES = [
    ([5], 16, 1),
    ([64, 0, 65], 128, 64),
    ([0, 3, 0, 0, 70, 1, 0], 144, 200),
    ([130], 400, 48),
    ([0, 0], 32, 32),
]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("sizes", "k", "n"), SIZES)
def test_a_product_is_within_the_bound(cpu: Cpu, sizes: list[int], k: int, n: int, bias: bool) -> None:
    rng = np.random.default_rng(3)
    rows, groups = sum(sizes), len(sizes)
    A = rng.uniform(-1, 1, (max(rows, 1), k)).astype(np.float32)[:rows]
    B = rng.uniform(-1, 1, (groups, n, k)).astype(np.float32)
    operands = Operands(
        *fp8_layers.quantize_rows(A), *fp8_layers.quantize_blocks(B), M_sizes=np.asarray(sizes, np.int32)
    )
    added = rng.uniform(-1, 1, (groups, n)).astype(np.float32) if bias else 0
    C = np.empty((rows, n), np.uint16)
    given = (operands.A, operands.A_scales, operands.B, operands.B_scales, added, C, operands.M_sizes)
    cpu.run("grouped_product", *given, k, n, groups, out=(5,), grid=3, block=128)
    if rows == 0:
        return
    exact, allowed = fp8_grouped_gemm(operands), bound(operands)
    if isinstance(added, np.ndarray):
        of_rows = added.repeat(sizes, axis=0)
        exact, allowed = exact + of_rows, allowed + 2.0**-23 * (np.abs(exact) + np.abs(of_rows))
    assert within(C, exact, allowed).all()


def test_a_product_with_a_scale_of_nan_is_nan_in_that_row_alone(cpu: Cpu) -> None:
    operands = quantized(values(3, 32), values(1, 16, 32), [3])
    operands.A_scales[1] = np.nan
    C = np.empty((3, 16), np.uint16)
    given = (operands.A, operands.A_scales, operands.B, operands.B_scales, 0, C, operands.M_sizes)
    cpu.run("grouped_product", *given, 32, 16, 1, out=(5,), grid=1, block=128)
    assert np.isnan(from_bf16(C)).any(axis=1).tolist() == [False, True, False]
    assert np.isnan(from_bf16(fp8_layers.grouped_product(operands, None))).any(axis=1).tolist() == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("renormalize", [True, False])
@pytest.mark.parametrize(("experts", "k"), [(1, 1), (4, 1), (8, 2), (40, 2), (70, 5)])
def test_tokens_are_routed_as_numpy_does(cpu: Cpu, experts: int, k: int, renormalize: bool) -> None:
    rng = np.random.default_rng(experts)
    logits = np.round(rng.standard_normal((23, experts)) * 4).astype(np.float32) / 4  # many ties
    logits[3] = -np.inf
    logits[4, 0] = np.nan
    logits[5] = 1
    chosen, weights = np.empty((23, k), np.int32), np.empty((23, k), np.float32)
    cpu.run("route", logits, chosen, weights, 23, experts, k, int(renormalize), out=(1, 2), grid=2, block=64)
    with np.errstate(invalid="ignore"):
        expected = fp8_layers.route(logits, k, renormalize)
    np.testing.assert_array_equal(chosen, expected[0])
    np.testing.assert_allclose(weights, expected[1], rtol=1e-6)
    assert chosen[5].tolist() == list(range(k))  # of equal ones the first


@pytest.mark.parametrize(("tokens", "k", "experts"), [(1, 1, 3), (50, 2, 7), (33, 1, 40)])
def test_rows_are_sorted_by_expert(cpu: Cpu, tokens: int, k: int, experts: int) -> None:
    rng = np.random.default_rng(tokens)
    chosen = np.stack([rng.permutation(experts - 1)[:k] for _ in range(tokens)]).astype(np.int32)  # never the last
    sizes, rows, tokens_of = np.empty(experts, np.int32), np.empty_like(chosen), np.empty(tokens * k, np.int32)
    cpu.run("permute", chosen, sizes, rows, tokens_of, tokens * k, k, experts, out=(1, 2, 3), grid=5, block=96)
    for found, expected in zip((rows, tokens_of, sizes), fp8_layers.permute(chosen, experts), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert sizes[-1] == 0
    for token in range(tokens):
        assert (tokens_of[rows[token]] == token).all()


def test_swiglu_is_quantized(cpu: Cpu) -> None:
    """exp differs in its last bits from machine to machine, so a code may be the neighbouring one; few are."""
    gate_up = to_bf16(values(9, 2 * 150))
    codes, scales = np.empty((9, 150), np.uint8), np.empty((9, 2), np.float32)
    cpu.run("swiglu_quantize", gate_up, codes, scales, 9, 150, out=(1, 2), grid=2, block=64)
    expected = fp8_layers.swiglu_quantize(gate_up)
    np.testing.assert_allclose(scales, expected[1], rtol=1e-6)
    assert (codes != expected[0]).mean() < 0.01


@pytest.mark.parametrize("cols", [24, 21])
@pytest.mark.parametrize("k", [1, 2, 6])
def test_results_are_combined_bit_for_bit(cpu: Cpu, k: int, cols: int) -> None:
    rng = np.random.default_rng(k)
    y, weights = to_bf16(values(11 * k, cols)), rng.random((11, k), dtype=np.float32)
    rows = rng.permutation(11 * k).astype(np.int32).reshape(11, k)
    out = np.empty((11, cols), np.uint16)
    cpu.run("combine", y, rows, weights, out, 11, cols, k, out=(3,), grid=2, block=64)
    np.testing.assert_array_equal(out, fp8_layers.combine(y, rows, weights))


def test_without_torch_its_layers_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("grader.reference_kernels.torch_layers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'cuda-kernel-grader\[torch\]'"):
        importlib.import_module("grader.reference_kernels.torch_layers")

"""The definition of the instructions against a GPU, instruction by instruction."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from grader.ptx.definition import fragments, matrix, semantics
from tests.ptx import warp_kernels
from tests.ptx.one_instruction import Case, Kernel, cases, disagreement, is_one_of_many_alike, kernels, module
from tests.ptx.samples import rows

SAMPLES = 256
CASES_PER_KERNEL = 64
CASES = cases(opcode for opcode in semantics.opcodes() if not is_one_of_many_alike(opcode))

# Where an H200 does not do what the ISA says, or the ISA leaves the result open.
DEVIATES = re.compile(
    r"cvt\.r[mp]\.ftz(\.sat)?\.f16\.f32"  # does not flush subnormal inputs
    r"|cvt\.rna(\.satfinite)?\.tf32\.f32"  # a NaN whose payload is in the dropped bits becomes infinite
    r"|bfe\.[us]64|bfi\.b64"  # positions and lengths above 255 are not reduced to 8 bits
    r"|fns\.b32"  # base above 31 is undefined
)


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_definition(tmp_path: Path) -> None:
    import cupy

    wrong = []
    all_kernels = kernels((case for case in CASES if not DEVIATES.match(case.opcode)), CASES_PER_KERNEL)
    path = tmp_path / "instructions.ptx"
    path.write_text(module(all_kernels))
    loaded = cupy.RawModule(path=str(path))
    for kernel in all_kernels:
        samples = {group: rows(group.operands, SAMPLES, seed=len(group.cases)) for group in kernel.groups}
        inputs = cupy.asarray(kernel.slots(samples, SAMPLES))
        outputs = cupy.zeros((SAMPLES, kernel.outputs), dtype=cupy.uint64)
        loaded.get_function(kernel.name)((SAMPLES // 64,), (64,), (inputs, outputs))
        results = cupy.asnumpy(outputs)
        for case in kernel.cases:
            wrong += _wrong(kernel, case, samples[kernel.group(case)], results)
    assert not wrong, "\n".join(wrong[:20])


def _wrong(kernel: Kernel, case: Case, operands: tuple[tuple[int, ...], ...], outputs: np.ndarray) -> list[str]:
    pairs = zip(operands, kernel.results(case, outputs), strict=True)
    return [line for row, got in pairs if (line := disagreement(case, row, got))]


# Matrix products ----------------------------------------------------------------------------------------------------


def _run(text: str, source: np.ndarray, target: np.ndarray, folder: Path) -> np.ndarray:
    import cupy

    path = folder / f"{len(list(folder.iterdir()))}.ptx"  # CuPy loads a path only once
    path.write_text(text)
    inputs, outputs = cupy.asarray(source), cupy.asarray(target)
    cupy.RawModule(path=str(path)).get_function("k")((1,), (warp_kernels.LANES,), (inputs, outputs))
    return np.asarray(cupy.asnumpy(outputs))


def _compute_capability() -> int:
    import cupy

    return int(cupy.cuda.Device().compute_capability)


def _multiplied(opcode: str, matrices: list[np.ndarray], folder: Path) -> np.ndarray:
    """A GPU's D, as bit patterns in the order of the matrix."""
    shape = fragments.product(opcode)
    pieces = []
    for fragment, values in zip((shape.a, shape.b, shape.c), matrices, strict=True):
        lanes = matrix.scatter(fragment, warp_kernels.patterns(fragment, values))
        pieces.append(warp_kernels.lanes_as_bytes(fragment, lanes))
    text, _, writes = warp_kernels.product_kernel(opcode)
    target = np.zeros((warp_kernels.LANES, writes), np.uint8)
    got = _run(text, np.ascontiguousarray(np.concatenate(pieces, axis=1)), target, folder)
    return np.array(matrix.gather(shape.d, got.view(f"u{shape.d.register_bits // 8}").tolist()), np.uint64)


@pytest.mark.gpu
@pytest.mark.parametrize("opcode", warp_kernels.MMA)
def test_a_gpu_multiplies_as_the_definition_says(opcode: str, tmp_path: Path) -> None:
    shape = fragments.product(opcode)
    a, b, c = warp_kernels.integers(opcode)
    assert _multiplied(opcode, [a, b, c], tmp_path).tolist() == warp_kernels.patterns(
        shape.d, warp_kernels.times(opcode, a, b) + c
    )
    if shape.d.type == "s32":
        return
    random = np.random.default_rng(1)
    left, right, start = (
        random.normal(size=(f.rows, f.columns)).astype(warp_kernels.NUMPY[f.type])
        for f in (shape.a, shape.b, shape.c)
    )
    lanes = [
        matrix.scatter(f, warp_kernels.patterns(f, x))
        for f, x in ((shape.a, left), (shape.b, right), (shape.c, start))
    ]
    expected = matrix.gather(shape.d, matrix.multiply(opcode, *lanes))
    assert _multiplied(opcode, [left, right, start], tmp_path).tolist() == expected


@pytest.mark.gpu
@pytest.mark.parametrize("opcode", warp_kernels.SPARSE)
def test_a_gpu_finds_the_elements_of_a_sparse_matrix_as_the_definition_does(opcode: str, tmp_path: Path) -> None:
    if ".f16.e4m3" in opcode and _compute_capability() < 120:
        pytest.skip("ptxas 13.0 takes FP8 with an FP16 accumulator from compute capability 12.0 on")
    shape, problem = fragments.product(opcode), warp_kernels.sparse_problem(opcode)
    text, _, writes = warp_kernels.product_kernel(opcode, problem.selector)
    got = _run(text, problem.source, np.zeros((warp_kernels.LANES, writes), np.uint8), tmp_path)
    assert matrix.gather(shape.d, got.view(f"u{shape.d.register_bits // 8}").tolist()) == problem.expected


@pytest.mark.gpu
@pytest.mark.parametrize("opcode", warp_kernels.WMMA)
def test_a_gpu_loads_and_stores_fragments_as_the_engine_does(opcode: str, tmp_path: Path) -> None:
    shape = fragments.product(opcode)
    a, b, c = warp_kernels.integers(opcode)
    target = np.zeros((shape.d.rows, shape.d.columns), warp_kernels.NUMPY[shape.d.type])
    source = warp_kernels.wmma_memory(opcode, a, b, c)
    got = _run(warp_kernels.wmma_kernel(opcode), source, target.view(np.uint8), tmp_path)
    assert (got.view(target.dtype) == (a @ b + c).astype(target.dtype)).all()


@pytest.mark.gpu
def test_a_gpu_moves_matrices_as_the_definition_says(tmp_path: Path) -> None:
    random, lanes = np.random.default_rng(2), warp_kernels.LANES
    for count, trans in warp_kernels.COUNTS:
        rows = random.integers(0, 256, (lanes, 16), np.uint8)
        text = warp_kernels.load_kernel(count, trans)
        got = _run(text, rows, np.zeros((lanes, 4 * count), np.uint8), tmp_path).view(np.uint32).tolist()
        assert got == matrix.load_rows([row.tobytes() for row in rows[: 8 * count]], bool(trans)), text
        registers = random.integers(0, 1 << 32, (lanes, count), np.uint32)
        text = warp_kernels.store_kernel(count, trans)
        stored = _run(text, registers, np.zeros((lanes, 16), np.uint8), tmp_path)
        expected = matrix.store_rows(registers.tolist(), bool(trans))
        assert [row.tobytes() for row in stored[: 8 * count]] == expected, text
    halves = random.integers(0, 1 << 32, (lanes, 1), np.uint32)
    got = _run(warp_kernels.transpose_kernel(), halves, np.zeros((lanes, 1), np.uint32), tmp_path)
    assert got.ravel().tolist() == matrix.transpose(halves.ravel().tolist())

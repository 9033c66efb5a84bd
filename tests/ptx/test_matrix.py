"""A warp's matrix instructions: generated code against the definition, and both against NumPy."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest

from grader import ptx
from grader.ptx.definition import fragments, matrix
from grader.ptx.definition.fragments import Fragment
from grader.ptx.definition.semantics import same_value
from tests.ptx.one_instruction import HEADER
from tests.ptx.samples import draw
from tests.ptx.warp_kernels import (
    COUNTS,
    DIFFERS,
    LANES,
    LAYOUTS,
    MMA,
    NUMPY,
    SPARSE,
    STRIDE,
    WMMA,
    declare,
    integers,
    kernel,
    lanes_as_bytes,
    load_kernel,
    move,
    patterns,
    product_kernel,
    sparse_problem,
    store_kernel,
    times,
    transpose_kernel,
    wmma_kernel,
    wmma_memory,
)


@cache
def program(text: str) -> ptx.Program:
    return ptx.Program(ptx.parse(text))


def run(text: str, source: np.ndarray, target: np.ndarray, threads: int = LANES) -> tuple[ptx.Report, ...]:
    arguments = [ptx.Buffer("source", source), ptx.Buffer("target", target, writable=True)]
    execution = program(text).run("k", grid=(1, 1, 1), block=(threads, 1, 1), arguments=arguments, workers=1)
    return execution.findings


# Products -----------------------------------------------------------------------------------------------------------


def multiplied(opcode: str, a: list[int], b: list[int], c: list[int]) -> tuple[list[int], list[int]]:
    """Generated code's and the definition's D of three matrices of bit patterns."""
    shape = fragments.product(opcode)
    parts = list(zip((shape.a, shape.b, shape.c), (a, b, c), strict=True))
    lanes = [matrix.scatter(fragment, values) for fragment, values in parts]
    text, reads, writes = product_kernel(opcode)
    source = np.concatenate([lanes_as_bytes(f, rows) for (f, _), rows in zip(parts, lanes, strict=True)], axis=1)
    assert source.shape[1] == reads
    target = np.zeros((LANES, writes), np.uint8)
    assert run(text, np.ascontiguousarray(source), target) == ()
    registers = target.view(f"u{shape.d.register_bits // 8}").tolist()
    return matrix.gather(shape.d, registers), matrix.gather(shape.d, matrix.multiply(opcode, *lanes))


@pytest.mark.parametrize("opcode", MMA)
def test_a_product_is_numpys(opcode: str) -> None:
    shape = fragments.product(opcode)
    a, b, c = integers(opcode)
    got, expected = multiplied(opcode, patterns(shape.a, a), patterns(shape.b, b), patterns(shape.c, c))
    assert got == expected == patterns(shape.d, times(opcode, a, b) + c)


@pytest.mark.parametrize("opcode", SPARSE)
def test_a_sparse_product_is_numpys(opcode: str) -> None:
    shape, problem = fragments.product(opcode), sparse_problem(opcode)
    text, _, writes = product_kernel(opcode, problem.selector)
    target = np.zeros((LANES, writes), np.uint8)
    assert run(text, problem.source, target) == ()
    assert matrix.gather(shape.d, target.view(f"u{shape.d.register_bits // 8}").tolist()) == problem.expected
    words, selected = [[int(word)] for word in problem.metadata], [[problem.selector]] * LANES
    assert matrix.gather(shape.d, matrix.multiply(opcode, *problem.lanes, words, selected)) == problem.expected


@pytest.mark.parametrize("opcode", WMMA)
def test_a_wmma_product_is_numpys(opcode: str) -> None:
    shape = fragments.product(opcode)
    a, b, c = integers(opcode)
    d = np.zeros((shape.d.rows, shape.d.columns), NUMPY[shape.d.type])
    assert run(wmma_kernel(opcode), wmma_memory(opcode, a, b, c), d) == ()
    assert (d == (a @ b + c).astype(d.dtype)).all()


@pytest.mark.parametrize("opcode", [*MMA, *DIFFERS])
def test_any_product_agrees_with_the_definition(opcode: str) -> None:
    """Any bits: subnormals, infinities, NaN, sums that overflow."""
    shape, random_ = fragments.product(opcode), random.Random(opcode)
    matrices = []
    for fragment in (shape.a, shape.b, shape.c):
        type_ = {"tf32": "f32", "e4m3": "u8", "e5m2": "u8"}.get(fragment.type, fragment.type)
        drawn = [draw(type_, random_) if fragment.bits >= 8 else random_.getrandbits(fragment.bits)
                 for _ in range(fragment.rows * fragment.columns)]  # fmt: skip
        matrices.append(drawn)
    got, expected = multiplied(opcode, *matrices)
    wrong = [(i, hex(g), hex(e)) for i, (g, e) in enumerate(zip(got, expected, strict=True))
             if not same_value(shape.d.type, g, e)]  # fmt: skip
    assert not wrong


# Matrices of 8 by 8 halves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "trans"), COUNTS)
def test_ldmatrix(count: int, trans: str) -> None:
    rows = np.random.default_rng(count).integers(0, 256, (LANES, 16), np.uint8)
    target = np.zeros((LANES, 4 * count), np.uint8)
    assert run(load_kernel(count, trans), rows, target) == ()
    got = target.view(np.uint32).tolist()
    assert got == matrix.load_rows([row.tobytes() for row in rows[: 8 * count]], bool(trans))
    halves = rows.view(np.uint16)[: 8 * count].reshape(count, 8, 8)
    halves = halves.swapaxes(1, 2) if trans else halves
    pairs = np.stack([m.reshape(LANES, 2) for m in halves], axis=1)  # the fragment of mma: row by row, pair by pair
    assert got == pairs.copy().view(np.uint32)[..., 0].tolist()


@pytest.mark.parametrize(("count", "trans"), COUNTS)
def test_stmatrix_undoes_ldmatrix(count: int, trans: str) -> None:
    lanes = np.random.default_rng(count).integers(0, 1 << 32, (LANES, count), np.uint32)
    target = np.zeros((LANES, 16), np.uint8)
    assert run(store_kernel(count, trans), lanes, target) == ()
    rows = [row.tobytes() for row in target[: 8 * count]]
    assert rows == matrix.store_rows(lanes.tolist(), bool(trans))
    assert matrix.load_rows(rows, bool(trans)) == lanes.tolist()


def test_movmatrix_transposes() -> None:
    source = np.arange(64, dtype=np.uint16).reshape(8, 8)
    target = np.zeros((8, 8), np.uint16)
    assert run(transpose_kernel(), source, target) == ()
    assert (target == source.T).all()
    assert target.view(np.uint32).ravel().tolist() == matrix.transpose(source.view(np.uint32).ravel().tolist())


# wmma's loads and stores --------------------------------------------------------------------------------------------


def _wmma_kernel(load: str, store: str, fragment: Fragment, strides: tuple[int, int]) -> str:
    names = [f"%r{i}" for i in range(fragment.registers)]
    vector = "{" + ", ".join(names) + "}"
    return f"""{HEADER}.visible .entry k(.param .u64 source, .param .u64 target)
{{
    .reg .b64 %in, %out; {declare(names, fragment.register_bits)}
    ld.param.u64 %in, [source]; ld.param.u64 %out, [target];
    {load} {vector}, [%in], {strides[0]};
    {store} [%out], {vector}, {strides[1]};
    ret;
}}
"""


@pytest.mark.parametrize("type_", ["f16", "f32", "s32", "f64"])
@pytest.mark.parametrize(("loaded", "stored"), LAYOUTS)
def test_wmma_stores_what_it_loads(type_: str, loaded: str, stored: str) -> None:
    shape = "m8n8k4" if type_ == "f64" else "m32n8k16"
    fragment = fragments.wmma_fragment("c", shape, type_, "row")
    rows, columns = fragment.rows, fragment.columns
    strides = ((columns if loaded == "row" else rows) + 8, (columns if stored == "row" else rows) + 16)
    text = _wmma_kernel(
        f"wmma.load.c.sync.aligned.{loaded}.{shape}.global.{type_}",
        f"wmma.store.d.sync.aligned.{stored}.{shape}.global.{type_}",
        fragment,
        strides,
    )
    values = np.random.default_rng(1).integers(-99, 99, (rows, columns)).astype(NUMPY[type_])
    source = np.zeros((rows, strides[0]) if loaded == "row" else (columns, strides[0]), values.dtype)
    (source if loaded == "row" else source.T)[:rows, :columns] = values
    target = np.zeros((rows, strides[1]) if stored == "row" else (columns, strides[1]), values.dtype)
    assert run(text, source, target) == ()
    shown = target if stored == "row" else target.T
    assert (shown[:rows, :columns] == values).all()
    assert not shown[:, columns:].any()
    assert not shown[rows:].any()


@pytest.mark.parametrize(
    ("which", "shape", "type_"),
    [
        (w, s, t)
        for t, shapes in fragments.WMMA_SHAPES.items()
        if fragments.ELEMENT_BITS[t] >= 8
        for s in shapes
        for w in "ab"
    ],
)
@pytest.mark.parametrize("layout", ["row", "col"])
def test_wmma_loads_factors_where_the_product_looks_for_them(which: str, shape: str, type_: str, layout: str) -> None:
    fragment = fragments.wmma_fragment(which, shape, type_, layout)
    names = [f"%r{i}" for i in range(fragment.registers)]
    bits = fragment.register_bits
    stride = (fragment.columns if layout == "row" else fragment.rows) + 16
    load = f"wmma.load.{which}.sync.aligned.{layout}.{shape}.{type_} {{{', '.join(names)}}}, [%whole], {stride};"
    body = [".reg .b64 %whole;", declare(names, bits), "ld.param.u64 %whole, [source];", load,
            *move("st", names, bits, 0, "%out")]  # fmt: skip
    values = np.arange(fragment.rows * fragment.columns).reshape(fragment.rows, fragment.columns)
    major = values if layout == "row" else values.T
    source = np.zeros((major.shape[0], stride), f"u{fragment.bits // 8}")
    source[:, : major.shape[1]] = major % 256
    target = np.zeros((LANES, len(names)), f"u{bits // 8}")
    assert run(kernel(body, 0, target[0].nbytes), source, target) == ()
    assert matrix.gather(fragment, target.tolist()) == (values % 256).ravel().tolist()


# What is wrong with a use -------------------------------------------------------------------------------------------


def test_a_warp_with_missing_lanes_has_no_product() -> None:
    text, reads, writes = product_kernel("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")
    source, target = np.zeros((LANES, reads), np.uint8), np.zeros((LANES, writes), np.uint8)
    (finding,) = run(text, source, target, threads=24)
    assert finding.kind == "collective-mismatch"
    assert "executes the matrix product without lane 24" in finding.message


def _faulty_load(address: str) -> list[ptx.Report]:
    text = load_kernel(2, "", address)
    return list(run(text, np.zeros((LANES, 16), np.uint8), np.zeros((LANES, 8), np.uint8)))


def test_ldmatrix_checks_the_rows_that_it_reads() -> None:
    misaligned, _ = _faulty_load("add.u32 %address, %address, 8;")  # the other: what lies between the rows
    assert (misaligned.kind, misaligned.count) == ("misaligned-access", 16)
    (unwritten,) = _faulty_load("add.u32 %address, %address, 16;")
    assert (unwritten.kind, unwritten.count) == ("uninitialised-read", 16)
    (outside,) = _faulty_load(f"add.u32 %address, %address, {LANES * STRIDE};")
    assert (outside.kind, outside.count) == ("out-of-bounds", 16)


def test_rows_of_lanes_that_give_none_are_not_looked_at() -> None:
    beyond = [".reg .pred %mine;", f"setp.lt.u32 %mine, %t, 16; @!%mine add.u32 %address, %address, {1 << 20};"]
    assert _faulty_load("\n".join(beyond)) == []


def test_reading_a_row_that_another_lane_wrote_just_now_is_a_race() -> None:
    mirrored = f"mad.lo.s32 %address, %t, {-2 * STRIDE}, %address; add.u32 %address, %address, {31 * STRIDE};"
    text = load_kernel(4, "", mirrored)
    rows, target = np.zeros((LANES, 16), np.uint8), np.zeros((LANES, 16), np.uint8)
    assert run(text, rows, target) == ()
    findings = run(text.replace("bar.sync 0;", ""), rows, target)
    assert {finding.kind for finding in findings} == {"race"}


def test_a_fragment_that_leaves_its_array() -> None:
    opcode = "wmma.mma.sync.aligned.row.col.m16n16k16.f32.bf16.bf16.f32"
    source = wmma_memory(opcode, *integers(opcode))
    (outside,) = run(wmma_kernel(opcode), source, np.zeros((15, 16), np.float32))
    assert (outside.kind, outside.count) == ("out-of-bounds", 4)  # a row of 16 numbers, four at a time
    assert "writes target[240], just past the end (the array has 240 elements)" in outside.message
    (outside,) = run(wmma_kernel(opcode), source[:-64].copy(), np.zeros((16, 16), np.float32))
    assert (outside.kind, outside.count) == ("out-of-bounds", 4)
    assert "reads source" in outside.message


def test_a_product_that_half_of_the_warp_misses() -> None:
    opcode = "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
    text, reads, writes = product_kernel(opcode)
    text = text.replace(opcode, f".reg .pred %low; setp.lt.u32 %low, %t, 16; @%low {opcode}")
    (finding,) = run(text, np.zeros((LANES, reads), np.uint8), np.zeros((LANES, writes), np.uint8))
    assert finding.kind == "collective-mismatch"
    assert "the matrix product" in finding.message


@pytest.mark.parametrize("opcode", ["mma.sync.aligned.m16n8k64.row.col.s32.s4.s4.s32",
                                    "mma.sync.aligned.m8n8k4.row.col.f32.bf16.bf16.f32",
                                    "mma.sp.sync.aligned.m16n8k16.row.col.f32.tf32.tf32.f32"])  # fmt: skip
def test_an_unknown_product_is_refused_by_name(opcode: str) -> None:
    body = [".reg .b32 %r<4>;", f"{opcode} {{%r0}}, {{%r1}}, {{%r2}}, {{%r3}};"]
    with pytest.raises(ptx.Unsupported, match=opcode):
        run(kernel(body, 4, 4), np.zeros((LANES, 4), np.uint8), np.zeros((LANES, 4), np.uint8))

"""The table of opcodes: complete, and right about what modifiers decide."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from grader import ptx
from grader.ptx.definition import semantics
from grader.ptx.definition.collectives import COLLECTIVES
from grader.ptx.definition.effects import EFFECTS
from grader.ptx.lowering.tables import TABLES
from grader.ptx.opcodes.opcode import Opcode, read_opcode
from grader.ptx.opcodes.rows import INSERTED, ROWS
from grader.ptx.opcodes.traits import BarrierKind, CollectiveKind, Flow

HEADER = ".version 9.0\n.target sm_90a\n.address_size 64\n"
CONTROL = {name for name, row in ROWS.items() if row.flow or row.barrier or row.hint}  # by the interpreter itself
DRIVEN = {name for name, row in ROWS.items() if row.ends or row.branches or row.suspends or row.hint}  # by body.py


def test_every_instruction_of_the_definition_has_a_row() -> None:
    computed = {read_opcode(text) for text in semantics.opcodes()}
    assert [op.text for op in computed if not op.traits.computes] == []
    assert {*EFFECTS, *COLLECTIVES} - ROWS.keys() == set()


def test_every_row_has_a_definition() -> None:
    computed = {read_opcode(text).row for text in semantics.opcodes()}
    assert ROWS.keys() - INSERTED.keys() - computed - {*EFFECTS, *COLLECTIVES} - CONTROL == set()


def test_every_row_has_a_lowering_and_every_lowering_a_row() -> None:
    lowered = {*TABLES.values, *TABLES.effects, *DRIVEN}
    assert lowered ^ ROWS.keys() == set()


def test_what_computes_is_lowered_to_a_value() -> None:
    assert {name for name, row in ROWS.items() if row.computes} == TABLES.values.keys()


@pytest.mark.parametrize(
    "text",
    [
        "frobnicate.u32 %r1, %r2;",
        "mbarrier.frobnicate.b64 [%rd1];",
        "cp.async.frobnicate.shared.global [%r1], [%rd1], 16;",
        "wmma.frobnicate.sync.aligned.f32 {%r1, %r2}, [%rd1];",
        "wgmma.frobnicate.sync.aligned;",
        "@%p1 frobnicate;",
    ],
)
def test_an_instruction_without_a_row_is_named_with_its_line(text: str) -> None:
    body = f".reg .pred %p<2>; .reg .b32 %r<3>; .reg .b64 %rd<2>; .loc 1 7 3 {text} ret;"
    body = body.replace("; .loc 1 7 3 ", ";\n.loc 1 7 3\n")
    module = ptx.parse(f'{HEADER}.visible .entry k() {{ {body} }}\n.file 1 "a.cu"\n')
    with pytest.raises(ptx.Unsupported, match=text.split("@%p1 ")[-1].split(" ")[0].rstrip(";")) as caught:
        ptx.Program(module).run("k", grid=(1, 1, 1), block=(1, 1, 1), arguments=[])
    assert (caught.value.file, caught.value.line) == ("a.cu", 7)


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("mad.lo.s32", "mad"),
        ("wmma.store.d.sync.aligned.row.m16n16k16.shared.f32", "wmma.store"),
        ("mbarrier.arrive_drop.release.cta.shared::cta.b64", "mbarrier.arrive_drop"),
        ("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64", "mbarrier.arrive"),
        ("cp.async.bulk.wait_group.read", "cp.async.bulk.wait_group"),
        ("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes", "cp.async.bulk"),
        ("barrier.cta.red.popc.aligned.u32", "barrier.cta.red"),
        ("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32", "cp.reduce.async.bulk"),
        ("fma.rn.oob.relu.f16x2", "fma.rn.oob"),
    ],
)
def test_the_longest_row_that_an_opcode_starts_with_counts(text: str, row: str) -> None:
    assert read_opcode(text).row == row


Question = Callable[[Opcode], object]
QUESTIONS: list[tuple[str, Question, object]] = [
    ("ld.global.u32", lambda op: op.is_strong, False),
    ("ld.global.nc.L1::evict_last.f32", lambda op: op.is_strong, False),
    ("ld.volatile.shared.u32", lambda op: op.is_strong, True),
    ("ld.acquire.gpu.global.u32", lambda op: op.is_strong, True),
    ("st.release.sys.global.u32", lambda op: op.is_strong, True),
    ("st.mmio.relaxed.sys.global.u32", lambda op: op.is_strong, True),
    ("red.global.add.f32", lambda op: op.is_strong, True),
    ("atom.relaxed.cta.global.add.u32", lambda op: op.is_of_block_scope, True),
    ("atom.relaxed.cta.global.add.u32", lambda op: op.reaches_other_blocks, False),
    ("atom.global.add.u32", lambda op: op.reaches_other_blocks, True),
    ("atom.shared.add.u32", lambda op: op.reaches_other_blocks, False),
    ("membar.gl", lambda op: op.is_wide, True),
    ("membar.cta", lambda op: op.is_wide, False),
    ("fence.acq_rel.cluster", lambda op: op.is_wide, True),
    ("ld.acquire.gpu.u32", lambda op: op.may_wait, True),
    ("ld.u32", lambda op: op.may_wait, False),
    ("atom.add.u32", lambda op: op.may_wait, True),
    ("red.add.u32", lambda op: op.may_wait, False),
    ("nanosleep.u32", lambda op: op.may_wait, True),
    ("ld.shared::cluster.v4.f32", lambda op: (op.space, op.count, op.bytes), ("shared", 4, 16)),
    ("ld.global.nc.v2.b64", lambda op: (op.space, op.count, op.bytes), ("global", 2, 16)),
    ("st.u8", lambda op: (op.space, op.count, op.bytes), ("generic", 1, 1)),
    ("ld.pred", lambda op: op.element_bytes, 0),
    ("bar.sync", lambda op: (op.traits.result, op.traits.barrier), (False, BarrierKind.BLOCK)),
    ("bar.red.popc.u32", lambda op: (op.traits.result, op.traits.barrier), (True, BarrierKind.BLOCK)),
    ("barrier.cta.arrive", lambda op: (op.traits.arrives, op.is_aligned), (True, False)),
    ("barrier.sync.aligned", lambda op: op.is_aligned, True),
    ("bar.sync", lambda op: op.is_aligned, True),
    ("bar.warp.sync", lambda op: (op.traits.collective, op.is_aligned), (CollectiveKind.SYNC, False)),
    ("wmma.load.a.sync.aligned.row.m16n16k16.f16", lambda op: (op.traits.reads, op.traits.writes), (True, False)),
    ("wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32", lambda op: op.traits.orders, False),
    ("mbarrier.try_wait.parity.shared.b64", lambda op: (op.traits.reads, op.traits.writes), (True, False)),
    ("mbarrier.init.shared.b64", lambda op: op.traits.writes, True),
    ("add.cc.u32", lambda op: (op.writes_carry, op.traits.reads_carry), (True, False)),
    ("addc.cc.u32", lambda op: (op.writes_carry, op.traits.reads_carry), (True, True)),
    ("brx.idx", lambda op: (op.traits.flow, op.traits.branches), (Flow.SWITCH, True)),
    ("trap", lambda op: op.traits.ends, True),
]


@pytest.mark.parametrize(
    ("text", "question", "answer"), QUESTIONS, ids=[f"{q[0]}-{i}" for i, q in enumerate(QUESTIONS)]
)
def test_what_an_opcode_answers(text: str, question: Question, answer: object) -> None:
    assert question(read_opcode(text)) == answer

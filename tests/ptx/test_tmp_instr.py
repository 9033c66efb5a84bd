"""Generated code against the definition, instruction by instruction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache, cached_property

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grader import ptx
from grader.ptx import semantics
from grader.ptx.definition.instruction import WIDTHS
from tests.ptx.one_instruction import Case, Group, Kernel, kernels, module
from tests.ptx.samples import edges, rows

SAMPLES = 64
THREADS = 64
CASES_PER_KERNEL = 100
Rows = Sequence[tuple[int, ...]]
LOP3_TABLES = (0x96, 0xE8, 0xCA, 0x01)  # a ^ b ^ c, majority, select, nor

# What the definition covers and the engine does not, by opcode.
NOT_LOWERED = re.compile(
    "|".join(
        (
            r"addc|subc|madc|.*\.cc\.",  # carries
            r"fns|lop3\.(or|and)|mad(24)?\.hi\.sat|rcp\.approx\.ftz\.f64",
            r"(add|min|max)(\.relu)?\.[us]16x2",
            r"(?!cvt).*\.b?f16(x2)?(\.|$)",  # arithmetic on halves
            r"cvt.*\.(bf16|bf16x2|f16x2|tf32|e4m3x2|e5m2x2)(\.|$)",
            r"cvt.*\.(relu|satfinite)",
            r"cvt\.r[zmp](\.ftz)?(\.sat)?\.f16\.f(32|64)",
            r"cvt\.r.i(\.sat)?\.f16\.f16", r"cvt.*f16\.f64",
        )
    )
)


def _is_one_of_many_alike(opcode: str) -> bool:
    """Spellings that differ in a type or a modifier which others cover: each costs time to compile."""
    name, *parts = opcode.split(".")
    if name in ("set", "setp") and {"and", "or", "xor"} & set(parts):
        return parts[0] not in ("lt", "eq") or parts[-1] not in ("s32", "b64", "f32")
    if name == "set":
        return parts[-2] == "s32" or parts[-1] not in ("u16", "b32", "s64", "f32", "f64")
    if name == "slct":
        return parts[-2] not in ("b16", "s32", "f64")
    return name == "cvt" and parts[0].endswith("i") and "sat" in parts and parts[-2][0] in "us"


def _cases(opcodes: Iterable[str]) -> list[Case]:
    cases = []
    for opcode in opcodes:
        tables: Sequence[int | None] = LOP3_TABLES if opcode.startswith("lop3") else (None,)
        cases += [Case(opcode, table) for table in tables]
    return cases


LOWERED = [opcode for opcode in semantics.opcodes() if not NOT_LOWERED.match(opcode)]
CASES = _cases(opcode for opcode in LOWERED if not _is_one_of_many_alike(opcode))


class Engine:
    """Runs cases through generated code. Their kernels are compiled when first needed."""

    def __init__(self) -> None:
        self.kernels = kernels(CASES, CASES_PER_KERNEL)
        self.kernel_of = {case: kernel for kernel in self.kernels for case in kernel.cases}
        self.seeded = cache(self._seeded)

    @cached_property
    def program(self) -> ptx.Program:
        return ptx.Program(ptx.parse(module(self.kernels)))

    def run(self, kernel: Kernel, samples: dict[Group, Rows], count: int) -> np.ndarray:
        """The output slots, (count, outputs), for `count` samples of each group; of the others, of zeros."""
        columns = [
            np.array(samples.get(group, [(0,) * len(group.operands)] * count), dtype=np.uint64)
            for group in kernel.groups
        ]
        inputs = np.concatenate(columns, axis=1)
        outputs = np.zeros((count, kernel.outputs), dtype=np.uint64)
        threads = min(count, THREADS)
        execution = self.program.run(
            kernel.name,
            grid=(count // threads, 1, 1),
            block=(threads, 1, 1),
            arguments=[ptx.Buffer("in", inputs), ptx.Buffer("out", outputs, writable=True)],
            workers=1,
        )
        assert execution.findings == ()
        return outputs

    def _seeded(self, kernel: Kernel) -> tuple[dict[Group, Rows], np.ndarray]:
        samples = {g: rows(g.operands, SAMPLES, seed=len(g.cases)) for g in kernel.groups}
        return samples, self.run(kernel, samples, SAMPLES)


def _results(kernel: Kernel, case: Case, outputs: np.ndarray) -> list[tuple[int, ...]]:
    """What one case wrote: per sample, a bit pattern per result."""
    before = kernel.cases[: kernel.cases.index(case)]
    start = sum(len(other.results) for other in before)
    masks = [(1 << WIDTHS[type_]) - 1 for type_ in case.results]
    slots = outputs[:, start : start + len(masks)].tolist()
    return [tuple(slot & mask for slot, mask in zip(row, masks, strict=True)) for row in slots]


def _group(kernel: Kernel, case: Case) -> Group:
    return next(group for group in kernel.groups if case in group.cases)


def _disagreement(case: Case, row: tuple[int, ...], got: tuple[int, ...]) -> str | None:
    """None, or the operands, the engine's result and the definition's."""
    operands = case.arguments(row)
    if semantics.agrees(case.opcode, operands, got if len(got) > 1 else got[0]):
        return None
    expected = semantics.evaluate(case.opcode, operands)
    return f"{case} {_hex(operands)}: got {_hex(got)}, expected {_hex(expected)}"


def _hex(values: int | Sequence[int]) -> str:
    return " ".join(f"{value:#x}" for value in ([values] if isinstance(values, int) else values))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_generated_code_agrees_with_the_definition(case: Case, engine: Engine) -> None:
    kernel = engine.kernel_of[case]
    samples, outputs = engine.seeded(kernel)
    pairs = zip(samples[_group(kernel, case)], _results(kernel, case, outputs), strict=True)
    wrong = [line for row, got in pairs if (line := _disagreement(case, row, got))]
    assert not wrong, "\n".join(wrong[:5])


@given(case=st.sampled_from(CASES), data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_instruction_agrees_on_any_operands(engine: Engine, case: Case, data: st.DataObject) -> None:
    kernel = engine.kernel_of[case]
    group = _group(kernel, case)
    row = data.draw(st.tuples(*map(_operand, group.operands)), label="operands")
    (got,) = _results(kernel, case, engine.run(kernel, {group: [row]}, 1))
    assert _disagreement(case, row, got) is None


def _operand(type_: str) -> st.SearchStrategy[int]:
    return st.sampled_from(edges(type_)) | st.integers(0, (1 << WIDTHS[type_]) - 1)


def test_what_the_engine_does_not_know_is_refused() -> None:
    """Once the engine knows one of these, NOT_LOWERED is to shrink, so that it gets tested."""
    known = [opcode for opcode in semantics.opcodes() if NOT_LOWERED.match(opcode) and _is_accepted(opcode)]
    assert known == []


def _is_accepted(opcode: str) -> bool:
    (case, *_) = _cases([opcode])
    (kernel,) = kernels([case], 1)
    program = ptx.Program(ptx.parse(module([kernel])))
    inputs, outputs = (np.zeros((1, slots), dtype=np.uint64) for slots in (kernel.inputs, kernel.outputs))
    arguments = [ptx.Buffer("in", inputs), ptx.Buffer("out", outputs, writable=True)]
    try:
        program.run(kernel.name, grid=(1, 1, 1), block=(1, 1, 1), arguments=arguments, workers=1)
    except ptx.Unsupported:
        return False
    return True

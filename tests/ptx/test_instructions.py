"""Generated code against the definition, instruction by instruction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, cached_property

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grader import ptx
from grader.ptx.definition import semantics
from grader.ptx.types import BITS
from tests.ptx.one_instruction import (
    HEADER,
    Case,
    Group,
    Kernel,
    Rows,
    cases,
    disagreement,
    is_one_of_many_alike,
    kernels,
    module,
)
from tests.ptx.samples import edges, rows

SAMPLES = 64
THREADS = 64
CASES_PER_KERNEL = 100

CASES = cases(opcode for opcode in semantics.opcodes() if not is_one_of_many_alike(opcode))


class Engine:
    """Runs cases through generated code. Their kernels are compiled when first needed."""

    def __init__(self) -> None:
        self.kernels = kernels(CASES, CASES_PER_KERNEL)
        self.kernel_of = {case: kernel for kernel in self.kernels for case in kernel.cases}
        self.seeded = cache(self._seeded)

    @cached_property
    def program(self) -> ptx.Program:
        return ptx.Program(ptx.parse(module(self.kernels)))

    def run(self, kernel: Kernel, samples: Mapping[Group, Rows], count: int) -> np.ndarray:
        """The (count, outputs) slots that a kernel writes for `count` samples."""
        inputs = kernel.slots(samples, count)
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


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_generated_code_agrees_with_the_definition(case: Case, engine: Engine) -> None:
    kernel = engine.kernel_of[case]
    samples, outputs = engine.seeded(kernel)
    pairs = zip(samples[kernel.group(case)], kernel.results(case, outputs), strict=True)
    wrong = [line for row, got in pairs if (line := disagreement(case, row, got))]
    assert not wrong, "\n".join(wrong[:5])


@given(case=st.sampled_from(CASES), data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_instruction_agrees_on_any_operands(engine: Engine, case: Case, data: st.DataObject) -> None:
    kernel = engine.kernel_of[case]
    group = kernel.group(case)
    row = data.draw(st.tuples(*map(_operand, group.operands)), label="operands")
    (got,) = kernel.results(case, engine.run(kernel, {group: [row]}, 1))
    assert disagreement(case, row, got) is None


def _operand(type_: str) -> st.SearchStrategy[int]:
    return st.sampled_from(edges(type_)) | st.integers(0, (1 << BITS[type_]) - 1)


@pytest.mark.parametrize("opcode", ["add.f16x4", "cvt.rs.f16x2.f32", "min.f8", "frobnicate.b32", "sqrt.rn.f16"])
def test_what_the_engine_does_not_know_is_refused_by_name(opcode: str) -> None:
    text = f"{HEADER}.visible .entry k() {{ .reg .b32 %r<4>; {opcode} %r1, %r2, %r3; ret; }}"
    with pytest.raises(ptx.Unsupported, match=re.escape(opcode)):
        ptx.Program(ptx.parse(text)).run("k", grid=(1, 1, 1), block=(1, 1, 1), arguments=[])

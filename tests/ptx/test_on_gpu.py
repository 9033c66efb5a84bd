"""The definition of the instructions against a GPU, instruction by instruction."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from grader.ptx import semantics
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

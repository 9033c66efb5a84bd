"""Headers of kernels, as ptxas reads them; what it would refuse ends in no Python error."""

from __future__ import annotations

import pytest

from grader.compile import entries
from grader.model.execution import CompiledKernel


def kernel(header: str) -> CompiledKernel:
    (found,) = entries.kernels(f".version 9.0\n.visible .entry k{header}\n{{\n    ret;\n}}\n", "", "starter.cu", {})
    return found


@pytest.mark.parametrize(
    ("parameters", "widths"),
    [
        ("(.param .u64 a, .param .u32 b)", (8, 4)),
        ("(.param .align 8 .b8 a[48])", (48,)),
        ("(.param .v4 a, .param .u32 b)", (0, 4)),
        ("()", ()),
        ("", ()),
    ],
)
def test_widths_of_parameters(parameters: str, widths: tuple[int, ...]) -> None:
    assert kernel(parameters).parameter_bytes == widths


@pytest.mark.parametrize(
    ("directive", "threads"),
    [
        (".maxntid 64", 64),
        (".maxntid 64, 2, 1\n.minnctapersm 1", 128),
        (".reqntid 0x40, 010", 512),
        (".maxntid 08", None),
        (".maxntid many", None),
        (".maxnreg 8", None),
    ],
)
def test_the_most_threads(directive: str, threads: int | None) -> None:
    assert kernel(f"() {directive}").max_threads == threads

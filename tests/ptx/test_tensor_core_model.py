"""Tensor cores against the published model's own code, the package `mmasim` (arXiv 2511.10909), bit for bit.

Skipped without it and torch: `python -m pip install -e '.[torch]' mmasim`. Its first import compiles C++.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks import compare_tensor_cores
from benchmarks.tensor_core_inputs import Matrices
from benchmarks.tensor_core_products import Instruction, Mma, Wgmma, every

nv_ptx = pytest.importorskip("mmasim.nv_ptx")
torch: Any = pytest.importorskip("torch")

VECTORS = 20_000  # of each instruction
TORCH = {"f16": "float16", "bf16": "bfloat16", "tf32": "float32", "f32": "float32", "e4m3": "float8_e4m3fn",
         "e5m2": "float8_e5m2", "f64": "float64"}  # fmt: skip
WIDTHS = (8, 96)  # of wgmma: the sums do not depend on it


def known() -> Iterator[tuple[Instruction, Any]]:
    """Instructions with their model. It has no wmma, and of mma on Hopper no FP8 and no old shapes."""
    for instruction in every():
        shape = instruction.shape
        types = f"{shape.d}.{shape.a}.{shape.b}"
        size = f"m{shape.m}n{shape.n}k{shape.k}"
        if isinstance(instruction, Wgmma) and shape.n in WIDTHS and shape.d != "s32":
            yield instruction, nv_ptx.WGMMA("Hopper", f"{size}.{types}")
        elif type(instruction) is Mma and f"{size}.{types}.{shape.c}" in nv_ptx.sim.isa_mma.hopper_mma_shape_and_type:
            yield instruction, nv_ptx.MMA("Hopper", f"{size}.{types}.{shape.c}")


def tensor(codes: np.ndarray, type_: str) -> Any:
    same = codes.view(f"i{codes.dtype.itemsize}") if codes.dtype.itemsize > 1 else codes
    return torch.from_numpy(np.ascontiguousarray(same)).view(getattr(torch, TORCH[type_]))


@pytest.mark.parametrize(("instruction", "model"), list(known()), ids=lambda x: getattr(x, "opcode", ""))
def test_the_engine_gives_the_bits_of_the_published_model(instruction: Instruction, model: Any) -> None:
    shape = instruction.shape

    def modelled(_: Instruction, matrices: Matrices) -> np.ndarray:
        a, b, c = (tensor(x, t) for x, t in zip(matrices, (shape.a, shape.b, shape.c), strict=True))
        d = model.dpa(*torch.broadcast_tensors(a[:, :, None, :], b[:, None, :, :]), c)
        size = matrices[2].dtype.itemsize
        return np.asarray(d.contiguous().view(getattr(torch, f"int{8 * size}")).numpy().view(f"u{size}"))

    found = compare_tensor_cores.compare(instruction, VECTORS, modelled)
    assert [(one.kind, one.differ) for one in found if one.differ] == []

"""How tensor cores add up, by sums that an H200 gave: each differs in the last bits if a rule is left out."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import compare_tensor_cores
from benchmarks.tensor_core_products import every
from grader.ptx.definition import matrix, tensor_cores
from grader.ptx.definition.formats import FORMATS, decode
from grader.ptx.definition.fragments import ELEMENT_BITS, product

# Instruction, a row of A and a column of B as codes, C, and D.
SUMS = [
    # FP8: two chunks from zero, of the products 0 and 1 of each four and of the others; C is added to nearest.
    ("mma.sync.aligned.m16n8k16.row.col.f32.e4m3.e4m3.f32", "28315730cc90958b9b8158fd06a110a8",
     "091153cacef7e9936426f0c97b786dea", 0x3A345A8F, 0x41D773E9),
    ("mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e4m3.f32",
     "7b7bcbb2ed7a68b66a7868b2f23b68784768c9406f41c5ed3a6f487af26ac8c1",
     "53d3b62c5549aeccb8b92ea14e21c53944453c49afbbc8d5522fa6c9ce38aead", 0xC07694BF, 0x42522EB4),
    ("mma.sync.aligned.m16n8k32.row.col.f16.e4m3.e4m3.f16",
     "392f25b04cd0d0c63e4bbec53f2fb6a453a5beb5c623212d323a3430c03fa833",
     "483828c737d02a43afa9ba243c48c2af2c3949d74c234f4ac8c5c9a1a820a0c8", 0xC89E, 0x50F4),
    # wmma of TF32: two chunks of four.
    ("wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32",
     "be676e213fcf322ebf34cea63ed9c0db3fefdb09c06b720abe9756a03f0a3caa",
     "c018d805411e8691c0720b623e27da97401289d73f768803c11e32ee3e889772", 0x3FC89570, 0x41C57B86),
    ("wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32",
     "fc9022887c524580fcfc6c54fc2afdb57bca24167c6a2ebe7bead2c0fcb438d4",
     "4166722b410fbd8140a7804d41ddfb84c013797b401f14564027513ac0430ef8", 0x7D937D0C, 0xFED1B7CF),
    # No tensor cores: FP32, to nearest, in an order that depends on the type of D.
    ("mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32", "bf88bc0c30163117", "4844c39948bfc35b", 0xC0C45934,
     0xC18DD372),
    ("mma.sync.aligned.m8n8k4.row.col.f16.f16.f16.f16", "b060413e34fc440c", "bd8f434a43dc4bf9", 0xD4B8, 0x9C96),
]  # fmt: skip


def codes(text: str, type_: str) -> np.ndarray:
    size = ELEMENT_BITS[type_] // 8
    return np.frombuffer(bytes.fromhex(text), f">u{size}").astype(f"u{size}")


@pytest.mark.parametrize(("opcode", "a", "b", "c", "d"), SUMS, ids=[str(i) for i in range(len(SUMS))])
def test_a_sum_of_an_h200(opcode: str, a: str, b: str, c: int, d: int) -> None:
    instruction = next(one for one in every() if one.opcode == opcode)
    shape, types = product(opcode), instruction.shape
    row, column = codes(a, types.a), codes(b, types.b)
    values = [
        (decode(FORMATS[types.a], int(x)), decode(FORMATS[types.b], int(y))) for x, y in zip(row, column, strict=True)
    ]
    if shape.parts > 1:
        assert tensor_cores.quad(types.d, (types.c, c), values) == d
    else:
        assert tensor_cores.summed(shape.sums, (types.c, c), values) == d
    left, right, start = (
        np.zeros((1, *size), f"u{ELEMENT_BITS[type_] // 8}")
        for type_, size in (
            (types.a, (types.m, types.k)),
            (types.b, (types.n, types.k)),
            (types.c, (types.m, types.n)),
        )
    )
    left[0, 3], right[0, 5], start[0, 3, 5] = row, column, c
    assert compare_tensor_cores.on_cpu(instruction, (left, right, start))[0, 3, 5] == d


def test_fp16_products_and_their_sum_are_cut_off_not_rounded() -> None:
    """1 + 2^-24 + 2^-24 is 1 + 2^-23; half of 2^-25 is lost, each time."""
    opcode = "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32"
    half, tiny, smaller = 0x3C00, 0x0C00, 0x0800  # 1, 2^-12, 2^-13
    pairs = {"two halves of the last bit": ([(half, half), (tiny, tiny), (tiny, tiny)], 0x3F800001),
             "one half": ([(half, half), (tiny, tiny)], 0x3F800000),
             "many that are cut off": ([(half, half)] + [(smaller, smaller)] * 7, 0x3F800000)}  # fmt: skip
    shape = product(opcode)
    for factors, expected in pairs.values():
        a, b = [0] * (16 * 8), [0] * (8 * 8)
        for k, (x, y) in enumerate(factors):
            a[k], b[k * 8] = x, y
        lanes = [matrix.scatter(f, values) for f, values in ((shape.a, a), (shape.b, b), (shape.c, [0] * 128))]
        assert matrix.gather(shape.d, matrix.multiply(opcode, *lanes))[0] == expected

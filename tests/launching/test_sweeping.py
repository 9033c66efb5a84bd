"""A sweep over every input, as the parent asks for it."""

from __future__ import annotations

import numpy as np

from grader.launching import sweeping
from grader.model.exercise import Array, Case, Kernel, Parameter

N = 1 << 10
ENCODE = Kernel(
    "encode_kernel",
    (
        Parameter("x", "const float*"),
        Parameter("random", "const unsigned int*"),
        Parameter("y", "unsigned char*", argument="codes"),
        Parameter("n", "long long"),
    ),
    (),
    judge="judge_encode",
)
DECODE = Kernel(
    "decode_kernel",
    (Parameter("x", "const unsigned char*", argument="bytes"), Parameter("y", "float*"), Parameter("n", "long long")),
    (),
)
ARRAYS = (
    Array("x", np.empty(N, np.float32)),
    Array("random", np.empty(N, np.uint32)),
    Array("codes", np.empty(N, np.uint8), "out"),
    Array("bytes", np.empty(N, np.uint8)),
    Array("y", np.empty(N, np.float32), "out"),
)
CASE = Case("every-input", False, {a.name: a for a in ARRAYS} | {"n": N}, "", gpu_only=True, sweep=True)


def data(case: Case, name: str) -> np.ndarray:
    array = case.arguments[name]
    assert isinstance(array, Array)
    return array.data


def test_the_first_wrong_input_alone() -> None:
    case = sweeping.alone(CASE, ENCODE, 0x7F800001)
    assert data(case, "x").view(np.uint32).tolist() == [0x7F800001]
    assert data(case, "random").tolist() == [sweeping.random(0x7F800001)]
    assert (data(case, "codes").shape, data(case, "bytes").shape, case.arguments["n"]) == ((1,), (1,), 1)


def test_one_byte_inputs_take_the_patterns_low_byte() -> None:
    assert data(sweeping.alone(CASE, DECODE, 0xC7), "bytes").tolist() == [0xC7]


def test_random_bits_differ_from_pattern_to_pattern() -> None:
    drawn = {sweeping.random(pattern) for pattern in range(4096)}
    assert len(drawn) == 4096
    assert abs(np.mean(sorted(drawn)) / 2**31 - 1) < 0.05

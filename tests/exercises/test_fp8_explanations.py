"""What is said of subtly wrong FP8 outputs: the mistake that was made, and never one that was not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Array, Case
from grader.model.judged import Judged
from grader.reference_kernels.fp8 import encode

EXERCISES = Path(__file__).parents[2] / "exercises"
Outputs = dict[str, np.ndarray]


@cache
def prepared(exercise: str, name: str) -> tuple[Oracle, Case, Outputs]:
    oracle = Oracle(catalog.read(EXERCISES / exercise))
    case = next(case for case in oracle.cases(seed=11) if case.name == name)
    return oracle, case, oracle.expected(case)


def data(case: Case, name: str) -> np.ndarray:
    array = case.arguments[name]
    assert isinstance(array, Array)
    return array.data


def judged(exercise: str, name: str, output: str, change: Callable[[Case, Outputs], None]) -> Judged:
    oracle, case, expected = prepared(exercise, name)
    outputs = {key: value.copy() for key, value in expected.items()}
    change(case, outputs)
    judged = oracle.judge(case, outputs, expected)
    assert judged is not None
    found = next(one for one in judged if one.output == output)
    assert found.wrong.any()
    return found


def _quiet_alone(case: Case, outputs: Outputs) -> None:
    bits = data(case, "x").view(np.uint32)
    signalling = np.isnan(data(case, "x")) & (bits & 0x00400000 == 0)
    outputs["e4m3"][signalling] = (outputs["e4m3"][signalling] & 0x80) | 0x7E


def _positive_alone(case: Case, outputs: Outputs) -> None:
    negative = np.isnan(data(case, "x")) & np.signbit(data(case, "x"))
    outputs["e4m3"][negative] = 0xFE


def _nothing_below_the_smallest(case: Case, outputs: Outputs) -> None:
    below = np.abs(data(case, "x")) < 2.0**-9
    outputs["e4m3"][below] &= 0x80


def _scaled_down(case: Case, outputs: Outputs) -> None:
    x = data(case, "x")
    with np.errstate(all="ignore"):
        again = np.ldexp(np.ldexp(x, -120), 120)
    outputs["e4m3"][:] = encode(np.where(np.isnan(x), x, again))


def _packed_with_too_many_bits(case: Case, outputs: Outputs) -> None:
    """The adder rounds |min(x, 448)|, and four codes are packed into a word as they come."""
    x = data(case, "x")
    with np.errstate(all="ignore"):
        magnitude = np.abs(np.minimum(x, np.float32(448)))
        exponent = np.maximum(magnitude.view(np.uint32) & 0x7F800000, 121 << 23)
        magic = exponent + (20 << 23)
        steps = (magnitude + magic.view(np.float32)).view(np.uint32) - magic
    codes = ((exponent >> 23) - 121 << 3) + steps
    codes = np.where(np.isnan(x), 0x7F, codes).astype(np.uint32) | (x.view(np.uint32) >> 24 & 0x80)
    fours = codes[: len(x) // 4 * 4].reshape(-1, 4)
    words = np.bitwise_or.reduce(fours << np.uint32([0, 8, 16, 24]), axis=1)
    outputs["e4m3"][:] = np.concatenate([words.astype("<u4").view(np.uint8), codes[fours.size :].astype(np.uint8)])


CONVERSIONS = {
    "signalling NaN become the largest finite value": _quiet_alone,
    "negative NaN become the largest negative value": _positive_alone,
    "values below the smallest subnormal become zero": _nothing_below_the_smallest,
    "it rounds twice: scaled down to FP32's subnormals": _scaled_down,
    "only positive numbers saturate: fminf compares x before its sign": _packed_with_too_many_bits,
}


@pytest.mark.parametrize("sentence", CONVERSIONS)
def test_a_conversion_that_is_wrong_for_few_inputs(sentence: str) -> None:
    found = judged("02_fp8_conversion", "boundaries", "e4m3", CONVERSIONS[sentence])
    assert found.cause.startswith(sentence)


@pytest.mark.parametrize("count", [1, 3])
def test_a_few_codes_have_no_cause_where_others_like_them_are_right(count: int) -> None:
    """Some of what rounds to -0 has lost its sign: that is no flush of subnormals, and not every zero either."""

    def change(case: Case, outputs: Outputs) -> None:
        lost = np.flatnonzero(outputs["e5m2"] == 0x80)
        assert lost.size > 3
        outputs["e5m2"][lost[:count]] = 0

    assert judged("02_fp8_conversion", "variable", "e5m2", change).cause == ""


def _some_ulps(case: Case, outputs: Outputs) -> None:
    bits = outputs["fine_grained_scale"].view(np.int32)
    bits += 3


def _infinite(case: Case, outputs: Outputs) -> None:
    outputs["fine_grained_scale"][3:9] = np.inf


def _another_floor(case: Case, outputs: Outputs) -> None:
    scale = outputs["fine_grained_scale"]
    np.maximum(scale, np.float32(1e-5) / np.float32(448), out=scale)


SCALES = {
    "the wrong scales are up to 3 ulp off": ("ragged", _some_ulps),
    "the wrong scales are infinite, and no x is": ("ragged", _infinite),
    "no scale is below 2.23214e-08, that of amax 1e-05": ("zero-blocks", _another_floor),
}


@pytest.mark.parametrize("sentence", SCALES)
def test_scales_that_no_other_amax_explains(sentence: str) -> None:
    name, change = SCALES[sentence]
    found = judged("03_fp8_quantization", name, "fine_grained_scale", change)
    assert found.cause.startswith(sentence)


def _largest_of_all_in(*places: tuple[int, int]) -> Callable[[Case, Outputs], None]:
    def change(case: Case, outputs: Outputs) -> None:
        scale = outputs["fine_grained_scale"]
        scale[tuple(zip(*places, strict=True))] = scale.max()

    return change


@pytest.mark.parametrize("places", [((0, 0),), ((0, 0), (3, 1))])
def test_scales_that_are_too_large_show_no_floor_where_others_are_smaller(
    places: tuple[tuple[int, int], ...],
) -> None:
    found = judged("03_fp8_quantization", "outliers", "fine_grained_scale", _largest_of_all_in(*places))
    assert found.cause == "each wrong scale is too large: elements of another block count in its amax"


def test_one_of_a_few_scales_does_not_say_which_elements_were_left_out() -> None:
    """Whatever the largest of its block is, the others are a part of it: positive ones, negative ones, a half."""
    blocks = np.abs(data(prepared("03_fp8_quantization", "narrow")[1], "B_concat")).reshape(-1, 256)
    for block, magnitudes in enumerate(blocks):
        second = np.sort(magnitudes)[-2] / np.float32(448)

        def change(case: Case, outputs: Outputs, block: int = block, second: np.float32 = second) -> None:
            outputs["block_wise_scale"].flat[block] = second

        found = judged("03_fp8_quantization", "narrow", "block_wise_scale", change)
        assert "elements are left out" in found.cause


@pytest.mark.parametrize("output", ["per_tensor_scale", "per_channel_scale", "fine_grained_scale"])
def test_a_reduction_without_its_last_step_is_told_so(output: str) -> None:
    """Each thread has one element along the block, and neighbours take each other's last."""

    def even_threads(case: Case, outputs: Outputs) -> None:
        a, b = np.abs(data(case, "A_concat")), np.abs(data(case, "B_concat"))
        columns = a.shape[1] // 128 * 128
        amax = {
            "per_tensor_scale": a[:, ::2].max(),
            "per_channel_scale": b[:, ::2].max(axis=1),
            "fine_grained_scale": a[:, :columns:2].reshape(len(a), -1, 64).max(axis=-1),
        }[output]
        outputs[output][...] = np.maximum(amax, np.float32(1e-6)) / np.float32(448)

    found = judged("03_fp8_quantization", "small", output, even_threads)
    if output != "per_tensor_scale" or found.wrong.any():
        assert "every other thread is left out of amax" in found.cause
        assert found.hint == "the-reduction"


def test_a_channel_read_along_the_row_is_told_so() -> None:
    def run(case: Case, outputs: Outputs) -> None:
        b = np.abs(data(case, "B_concat"))
        groups, rows, cols = b.shape
        flat = b.reshape(groups, -1)
        amax = np.array([[flat[g, col : col + rows].max() for col in range(cols)] for g in range(groups)])
        outputs["per_channel_scale"][...] = amax / np.float32(448)

    found = judged("03_fp8_quantization", "small", "per_channel_scale", run)
    assert found.cause.startswith("amax is taken along the row: ")


def test_a_few_bytes_next_to_a_tie_are_no_other_way_to_round() -> None:
    """All of the wrong ones are rounded up, and as FP16 would: but the many others are not."""

    def next_to_ties(case: Case, outputs: Outputs) -> None:
        scale = np.float32(outputs["per_tensor_scale"].item())
        data(case, "A_concat")[0, :2] = np.float32([[200, 232]]) * scale * np.float32(1 - 2.0**-21)
        outputs["per_tensor_q"][0, :2] = 0x75, 0x77

    oracle, case, _ = prepared("03_fp8_quantization", "narrow")
    assert oracle is not None
    kept = data(case, "A_concat").copy()
    try:
        found = judged("03_fp8_quantization", "narrow", "per_tensor_q", next_to_ties)
    finally:
        data(case, "A_concat")[:] = kept
    assert found.wrong.sum() == 2
    assert "next to a tie" in found.cause


def test_bytes_whose_scale_was_never_written_say_so() -> None:
    def forgotten(case: Case, outputs: Outputs) -> None:
        outputs["fine_grained_scale"].view(np.uint32)[-1:] = 0xFFFFFFFF

    found = judged("03_fp8_quantization", "ragged", "fine_grained_q", forgotten)
    assert found.cause == "the scales of these bytes were never written: fix that first"


def quantized(case: Case, outputs: Outputs, kernel: str, source: str) -> tuple[np.ndarray, np.ndarray]:
    """x, and 1 / scale of each element, of a kernel whose blocks run along the last axis alone or the last two."""
    x, inverse = data(case, source), 1 / outputs[f"{kernel}_scale"]
    for axis in range(1, x.ndim):
        inverse = inverse.repeat(128, axis=axis)
    return x, inverse[tuple(slice(n) for n in x.shape)]


@np.errstate(all="ignore")
def _early_product(case: Case, outputs: Outputs) -> None:
    x, inverse = quantized(case, outputs, "fine_grained", "A_concat")
    outputs["fine_grained_q"][:] = encode((x * np.float32(448)) * (inverse / np.float32(448)))


@np.errstate(all="ignore")
def _half_inverse(case: Case, outputs: Outputs) -> None:
    x, inverse = quantized(case, outputs, "fine_grained", "A_concat")
    outputs["fine_grained_q"][:] = encode(x * inverse.astype(np.float16).astype(np.float32))


def _rows_of_zeros(case: Case, outputs: Outputs) -> None:
    outputs["fine_grained_q"][127::128] = 0


def _one_code_less(case: Case, outputs: Outputs) -> None:
    codes = outputs["fine_grained_q"].reshape(-1)
    codes[np.flatnonzero(codes & 0x7F > 1)[::50]] -= 1


BYTES = {
    "x is multiplied by 448 before it is divided by amax": (_early_product, ["huge"]),
    "1 / scale is kept in FP16": (_half_inverse, ["uniform", "outliers", "huge", "tiny", "negative"]),
    "the wrong bytes are all 0": (_rows_of_zeros, ["uniform", "tiny", "outliers"]),
    "every wrong byte is one code too small: divided by more than the stored scale, or x / scale is not as exact": (
        _one_code_less,
        ["uniform", "negative"],
    ),
}


@pytest.mark.parametrize(("sentence", "name"), [(s, name) for s, (_, names) in BYTES.items() for name in names])
def test_bytes_that_many_mistakes_could_have_made(sentence: str, name: str) -> None:
    found = judged("03_fp8_quantization", name, "fine_grained_q", BYTES[sentence][0])
    assert found.cause.startswith(sentence)


@pytest.mark.parametrize("name", ["ragged", "outliers", "tiny", "negative"])
@pytest.mark.parametrize("output", ["fine_grained_q", "block_wise_q"])
def test_a_few_bytes_without_a_pattern_have_no_cause(output: str, name: str) -> None:
    """One that has lost its sign or its subnormal, one that is a code off: the others like it are right."""
    for wanted, instead in ((0x80, 0x00), (0x81, 0x80), (0x03, 0x00), (0xF0, 0xF1), (0x70, 0x6F)):

        def change(case: Case, outputs: Outputs, wanted: int = wanted, instead: int = instead) -> None:
            codes = outputs[output].reshape(-1)
            codes[np.flatnonzero(codes == wanted)[:2]] = instead

        _, _, expected = prepared("03_fp8_quantization", name)
        if (expected[output] == wanted).sum() > 20:
            assert judged("03_fp8_quantization", name, output, change).cause == ""

"""exercises/02_fp8_conversion/oracle.py, through the door that the grader uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from math import inf, nan
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.errors import UsageError
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.grading import hints
from grader.model.exercise import Array, Case, Kernel
from grader.model.judged import Judged
from grader.reference_kernels.fp8 import (
    E4M3,
    E5M2,
    Format,
    decode,
    encode,
    encode_stochastic,
    is_nan,
    midpoints,
    values,
)
from grader.reference_kernels.mistakes.fp8 import encodings
from grader.reference_kernels.mistakes.fp8.decoding import DECODINGS, Decoding
from grader.reference_kernels.mistakes.fp8.encoding import Draws, Encoding

EXERCISES = Path(__file__).parents[2] / "exercises"
EXERCISE = catalog.read(EXERCISES / "02_fp8_conversion")
ORACLE = Oracle(EXERCISE)
OUTPUTS = ("e4m3", "e5m2", "by_chance", "from_e4m3", "from_e5m2")
ENCODED = {"e4m3": E4M3, "e5m2": E5M2, "by_chance": E4M3}


def data(case: Case, name: str) -> np.ndarray:
    array = case.arguments[name]
    assert isinstance(array, Array)
    return array.data


@cache
def cases(seed: int = 7) -> Mapping[str, Case]:
    return {case.name: case for case in ORACLE.cases(seed)}


@cache
def right(name: str) -> Mapping[str, np.ndarray]:
    return ORACLE.expected(cases()[name])


def judged(name: str, **changed: np.ndarray) -> dict[str, Judged]:
    """What the oracle says of the right outputs, these changed."""
    found = ORACLE.judge(cases()[name], {**right(name), **changed}, right(name))
    assert found is not None
    return {one.output: one for one in found}


# The cases


def test_the_required_cases_are_exercise_01_s_matrices_one_behind_the_other() -> None:
    grouped = Oracle(catalog.read(EXERCISES / "01_simple_grouped_gemm"))
    first = {case.name: case for case in grouped.cases(7) if case.required}
    assert tuple(name for name, case in cases().items() if case.required) == EXERCISE.cases == tuple(first)
    for name, case in first.items():
        a, b = data(case, "A_concat").ravel(), data(case, "B_concat").ravel()
        np.testing.assert_array_equal(data(cases()[name], "x"), np.concatenate([a, b]))
        np.testing.assert_array_equal(data(cases()[name], "e4m3_codes"), encode(a, E4M3))
        np.testing.assert_array_equal(data(cases()[name], "e5m2_codes"), encode(a, E5M2))


def test_a_case_holds_every_argument_in_its_shape() -> None:
    wanted = {parameter.key for kernel in EXERCISE.kernels for parameter in kernel.parameters}
    for case in [*cases().values(), *ORACLE.on_gpu(7)]:
        assert set(case.arguments) == wanted
        n, m = case.arguments["n_encode"], case.arguments["n_decode"]
        shapes = dict.fromkeys(("x", "random", "e4m3", "e5m2", "by_chance"), (n,))
        shapes |= dict.fromkeys(("e4m3_codes", "e5m2_codes", "from_e4m3", "from_e5m2"), (m,))
        assert {name: data(case, name).shape for name in shapes} == shapes
        arrays = [value for value in case.arguments.values() if isinstance(value, Array)]
        assert {array.name for array in arrays if array.access != "in"} == set(OUTPUTS)
        assert all(case.arguments[array.name] is array for array in arrays)


@pytest.mark.parametrize("fmt", [E4M3, E5M2], ids=lambda fmt: fmt.name)
def test_boundaries_hold_every_place_where_something_turns(fmt: Format) -> None:
    x = data(cases()["boundaries"], "x")
    bits = set(x.view(np.uint32).tolist())
    finite = values(fmt)[: fmt.largest + 1]
    middle = np.concatenate([midpoints(fmt), finite[-1:] + (finite[-1] - finite[-2]) / 2])
    for places in (finite, middle):
        for near in (places, np.nextafter(places, np.float32(inf)), np.nextafter(places, np.float32(-inf))):
            for signed in (near, -near):
                assert set(signed.view(np.uint32).tolist()) <= bits
    assert set(range(256)) == {b >> 23 & 0xFF for b in bits if b >> 31 == 0}
    assert set(range(256)) == {b >> 23 & 0xFF for b in bits if b >> 31 == 1}
    special = {"signalling NaN": 0x7F800001, "quiet NaN": 0x7FC00000, "Inf": 0x7F800000, "0": 0, "subnormal": 1}
    for one in special.values():
        assert {one, one | 1 << 31} <= bits


def test_every_byte_is_there_in_no_round_number() -> None:
    case = cases()["every-byte"]
    for name in ("e4m3_codes", "e5m2_codes"):
        assert set(data(case, name).tolist()) == set(range(256))
        assert data(case, name).size % 16 not in (0, 4, 8, 12)


def test_draws_lie_at_the_threshold_and_beside_it() -> None:
    """For each x there is a draw that is the last to go up, and one that is the first to stay."""
    case = cases()["chance-edges"]
    x, random = data(case, "x"), data(case, "random").astype(np.int64)
    up = encode_stochastic(x, random.astype(np.uint32))
    one_more = encode_stochastic(x, np.minimum(random + 1, 2**32 - 1).astype(np.uint32))
    one_less = encode_stochastic(x, np.maximum(random - 1, 0).astype(np.uint32))
    turning = np.unique(x[encode_stochastic(x, np.zeros(x.size, np.uint32)) != encode(x * np.float32(0))])
    assert len(set(x[up != one_more].tolist())) > 2000
    assert set(x[up != one_more].tolist()) == set(x[up != one_less].tolist()) <= set(turning.tolist())
    assert {0, 2**32 - 1} <= set(random.tolist())


def test_the_lengths_do_not_fit_any_vector() -> None:
    lengths = {name: cases()[name].arguments["n_encode"] for name in ("one", "three", "prime", "random-bits")}
    assert (lengths["one"], lengths["three"]) == (1, 3)
    prime = lengths["prime"]
    assert isinstance(prime, int)
    assert all(prime % divisor for divisor in range(2, 150))
    assert data(cases()["random-bits"], "x").size % 4


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_left_over_needs_its_own_random_numbers(seed: int) -> None:
    """A tail that takes the first of all, or those of its threads' numbers, is wrong whatever the seed."""
    for case in ORACLE.cases(seed):
        if case.name in ("three", "prime"):
            x, random = data(case, "x"), data(case, "random")
            tail = np.arange(x.size // 4 * 4, x.size)
            own = encode_stochastic(x[tail], random[tail], E4M3)
            for others in [tail * 0] + [tail % 4] * (case.name == "prime"):
                assert (encode_stochastic(x[tail], random[others], E4M3) != own).any()


def test_one_case_can_be_made_again_alone_and_another_seed_gives_other_values() -> None:
    again = {case.name: case for case in ORACLE.cases(7)}
    other = {case.name: case for case in ORACLE.cases(8)}
    assert list(again) == list(other) == list(cases())
    for name, case in cases().items():
        for array in ("x", "random", "e4m3_codes"):
            np.testing.assert_array_equal(data(case, array).view(np.uint8), data(again[name], array).view(np.uint8))
        assert not np.array_equal(data(case, "random"), data(other[name], "random"))


def test_another_set_is_as_long_and_holds_other_values() -> None:
    for name in ("small", "prime"):
        first, second = cases()[name], ORACLE.another(cases()[name], 99)
        assert second.arguments["n_encode"] == first.arguments["n_encode"]
        assert (second.name, second.required) == (name, first.required)
        assert not np.array_equal(data(first, "x"), data(second, "x"))


def test_on_a_gpu_there_is_every_input_and_a_case_to_measure() -> None:
    every, large = ORACLE.on_gpu(7)
    assert (every.name, every.sweep, every.gpu_only, every.arguments["n_encode"]) == (
        "every-input",
        True,
        True,
        1 << 28,
    )
    assert (large.name, large.sweep, large.gpu_only) == ("large", False, True)
    assert EXERCISE.speed_cases == ("large",)
    in_all = sum(value.data.nbytes for value in large.arguments.values() if isinstance(value, Array))
    assert 2e8 < in_all < 4e8  # far more than a cache; four sets of it are uploaded
    more = ORACLE.another(large, 3)
    assert more.gpu_only
    assert not np.array_equal(data(large, "random")[:99], data(more, "random")[:99])


def test_expected_is_the_definition() -> None:
    case = cases()["random-bits"]  # of many chunks, the last one short
    x, random = data(case, "x"), data(case, "random")
    np.testing.assert_array_equal(right("random-bits")["e4m3"], encode(x, E4M3))
    np.testing.assert_array_equal(right("random-bits")["e5m2"], encode(x, E5M2))
    np.testing.assert_array_equal(right("random-bits")["by_chance"], encode_stochastic(x, random))
    np.testing.assert_array_equal(right("random-bits")["from_e5m2"], decode(data(case, "e5m2_codes"), E5M2))


# Right and wrong


@pytest.mark.parametrize("name", list(cases()))
def test_what_is_right_is_acquitted(name: str) -> None:
    found = judged(name)
    assert set(found) == set(OUTPUTS)
    assert not any(one.wrong.any() or one.sentence or one.cause for one in found.values())


def test_any_nan_is_right_for_a_nan() -> None:
    codes = {name: right("boundaries")[name] for name in ENCODED}
    flipped = {name: np.where(is_nan(code, ENCODED[name]), code ^ 0x80, code) for name, code in codes.items()}
    assert not any(one.wrong.any() for one in judged("boundaries", **flipped).values())
    decoded = right("every-byte")["from_e5m2"]
    payload = np.array(0xFFC01234, np.uint32).view(np.float32)
    assert not judged("every-byte", from_e5m2=np.where(np.isnan(decoded), payload, decoded))["from_e5m2"].wrong.any()


def test_a_wrong_code_is_told_with_its_input_and_for_the_picture() -> None:
    codes = right("prime")["e4m3"].copy()
    codes[17] ^= 1
    found = judged("prime", e4m3=codes)["e4m3"]
    x = data(cases()["prime"], "x")[17]
    bits = int(x.view(np.uint32))
    was, is_now = right("prime")["e4m3"][17], codes[17]
    assert found.sentence == (
        f"x[17] = {x!s} (0x{bits:08x}): expected 0x{was:02x} ({values(E4M3)[was]!s}), "
        f"got 0x{is_now:02x} ({values(E4M3)[is_now]!s})"
    )
    assert np.flatnonzero(found.wrong).tolist() == [17]
    assert found.example == {
        "format": "E4M3",
        "input": float(x),
        "input_bits": bits,
        "expected": int(was),
        "got": int(is_now),
    }


def test_by_chance_the_draw_and_the_threshold_are_told_too() -> None:
    codes = right("prime")["by_chance"].copy()
    codes[5] ^= 0x40
    x, random = (data(cases()["prime"], name)[5:6] for name in ("x", "random"))
    sentence = judged("prime", by_chance=codes)["by_chance"].sentence
    turn = int(sentence.split("up if below 0x")[1][:8], 16)
    assert f"random[5] = 0x{int(random[0]):08x}" in sentence
    assert encode_stochastic(x, np.array([turn - 1], np.uint32)) != encode_stochastic(x, np.array([turn], np.uint32))


def test_a_wrong_value_is_told_with_its_code() -> None:
    decoded = right("every-byte")["from_e4m3"].copy()
    decoded[1] = 0
    sentence = "x[1] = 0x01: expected 0.001953125 (0x3b000000), got 0 (0x00000000)"
    assert judged("every-byte", from_e4m3=decoded)["from_e4m3"].sentence == sentence


def test_not_even_the_sign_of_zero_is_overlooked() -> None:
    decoded = right("every-byte")["from_e4m3"].copy()
    decoded[0] = -0.0
    assert judged("every-byte", from_e4m3=decoded)["from_e4m3"].wrong.sum() == 1


# Causes. Encoders with one mistake, written without the mistakes' own code.


def by_search(x: np.ndarray, fmt: Format, side: str) -> np.ndarray:
    """To nearest, a tie to the lower ("left") or to the upper code ("right")."""
    code = np.searchsorted(midpoints(fmt), np.abs(x), side="left" if side == "left" else "right")
    return (np.where(np.isnan(x), fmt.nan, code) | np.where(np.signbit(x), 0x80, 0)).astype(np.uint8)


def without_nan(x: np.ndarray, fmt: Format) -> np.ndarray:
    return np.asarray(encode(np.copysign(np.fmin(np.abs(x), np.float32(fmt.max)), x), fmt))


def like_ml_dtypes(x: np.ndarray, fmt: Format) -> np.ndarray:
    with np.errstate(all="ignore"):
        dtype = {"E4M3": ml_dtypes.float8_e4m3fn, "E5M2": ml_dtypes.float8_e5m2}[fmt.name]
        return np.asarray(x.astype(dtype).view(np.uint8))


def without_subnormals(x: np.ndarray, fmt: Format) -> np.ndarray:
    flushed = np.signbit(x).astype(np.uint8) << 7
    return np.asarray(np.where(np.abs(x) < 2.0 ** (1 - fmt.bias), flushed, encode(x, fmt)))


def without_minus_zero(x: np.ndarray, fmt: Format) -> np.ndarray:
    return np.asarray(np.where(x == 0, np.uint8(0), encode(x, fmt)))


def through_fp16(x: np.ndarray, fmt: Format) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(encode(x.astype(np.float16).astype(np.float32), fmt))


def toward_zero(x: np.ndarray, fmt: Format) -> np.ndarray:
    code = np.searchsorted(values(fmt)[: fmt.largest + 1], np.abs(x), side="right") - 1
    return (np.where(np.isnan(x), fmt.nan, code) | np.where(np.signbit(x), 0x80, 0)).astype(np.uint8)


def doubled(x: np.ndarray, fmt: Format) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(encode(x * np.float32(2), fmt))


Encoder = Callable[[np.ndarray, Format], np.ndarray]


@pytest.mark.parametrize("output", ["e4m3", "e5m2"])
@pytest.mark.parametrize(
    ("encoder", "says", "hint"),
    [
        (lambda x, fmt: by_search(x, fmt, "right"), "ties round away from zero", "rounding"),
        (lambda x, fmt: by_search(x, fmt, "left"), "ties round towards zero", "rounding"),
        (toward_zero, "truncated, not rounded", "rounding"),
        (through_fp16, "rounds twice, to FP16", "rounding"),
        (without_subnormals, "subnormals are flushed to zero", "subnormals"),
        (like_ml_dtypes, "too large become", "saturation"),
        (without_nan, "NaN becomes the largest finite value", "nan"),
        (without_minus_zero, "the sign of zero is lost", "signs"),
        (doubled, "bias is too large by 1", "bias"),
        (lambda x, fmt: encode(x, E5M2 if fmt is E4M3 else E4M3), "codes of the other format", "bias"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else None,
)
def test_the_mistake_is_named(output: str, encoder: Encoder, says: str, hint: str) -> None:
    got = encoder(data(cases()["boundaries"], "x"), ENCODED[output])
    found = judged("boundaries", **{output: got})[output]
    assert found.wrong.any()
    assert says in found.cause
    assert found.hint == hint


def by_bits(x: np.ndarray, fmt: Format, *, mistake: str) -> np.ndarray:
    """Encoded as hints 2 to 4 of problem.md do it, with one mistake."""
    bits = x.view(np.uint32).astype(np.int64)
    sign = (
        bits >> 31 if mistake == "sign at bit 0" else bits & 0x80 if mistake == "sign of bit 7" else bits >> 31 << 7
    )
    bits &= 0x7FFFFFFF
    drop, field = 23 - fmt.mantissa_bits, bits >> 23
    shifted = bits - ((127 - fmt.bias) << 23)
    code = (shifted + (1 << drop - 1) - 1 + (shifted >> drop & 1)) >> drop
    if mistake == "carry masked":
        low = (1 << fmt.mantissa_bits) - 1
        code = shifted >> 23 << fmt.mantissa_bits | code & low
    places = drop + 1 - (field - 127 + fmt.bias)
    shift = np.clip(places, 1, 63 if mistake == "shift by a word" else 31)
    significand = bits & 0x7FFFFF | (0 if mistake == "no leading 1" else 1 << 23)
    kept = np.where(shift < 32, significand >> shift, 0)
    rest, half = significand - (kept << np.minimum(shift, 31)), np.where(shift <= 32, 1 << shift - 1 & 0xFFFFFFFF, 0)
    small = kept + ((rest > half) | (rest == half) & (kept & 1 == 1))
    code = np.where(field - 127 + fmt.bias > 0, code, small)
    largest = {"no limit": 1 << 30, "limit of E4M3": 0x7E}.get(mistake, fmt.largest)
    code = np.minimum(code, largest)
    return np.where(bits > 0x7F800000, fmt.nan, code | sign).astype(np.uint8)


@pytest.mark.parametrize("output", ["e4m3", "e5m2"])
@pytest.mark.parametrize(
    ("mistake", "says", "hint"),
    [
        ("no limit", "nothing saturates: a code of more than eight bits", "saturation"),
        ("limit of E4M3", "the largest code is that of E4M3, 0x7e; in E5M2 it is 0x7b", "saturation"),
        ("carry masked", "a mantissa that rounds up to a full step becomes 0", "carry"),
        ("no leading 1", "subnormals lose the leading 1 of x", "subnormals"),
        ("shift by a word", "1u << 32 does not fit", "subnormals"),
        ("sign of bit 7", "the sign is taken from bit 7 of x", "signs"),
        ("sign at bit 0", "the sign is stored in bit 0", "signs"),
    ],
)
def test_a_mistake_with_the_bits_is_named(output: str, mistake: str, says: str, hint: str) -> None:
    x, fmt = data(cases()["boundaries"], "x"), ENCODED[output]
    found = judged("boundaries", **{output: by_bits(x, fmt, mistake=mistake)})[output]
    if (mistake, output) == ("limit of E4M3", "e4m3"):
        assert not found.wrong.any()
        return
    assert says in found.cause
    assert (found.hint, "; and " in found.cause) == (hint, False)


def test_without_a_mistake_the_bits_are_right() -> None:
    x = data(cases()["boundaries"], "x")
    outputs = {output: by_bits(x, ENCODED[output], mistake="") for output in ("e4m3", "e5m2")}
    assert not any(one.wrong.any() for one in judged("boundaries", **outputs).values())


def test_a_decoder_with_the_other_format_s_ways_is_told_so() -> None:
    codes, expected = data(cases()["every-byte"], "e5m2_codes"), right("every-byte")["from_e5m2"]
    no_inf = np.where(np.isinf(expected), np.float32(nan), expected)
    assert judged("every-byte", from_e5m2=no_inf)["from_e5m2"].cause.startswith("Inf is read as NaN: 0x7c is Inf")
    exponent = codes >> 2 & 0xF
    sign = np.where(codes & 0x80, -1.0, 1.0)
    value = sign * np.ldexp((exponent > 0) + (codes & 3) / 4, np.maximum(exponent, 1).astype(np.int64) - 15)
    masked = np.where(np.isfinite(expected), value, expected).astype(np.float32)
    assert "E5M2 has five" in judged("every-byte", from_e5m2=masked)["from_e5m2"].cause


def test_the_low_bits_of_random_are_not_all() -> None:
    x, random = data(cases()["uniform"], "x"), data(cases()["uniform"], "random")
    bits = x.view(np.uint32) & np.uint32(0x7FFFFFFF)
    added = (bits - np.uint32(120 << 23) + (random & np.uint32(0xFFFFF))) >> 20
    code = np.where(np.abs(x) >= 2.0**-6, added | (x.view(np.uint32) >> 31 << 7), right("uniform")["by_chance"])
    found = judged("uniform", by_chance=code.astype(np.uint8))["by_chance"]
    assert found.cause == "only the low 20 bits of random are used; all 32 count"


def test_a_stochastic_encoder_without_a_limit_is_told_so() -> None:
    x, random = data(cases()["boundaries"], "x"), data(cases()["boundaries"], "random")
    bits = (x.view(np.uint32) & np.uint32(0x7FFFFFFF)).astype(np.int64) - (120 << 23)
    code = (bits >> 20) + (random < (bits & 0xFFFFF) << 12)
    got = np.where(np.abs(x) >= 448, code & 0xFF | (x.view(np.uint32) >> 31 << 7), right("boundaries")["by_chance"])
    found = judged("boundaries", by_chance=got.astype(np.uint8))["by_chance"]
    assert found.cause.startswith("nothing saturates: a code of more than eight bits")


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_known_mistake_is_found_again(output: str) -> None:
    """Under its own name, or that of another one that gives the same there."""
    for case in ("every-byte",) if output.startswith("from") else ("boundaries", "chance-edges"):
        with np.errstate(all="ignore"):
            spoilt = list(known_mistakes(case, output))
        assert len(spoilt) > 20
        for sentence, got in spoilt:
            found = judged(case, **{output: got})[output]
            assert found.cause or not found.wrong.any(), sentence


def known_mistakes(case: str, output: str) -> Iterator[tuple[str, np.ndarray]]:
    expected = right(case)[output]
    if output.startswith("from"):
        fmt = {"from_e4m3": E4M3, "from_e5m2": E5M2}[output]
        decoded = Decoding(data(cases()[case], f"{fmt.name.lower()}_codes"), expected, fmt)
        yield from ((mistake.sentence, mistake.gives(decoded)) for mistake in DECODINGS)
        return
    random = data(cases()[case], "random") if output == "by_chance" else None
    x, fmt = data(cases()[case], "x"), ENCODED[output]
    draws = None if random is None else Draws(random, np.arange(x.size))
    encoded = Encoding(x, expected, fmt, draws)
    for mistake in encodings(fmt, by_chance=draws is not None):
        yield mistake.sentence, mistake.gives(encoded).astype(np.uint8)


def test_two_mistakes_are_both_named() -> None:
    x = data(cases()["boundaries"], "x")
    got = np.where(np.isnan(x), np.uint8(0x7E), by_search(x, E4M3, "right"))
    cause = judged("boundaries", e4m3=got)["e4m3"].cause
    assert "ties round away from zero" in cause
    assert "; and NaN becomes the largest finite value" in cause


def test_a_mistake_that_would_spoil_what_is_right_is_not_named() -> None:
    """Only one tie goes the wrong way; all others are right."""
    x = data(cases()["boundaries"], "x")
    got = right("boundaries")["e4m3"].copy()
    ties = np.flatnonzero(by_search(x, E4M3, "right") != got)
    got[ties[0]] += 1
    assert judged("boundaries", e4m3=got)["e4m3"].cause == ""


def test_noise_has_no_cause() -> None:
    noise = np.random.default_rng(1).integers(0, 127, right("random-bits")["e4m3"].size, dtype=np.uint8)
    found = judged("random-bits", e4m3=noise)["e4m3"]
    assert found.cause == ""
    assert found.sentence


NOTHING = "no element was ever written"
REMAINDER = "4 does not divide n, and the remainder is left out"
STILL = "every byte is still 0xff, as before the kernel: never written, or set to NaN everywhere"


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_was_never_written_is_said_to_be(output: str) -> None:
    """An output arrives with every bit set."""
    for name, missing, says in (
        ("three", 3, NOTHING if output.startswith("from") else STILL),
        (
            "random-bits",
            3,
            f"the last 3 elements were never written: {REMAINDER}",
        ),
        ("prime", 5000, "the last 5000 elements were never written"),
    ):
        got = right(name)[output].copy()
        missing = got.size % 4 if output.startswith("from") and name == "random-bits" else missing
        if missing:
            got.view(np.uint8)[-missing * got.itemsize :] = 0xFF
            assert judged(name, **{output: got})[output].cause == says


def test_what_is_left_over_and_a_mistake_are_both_named() -> None:
    codes = by_search(data(cases()["random-bits"], "x"), E4M3, "left") & 0x7F
    codes[-3:] = 0xFF
    cause = judged("random-bits", e4m3=codes)["e4m3"].cause
    assert cause.startswith("the last 3 elements were never written")
    assert "the sign is lost" in cause


def test_one_output_for_all_is_said_to_be() -> None:
    found = judged("uniform", e4m3=np.zeros_like(right("uniform")["e4m3"]))["e4m3"]
    assert found.cause == "every wrong element is 0x00, whatever x is"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (lambda i: i ^ 3, "reverse order"),
        (lambda i: i ^ 1, "every two neighbours are swapped"),
        (lambda i: i // 4 * 4, "holds the value of its first"),
        (lambda i: np.minimum(i + 1, i[-1]), "one place too early"),
        (lambda i: np.maximum(i - 1, 0), "one place too late"),
    ],
)
@pytest.mark.parametrize("output", OUTPUTS)
def test_right_elements_in_wrong_places_are_said_to_be(
    output: str, place: Callable[[np.ndarray], np.ndarray], says: str
) -> None:
    expected = right("small")[output]
    moved = expected[place(np.arange(expected.size))]
    assert says in judged("small", **{output: moved})[output].cause


# The wrong kernels: each one's finding has to say what is wrong with it.

CAUSES = {
    "bias_of_8": ("e4m3", "bias is too large by 1"),
    "bytes_reversed": ("e4m3", "reverse order"),
    "carry_lost": ("e5m2", "carry out of the mantissa is lost"),
    "chance_added": ("by_chance", "goes up for large random numbers"),
    "chance_at_the_threshold": ("by_chance", "where random equals the threshold"),
    "chance_beyond_448": ("by_chance", "above 448 it still goes up"),
    "chance_by_value": ("by_chance", "negative numbers go up in value"),
    "chance_ignored": ("by_chance", "random is not used"),
    "chance_in_floats": ("by_chance", "a float holds 24"),
    "chance_not_for_subnormals": ("by_chance", "subnormals round to nearest"),
    "chance_of_8_bits": ("by_chance", "only the high 8 bits"),
    "chance_threshold_cut": ("by_chance", "of subnormals only 32 bits"),
    "clamped_at_480": ("e4m3", "too large become NaN"),
    "decoded_without_subnormals": ("from_e4m3", "subnormals are read as normals"),
    "e5m2_inf": ("e5m2", "too large become Inf"),
    "e5m2_inf_as_a_number": ("from_e5m2", "Inf is read as a number"),
    "draw_of_the_first": ("by_chance", "each 4 elements share one random number"),
    "first_bit_only": ("e5m2", "only the first of the truncated bits"),
    "grid_too_small": ("e5m2", "never written"),
    "inf_to_nan": ("e4m3", "Inf becomes NaN"),
    "mantissa_by_roundf": (
        "e4m3",
        "roundf takes ties away from zero, and a mantissa",
    ),
    "mantissa_divided_as_int": ("from_e5m2", "the mantissa is lost: m / 8"),
    "nan_as_480": ("from_e4m3", "NaN is read as a number"),
    "nan_lost": ("e5m2", "NaN becomes the largest finite value"),
    "negatives_become_nan": ("e5m2", "negative numbers become NaN"),
    "negatives_not_saturated": ("e4m3", "only positive numbers saturate"),
    "normals_truncated": ("e4m3", "normal numbers are truncated, not rounded; subnormals are rounded"),
    "overflow_to_nan": ("e4m3", "too large become NaN"),
    "saturated_at_240": ("e4m3", "saturates too early, at 240"),
    "sign_in_the_exponent": ("from_e4m3", "the sign is read as a bit of the exponent"),
    "sign_of_zero_lost": ("e4m3", "the sign of zero is lost"),
    "subnormal_carry_masked": ("e5m2", "a subnormal that rounds up to the smallest normal number becomes zero"),
    "subnormals_cut": ("e4m3", "subnormals are truncated"),
    "subnormals_flushed": ("e4m3", "subnormals are flushed to zero"),
    "tail_dropped": ("e4m3", "4 does not divide n"),
    "through_fp16": ("e5m2", "rounds twice, to FP16"),
    "ties_away": ("e4m3", "ties round away from zero"),
    "truncated": ("e4m3", "truncated, not rounded"),
    "two_s_complement": ("e4m3", "two's complements"),
}


def promised() -> Iterator[tuple[str, str]]:
    """The wrong kernels that give wrong values, and the case that shows it."""
    for file in sorted((EXERCISE.folder / "wrong").glob("*.cu")):
        first = file.read_text(encoding="utf-8").splitlines()[0]
        if first.endswith("wrong-values"):
            yield file.stem, first.split("[")[1].split("]")[0]


@pytest.mark.parametrize(("stem", "case"), list(promised()))
def test_a_wrong_kernel_s_mistake_is_named(stem: str, case: str) -> None:
    output, says = CAUSES[stem]
    kernel = next(k for k in EXERCISE.kernels if output in {parameter.key for parameter in k.parameters})
    found = judged(case, **{output: run(stem, kernel, cases()[case], output)})[output]
    assert says in found.cause
    assert found.hint in hints.sections(EXERCISE)


def run(stem: str, kernel: Kernel, case: Case, output: str) -> np.ndarray:
    """One kernel, on the CPU engine."""
    text = (EXERCISE.folder / "wrong" / f"{stem}.cu").read_text(encoding="utf-8")
    compiled = compile_text(text, PTX_ARCH)
    assert compiled.compilation.ok, compiled.compilation.log
    got = np.full(data(case, output).nbytes, 0xFF, np.uint8).view(data(case, output).dtype)
    arguments: list[ptx.Buffer | int] = []
    for parameter in kernel.parameters:
        value = case.arguments[parameter.key]
        if isinstance(value, int):
            arguments.append(value)
        elif value.access == "in":
            arguments.append(ptx.Buffer(parameter.name, value.data))
        else:
            arguments.append(ptx.Buffer(parameter.name, got, writable=True, initialised=False))
    blocks = min(-(-got.size // 1024), 4096)
    program = ptx.Program(ptx.parse(compiled.ptx))
    program.run(kernel.name, grid=(blocks, 1, 1), block=(256, 1, 1), arguments=arguments)
    return got


# An instructor's own cases


@pytest.mark.parametrize("kind", ["uniform", "normal", "bits"])
def test_a_secret_case_is_made_from_its_spec(kind: str) -> None:
    case = ORACLE.secret({"n": 1003, "values": kind, "scale": 30}, 5, "secret-1")
    assert (case.name, case.secret, case.required, case.arguments["n_encode"]) == ("secret-1", True, False, 1003)
    x = data(case, "x")
    assert x.dtype == np.float32
    assert np.isnan(ORACLE.expected(case)["from_e4m3"]).any()
    if kind != "bits":
        assert 20 < np.abs(x).max() < 200


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "n is missing"),
        ({"n": 3, "m": 1}, "unknown field 'm'"),
        ({"n": 0}, "n is 0"),
        ({"n": True}, "n is True"),
        ({"n": "3"}, "n is '3'"),
        ({"n": 1 << 30}, "from 1 to 8388608"),
        ({"n": 3, "values": "cauchy"}, "values is 'cauchy'"),
        ({"n": 3, "values": ["bits"]}, "values is"),
        ({"n": 3, "scale": 0}, "scale is 0"),
        ({"n": 3, "scale": nan}, "scale is nan"),
        ({"n": 3, "scale": "1"}, "scale is '1'"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_field(spec: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        ORACLE.secret(spec, 1, "secret-2")
    assert "secret-2" in str(caught.value)

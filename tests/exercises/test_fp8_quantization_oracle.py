"""exercises/03_fp8_quantization/oracle.py, through the door that the grader uses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from grader.errors import UsageError
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.grading.hints import sections
from grader.model.exercise import Array, Case
from grader.model.judged import Judged
from grader.reference_kernels.fp8 import E5M2, decode, encode
from grader.reference_kernels.quantization import (
    BLOCK_WISE,
    FINE_GRAINED,
    PER_CHANNEL,
    PER_TENSOR,
    compute_amax,
    quantize,
    spread,
)

EXERCISE = catalog.read(Path(__file__).parents[2] / "exercises" / "03_fp8_quantization")
ORACLE = Oracle(EXERCISE)

REQUIRED = {  # the contract: rows of A, groups, K, N
    "uniform": (512, 4, 256, 256),
    "variable": (832, 8, 512, 512),
    "imbalanced": (1111, 4, 1024, 1024),
    "small": (284, 16, 128, 128),
}
GRANULARITIES = {
    "per_tensor": (PER_TENSOR, "A_concat"),
    "per_channel": (PER_CHANNEL, "B_concat"),
    "fine_grained": (FINE_GRAINED, "A_concat"),
    "block_wise": (BLOCK_WISE, "B_concat"),
}
ALL_KINDS = tuple(GRANULARITIES)
Outputs = dict[str, np.ndarray]


@cache
def cases(seed: int) -> Mapping[str, Case]:
    return {case.name: case for case in ORACLE.cases(seed)}


@cache
def right(name: str) -> Mapping[str, np.ndarray]:
    return ORACLE.expected(cases(7)[name])


def data(case: Case, name: str) -> np.ndarray:
    array = case.arguments[name]
    assert isinstance(array, Array)
    return array.data


def shape(case: Case) -> tuple[int, ...]:
    return len(data(case, "A_concat")), *data(case, "B_concat").shape


def judge(case: Case, outputs: Mapping[str, np.ndarray]) -> dict[str, Judged]:
    judged = ORACLE.judge(case, outputs, right(case.name))
    assert judged is not None
    return {one.output: one for one in judged}


def wrong(judged: Mapping[str, Judged]) -> set[str]:
    return {name for name, one in judged.items() if one.wrong.any()}


# ---- cases


def test_the_required_cases_are_those_of_the_contract() -> None:
    required = {name: case for name, case in cases(7).items() if case.required}
    assert {name: shape(case) for name, case in required.items()} == REQUIRED
    assert tuple(required) == EXERCISE.cases
    for case in required.values():
        for name in ("A_concat", "B_concat"):
            values = data(case, name)
            assert values.dtype == np.float32
            assert -1 <= values.min() < -0.99
            assert 0.99 < values.max() <= 1
            assert values.var() == pytest.approx(1 / 3, rel=0.05)


def test_a_case_holds_what_every_kernel_gets() -> None:
    for case in cases(7).values():
        m, groups, k, n = shape(case)
        for kernel in EXERCISE.kernels:
            given = {p.name: case.arguments[p.key] for p in kernel.parameters}
            numbers = tuple(given[p.name] for p in kernel.launch_parameters)
            a_kernel = len(numbers) == 2
            assert numbers == ((m, k) if a_kernel else (groups, k, n))
            granularity, source = GRANULARITIES[re.sub("(_amax|_quantize)?_kernel", "", kernel.name)]
            x, q, scale = (given[name] for name in ("x", "q", "scale"))
            assert isinstance(x, Array)
            assert isinstance(q, Array)
            assert isinstance(scale, Array)
            assert (x.name, x.access, q.access, scale.access) == (source, "in", "out", "out")
            assert q.data.shape == x.data.shape
            assert q.data.dtype == np.uint8
            assert scale.data.shape == granularity.scale_shape(x.data.shape)
            assert scale.data.dtype == np.float32


def test_expected_is_numpy_s_definition() -> None:
    case = cases(7)["ragged"]
    for name, (granularity, source) in GRANULARITIES.items():
        codes, scales = quantize(data(case, source), granularity)
        np.testing.assert_array_equal(right("ragged")[f"{name}_q"], codes)
        np.testing.assert_array_equal(right("ragged")[f"{name}_scale"], scales)


@pytest.mark.parametrize("seed", range(10))
def test_extra_cases_keep_the_promises_and_stay_cheap(seed: int) -> None:
    extra = [case for case in cases(seed).values() if not case.required]
    sizes = {case.name: shape(case) for case in extra}
    for case in extra:
        m, groups, k, n = shape(case)
        assert k % 16 == n % 16 == 0 < k * n
        assert 1 <= groups <= 64
        assert m >= 1
        assert np.isfinite(data(case, "A_concat")).all()
        assert np.isfinite(data(case, "B_concat")).all()
    a, b = (sum(data(case, name).size for case in extra) for name in ("A_concat", "B_concat"))
    assert a + b < 1111 * 1024 + 4 * 1024 * 1024
    for name in ("ragged", "edges", "outliers", "zero-blocks", "huge", "tiny", "negative"):
        assert sizes[name][2] % 128 in (16, 48, 80, 112)
        assert sizes[name][3] % 128 in (16, 48, 80, 112)
        assert sizes[name][2] > 128
        assert sizes[name][1] > 1
    assert sizes["one-row"][0] == 1
    assert sizes["narrow"][2:] == (16, 16)
    assert sizes["tall"][2] * 64 > 227 << 10  # more than a strip of 16 columns finds room in shared memory
    assert sizes["many-groups"][1] == 64


def test_extra_values_are_what_their_names_say() -> None:
    for name in ("A_concat", "B_concat"):
        values = {case: data(cases(7)[case], name) for case in cases(7)}
        amax = compute_amax(values["zero-blocks"], FINE_GRAINED if name == "A_concat" else PER_CHANNEL)
        assert (amax == 0).any()
        assert (amax > 0.5).any()
        assert not values["all-zero"].any()
        assert np.signbit(values["all-zero"]).any()
        assert np.abs(values["huge"]).max() > 3e38
        tiny = np.abs(values["tiny"])
        assert ((tiny > 0) & (tiny < np.finfo(np.float32).tiny)).any()
        assert (compute_amax(values["tiny"], FINE_GRAINED if name == "A_concat" else BLOCK_WISE) > 1e-6).any()
        assert (values["negative"] < 0).all()
        assert np.abs(values["outliers"]).max() > 100 * np.median(np.abs(values["outliers"]))


def test_the_case_that_speed_is_decided_on_is_for_a_gpu_and_larger_than_its_cache() -> None:
    (large,) = ORACLE.on_gpu(7)
    assert (large.name, large.gpu_only) == ("large", True)
    assert EXERCISE.speed_cases == ("large",)
    for name in ("A_concat", "B_concat"):
        assert data(large, name).nbytes == 64 << 20
    other = ORACLE.another(large, 8)
    assert (other.name, other.gpu_only, shape(other)) == ("large", True, shape(large))
    assert not np.array_equal(data(large, "A_concat"), data(other, "A_concat"))


def test_one_case_can_be_made_again_alone_and_another_has_other_values() -> None:
    again = {case.name: case for case in ORACLE.cases(7)}
    for name, case in cases(7).items():
        np.testing.assert_array_equal(data(case, "B_concat"), data(again[name], "B_concat"))
        other = ORACLE.another(case, 8)
        assert (other.name, other.required, shape(other)) == (name, case.required, shape(case))
    assert not np.array_equal(data(ORACLE.another(case, 8), "A_concat"), data(case, "A_concat"))


def test_a_secret_case_is_made_from_its_spec() -> None:
    case = ORACLE.secret({"M_sizes": [3, 0, 17], "K": 48, "N": 80, "values": "huge"}, 5, "secret-1")
    assert shape(case) == (20, 3, 48, 80)
    assert (case.name, case.secret, case.required) == ("secret-1", True, False)
    assert np.abs(data(case, "A_concat")).max() > 1e38


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"K": None}, "K is missing"),
        ({"L": 3}, "unknown field 'L'"),
        ({"M_sizes": []}, "list of row counts"),
        ({"M_sizes": [1, -2]}, "holds -2"),
        ({"M_sizes": [True]}, "holds True"),
        ({"M_sizes": [0, 0]}, "every group is empty"),
        ({"M_sizes": [1] * 65}, "65 groups; the limit is 64"),
        ({"K": 24}, "K is 24"),
        ({"N": "16"}, "N is '16'"),
        ({"K": 1 << 20, "N": 1 << 10}, "have more than"),
        ({"values": "nan"}, "values is 'nan'; it must be one of uniform,"),
        ({"values": ["huge"]}, "values is"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_field(change: dict[str, object], says: str) -> None:
    spec = {"M_sizes": [3], "K": 16, "N": 16} | change
    with pytest.raises(UsageError, match=says) as caught:
        ORACLE.secret({key: value for key, value in spec.items() if value is not None}, 1, "secret-2")
    assert "secret-2" in str(caught.value)


# ---- what is right


def made(case: Case, kind: str, scales: np.ndarray, codes: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Outputs:
    """The right outputs, one kernel's replaced: these scales, and what `codes` makes of x and each one's scale."""
    granularity, source = GRANULARITIES[kind]
    x = data(case, source)
    scales = scales.astype(np.float32)
    with np.errstate(all="ignore"):
        q = codes(x, spread(scales, granularity, x.shape))
    return dict(right(case.name)) | {f"{kind}_q": q, f"{kind}_scale": scales}


def divided(x: np.ndarray, own: np.ndarray) -> np.ndarray:
    return np.asarray(encode((x / own).astype(np.float32)))


@pytest.mark.parametrize("name", list(cases(7)))
def test_division_and_reciprocals_are_right(name: str) -> None:
    case = cases(7)[name]
    assert wrong(judge(case, right(name))) == set()
    for kind, (granularity, source) in GRANULARITIES.items():
        amax = np.maximum(compute_amax(data(case, source), granularity), np.float32(1e-6))
        scales = amax * (np.float32(1) / np.float32(448))
        outputs = made(case, kind, scales, lambda x, own: np.asarray(encode(x * (np.float32(1) / own))))
        assert wrong(judge(case, outputs)) == set(), kind


def test_outputs_are_judged_each_for_itself() -> None:
    case = cases(7)["ragged"]
    for kind in ALL_KINDS:
        outputs = dict(right("ragged"))
        outputs[f"{kind}_q"] = outputs[f"{kind}_q"].copy()
        outputs[f"{kind}_q"].flat[-1] ^= 0x80
        judged = judge(case, outputs)
        assert set(judged) == set(outputs)
        assert wrong(judged) == {f"{kind}_q"}
        assert np.flatnonzero(judged[f"{kind}_q"].wrong).tolist() == [outputs[f"{kind}_q"].size - 1]


def test_a_scale_two_ulp_off_is_wrong_and_its_bytes_are_judged_under_it() -> None:
    case = cases(7)["ragged"]
    for kind in ALL_KINDS:
        scales = right("ragged")[f"{kind}_scale"]
        for ulps, expected in ((1, set()), (2, {f"{kind}_scale"})):
            off = (scales.view(np.int32) + ulps).view(np.float32)
            assert wrong(judge(case, made(case, kind, off, divided))) == expected


def test_the_first_wrong_scale_and_byte_are_told() -> None:
    """By hand: a row of 144 whose first block has amax 448, in it a byte one code too high."""
    case = ORACLE.secret({"M_sizes": [1], "K": 144, "N": 16}, 5, "by-hand")
    data(case, "A_concat")[...] = 0
    data(case, "A_concat")[0, :3] = [448, 1.1, -3]
    expected = ORACLE.expected(case)
    outputs = {name: array.copy() for name, array in expected.items()}
    outputs["fine_grained_q"][0, 1] = 0x3A
    outputs["fine_grained_scale"][0, 1] = 1
    judged = {one.output: one for one in ORACLE.judge(case, outputs, expected) or ()}
    assert judged["fine_grained_scale"].sentence == (
        "scale[0][1], of x[0][128 to 143]: amax 0.0, below the floor: 1e-06 / 448: expected 2.232143e-09, got 1.0"
    )
    assert judged["fine_grained_q"].sentence == (
        "x[0][1] = 1.1 (0x3f8ccccd), scale 1.0: x / scale = 1.1: expected 0x39 (1.125), got 0x3a (1.25)"
    )
    assert judged["fine_grained_q"].example == {
        "format": "E4M3",
        "input": pytest.approx(1.1),
        "input_bits": 0x3F8CCCCD,
        "expected": 0x39,
        "got": 0x3A,
    }
    assert wrong(judged) == {"fine_grained_q", "fine_grained_scale"}


def test_no_byte_is_right_under_a_scale_that_is_none() -> None:
    case = cases(7)["narrow"]
    for bad in (0.0, -1.0, np.inf, np.nan):
        outputs = dict(right("narrow")) | {"per_tensor_scale": np.array([bad], np.float32)}
        judged = judge(case, outputs)
        assert judged["per_tensor_q"].wrong.all()
        assert "no byte is correct" in judged["per_tensor_q"].sentence
        assert judged["per_tensor_q"].example == {}


@pytest.mark.parametrize("name", ["ragged", "all-zero", "huge", "one-row"])
def test_rubbish_is_wrong_and_no_reason_to_stumble(name: str) -> None:
    """Any bits: signalling NaN, subnormals, infinities among the scales. Warnings are errors here."""
    rng = np.random.default_rng(3)
    case = cases(7)[name]
    for _ in range(4):
        outputs = {
            key: np.frombuffer(rng.bytes(array.nbytes), array.dtype).reshape(array.shape)
            for key, array in right(name).items()
        }
        for one in judge(case, outputs).values():
            assert one.wrong.any()
            assert one.sentence


# ---- which mistake it was


def floored(amax: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(amax, np.float32(1e-6)))


def amax_of(case: Case, kind: str, change: Callable[[np.ndarray], np.ndarray] = np.abs) -> np.ndarray:
    """amax over other values than x."""
    granularity, source = GRANULARITIES[kind]
    return np.asarray(compute_amax(change(data(case, source)).astype(np.float32), granularity))


def scales_of(case: Case, kind: str) -> np.ndarray:
    return right(case.name)[f"{kind}_scale"]


Scales = Callable[[Case, str], np.ndarray]
SCALES: dict[str, tuple[str, tuple[str, ...], Scales, str, str]] = {
    # case, kernels, the mistake, words of the cause, section of problem.md
    "no floor": (
        "zero-blocks",
        ALL_KINDS[1:],
        lambda case, kind: amax_of(case, kind) / np.float32(448),
        "no floor under amax",
        "a-floor-for-the-scale",
    ),
    "late floor": (
        "zero-blocks",
        ALL_KINDS[1:],
        lambda case, kind: np.maximum(amax_of(case, kind) / np.float32(448), np.float32(1e-6)),
        "before the division by 448",
        "a-floor-for-the-scale",
    ),
    "upside down": (
        "uniform",
        ALL_KINDS,
        lambda case, kind: np.float32(448) / floored(amax_of(case, kind)),
        "upside down",
        "the-scale-the-right-way-round",
    ),
    "240": (
        "uniform",
        ALL_KINDS,
        lambda case, kind: floored(amax_of(case, kind)) / np.float32(240),
        "divided by 240",
        "the-scale-the-right-way-round",
    ),
    "amax itself": (
        "uniform",
        ALL_KINDS,
        lambda case, kind: floored(amax_of(case, kind)),
        "the division by 448 is missing",
        "the-scale-the-right-way-round",
    ),
    "no abs": (
        "negative",
        ALL_KINDS,
        lambda case, kind: floored(amax_of(case, kind, lambda x: np.maximum(x, 0))) / np.float32(448),
        "fabsf is missing",
        "amax-is-of-magnitudes",
    ),
    "fp16": (
        "uniform",
        ALL_KINDS,
        lambda case, kind: floored(amax_of(case, kind).astype(np.float16).astype(np.float32)) / np.float32(448),
        "kept in FP16",
        "one-rounding",
    ),
    "over n": (
        "variable",
        ("per_channel",),
        lambda case, _: floored(np.abs(data(case, "B_concat")).max(axis=2)) / np.float32(448),
        "the wrong axis",
        "which-elements-share-a-scale",
    ),
    "last column": (
        "edges",
        ("fine_grained", "block_wise"),
        lambda case, kind: floored(amax_of(case, kind, without_last_column)) / np.float32(448),
        "last column is left out",
        "which-elements-share-a-scale",
    ),
    "last row": (
        "edges",
        ("per_channel",),
        lambda case, kind: (
            floored(amax_of(case, kind, lambda x: x * (np.arange(x.shape[1]) < x.shape[1] - 1)[:, None]))
            / np.float32(448)
        ),
        "last row is left out",
        "which-elements-share-a-scale",
    ),
    "transposed": (
        "variable",
        ("block_wise",),
        lambda case, kind: np.swapaxes(scales_of(case, kind), 1, 2),
        "stored transposed",
        "where-a-scale-is-stored",
    ),
    "next": (
        "variable",
        ("fine_grained", "block_wise", "per_channel"),
        lambda case, kind: np.roll(scales_of(case, kind), -1, axis=-1),
        "the next block along the columns",
        "where-a-scale-is-stored",
    ),
    "group 0": (
        "small",
        ("per_channel", "block_wise"),
        lambda case, kind: scales_of(case, kind)[:1].repeat(16, axis=0),
        "the scales of group 0",
        "group-offsets",
    ),
    "whole array": (
        "variable",
        ALL_KINDS[1:],
        lambda case, kind: np.full_like(scales_of(case, kind), scales_of(case, kind).max()),
        "one amax for the whole array",
        "which-elements-share-a-scale",
    ),
    "ragged": (
        "ragged",
        ("fine_grained", "block_wise"),
        lambda case, kind: np.where(is_last(scales_of(case, kind)), np.float32(1e-6 / 448), scales_of(case, kind)),
        "ragged, has no amax",
        "ragged-last-blocks",
    ),
    "every third element": (
        "outliers",
        ALL_KINDS[1:],
        lambda case, kind: (
            floored(amax_of(case, kind, lambda x: x * (np.arange(x.size).reshape(x.shape) % 3 > 0))) / np.float32(448)
        ),
        "some elements are left out",
        "the-reduction",
    ),
    "never written": (
        "uniform",
        ALL_KINDS,
        lambda case, kind: np.full_like(scales_of(case, kind).view(np.uint32), 0xFFFFFFFF).view(np.float32),
        "never written",
        "elements-never-written",
    ),
}


def without_last_column(x: np.ndarray) -> np.ndarray:
    return np.asarray(x * (np.arange(x.shape[-1]) % 128 != 127))


def without_last_row(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x[:, :-1], np.zeros_like(x[:, :1])], axis=1)


def without_every_third(x: np.ndarray) -> np.ndarray:
    return np.asarray(x * (np.arange(x.size).reshape(x.shape) % 3 > 0))


def is_last(scales: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.arange(scales.shape[-1]) == scales.shape[-1] - 1, scales.shape)


@pytest.mark.parametrize("mistake", list(SCALES))
def test_a_mistake_in_the_scales_is_named(mistake: str) -> None:
    """The bytes are made with the wrong scale, so they are right under it, as far as any are."""
    name, kinds, scales, words, hint = SCALES[mistake]
    case = cases(7)[name]
    for kind in kinds:
        judged = judge(case, made(case, kind, scales(case, kind), divided))
        assert f"{kind}_scale" in wrong(judged), kind
        assert words in judged[f"{kind}_scale"].cause, kind
        assert judged[f"{kind}_scale"].hint == hint


def rounded_half(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float16).astype(np.float32)


def cut(x: np.ndarray) -> np.ndarray:
    """Towards zero: the code whose value is the largest that is no larger."""
    codes = encode(x)
    return np.asarray(codes - (np.abs(decode(codes)) > np.abs(x)).astype(np.uint8))


def flushed(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 2.0**-6, 0, x).astype(np.float32)


Codes = Callable[[np.ndarray, np.ndarray], np.ndarray]
CODES: dict[str, tuple[Codes, str, str]] = {
    "multiplied": (lambda x, own: encode(x * own), "multiplied by the scale", "the-scale-the-right-way-round"),
    "not scaled": (lambda x, _: encode(x), "not scaled at all", "scale-first-then-cast"),
    "cast first": (lambda x, own: encode(decode(encode(x)) / own), "cast to FP8 first", "scale-first-then-cast"),
    "clamped": (lambda x, own: encode(np.clip(x / own, -240, 240)), "clamped to 240", "saturation"),
    "integer": (
        lambda x, own: np.trunc(x / own).astype(np.int64).astype(np.uint8),
        "converted to an integer",
        "scale-first-then-cast",
    ),
    "e5m2": (lambda x, own: encode(x / own, E5M2), "E5M2 codes", "scale-first-then-cast"),
    "twice": (lambda x, own: encode(rounded_half(x / own)), "rounded twice: to FP16", "one-rounding"),
    "cut": (lambda x, own: cut(x / own), "truncated", "one-rounding"),
    "flushed": (lambda x, own: encode(flushed(x / own)), "subnormals", "one-rounding"),
    "no sign": (lambda x, own: encode(np.abs(x / own)), "the sign is lost", "one-rounding"),
    "nan on top": (
        lambda x, own: np.where(np.abs(x / own) >= 447.9999, 0x7F, encode(x / own)).astype(np.uint8),
        "saturate at 448",
        "saturation",
    ),
    "unwritten": (lambda x, _: np.full(x.shape, 0xFF, np.uint8), "never written", "elements-never-written"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("mistake", list(CODES))
def test_a_mistake_in_the_bytes_is_named(mistake: str, kind: str) -> None:
    codes, words, hint = CODES[mistake]
    case = cases(7)["uniform"]
    judged = judge(case, made(case, kind, scales_of(case, kind), codes))
    assert wrong(judged) == {f"{kind}_q"}
    assert words in judged[f"{kind}_q"].cause
    assert judged[f"{kind}_q"].hint == hint


@pytest.mark.parametrize(
    ("name", "kind", "other", "words"),
    [
        ("variable", "block_wise", lambda scales: np.swapaxes(scales, 1, 2), "the index into scale is transposed"),
        ("variable", "fine_grained", lambda scales: np.concatenate([scales[:, 1:], scales[:, -1:]], 1), "next block"),
        ("small", "per_channel", lambda scales: np.broadcast_to(scales[:1], scales.shape), "scales of group 0"),
        ("outliers", "per_channel", lambda scales: np.full_like(scales, scales.flat[0]), "with the first scale"),
        ("outliers", "fine_grained", lambda scales: scales / 2, "divided by less than the stored scale"),
        ("outliers", "block_wise", lambda scales: scales * 3, "divided by more than the stored scale"),
    ],
)
def test_bytes_made_with_another_scale_than_the_stored_one_are_named(
    name: str, kind: str, other: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    case = cases(7)[name]
    granularity, source = GRANULARITIES[kind]
    x = data(case, source)
    used = np.ascontiguousarray(other(scales_of(case, kind)), np.float32)
    outputs = dict(right(name)) | {f"{kind}_q": divided(x, spread(used, granularity, x.shape))}
    judged = judge(case, outputs)
    assert wrong(judged) == {f"{kind}_q"}
    assert words in judged[f"{kind}_q"].cause


def test_right_bytes_under_a_wrong_scale_are_not_called_wrong_conversions() -> None:
    case = cases(7)["uniform"]
    for kind in ALL_KINDS:
        outputs = dict(right("uniform")) | {f"{kind}_scale": np.float32(1) / scales_of(case, kind)}
        judged = judge(case, outputs)
        assert "upside down" in judged[f"{kind}_scale"].cause
        assert "right for the right scale" in judged[f"{kind}_q"].cause


def test_every_hint_is_a_section_of_problem_md() -> None:
    hints = {hint for *_, hint in SCALES.values()} | {hint for *_, hint in CODES.values()}
    assert hints | {"where-a-scale-is-stored", "group-offsets", "the-reduction"} <= sections(EXERCISE)

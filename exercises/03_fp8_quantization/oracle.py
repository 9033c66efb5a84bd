"""Inputs, expected outputs and the judge of 03_fp8_quantization.

Called by the grader (exercises/README.md): required, extra, on_gpu, from_spec, another, expected, judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from grader.model.details import Detail
from grader.model.exercise import Array, Case
from grader.model.judged import Judged
from grader.reference_kernels.fp8 import E4M3, SIGN, decode, encode, midpoints
from grader.reference_kernels.mistakes import untouched
from grader.reference_kernels.mistakes.quantization import EACH, Quantized, explain_codes, explain_scales
from grader.reference_kernels.quantization import (
    AMAX_FLOOR,
    BLOCK_WISE,
    FINE_GRAINED,
    PER_CHANNEL,
    PER_TENSOR,
    WHOLE,
    Granularity,
    quantize,
    spread,
)
from grader.reference_kernels.quantization_rules import admissible, right_scales

REQUIRED: dict[str, tuple[tuple[int, ...], int, int]] = {
    "uniform": ((128,) * 4, 256, 256),
    "variable": ((64, 128, 32, 256, 16, 192, 96, 48), 512, 512),
    "imbalanced": ((1, 10, 100, 1000), 1024, 1024),
    "small": ((8, 12, 16, 24, 32, 8, 16, 12, 20, 28, 16, 8, 24, 32, 16, 12), 128, 128),
}

MAX_GROUPS = 64
MAX_ELEMENTS = 1111 * 1024 + 4 * 1024 * 1024  # A and B of `imbalanced`, the largest case: no other is larger


class Shape(NamedTuple):
    """A_concat is (M, K), B_concat is (groups, K, N)."""

    M: int
    groups: int
    K: int
    N: int


# Decides speed: two inputs of 64 MiB, each larger than the largest L2 cache (60 MB on an H200).
LARGE = Shape(8192, 4, 2048, 2048)


class Output(NamedTuple):
    """A kernel's output: bytes and scales are judged separately."""

    name: str  # of the kernel, without _kernel
    granularity: Granularity
    source: str  # the input it quantizes

    @property
    def q(self) -> str:
        return f"{self.name}_q"

    @property
    def scale(self) -> str:
        return f"{self.name}_scale"


OUTPUTS = (
    Output("per_tensor", PER_TENSOR, "A_concat"),
    Output("per_channel", PER_CHANNEL, "B_concat"),
    Output("fine_grained", FINE_GRAINED, "A_concat"),
    Output("block_wise", BLOCK_WISE, "B_concat"),
)


# ---- cases


def required(seed: int) -> Iterator[Case]:
    """The A_concat and B_concat of exercise 01's shapes, uniform in [-1, 1)."""
    for name, (m_sizes, k, n) in REQUIRED.items():
        yield make_case(name, Shape(sum(m_sizes), len(m_sizes), k, n), "uniform", seed=seed, required=True)


def extra(seed: int) -> Iterator[Case]:
    """Awkward values in awkward shapes, drawn from the seed; together less than `imbalanced`."""
    for name, (kind, draw) in EXTRA.items():
        yield make_case(name, draw(_generator(seed, name, "shape")), kind, seed=seed)


def on_gpu(seed: int) -> Iterator[Case]:
    """The case whose speed is judged."""
    yield make_case("large", LARGE, "uniform", seed=seed, gpu_only=True)


def another(case: Case, seed: int) -> Case:
    """The same shapes with different values."""
    shape = Shape(len(_data(case, "A_concat")), *_data(case, "B_concat").shape)
    kind = EXTRA[case.name][0] if case.name in EXTRA else "uniform"
    return make_case(case.name, shape, kind, seed=seed, required=case.required, gpu_only=case.gpu_only)


def from_spec(spec: Mapping[str, Any], seed: int, name: str) -> Case:
    """A case from an instructor's secret file: {"M_sizes": [3, 0, 17], "K": 48, "N": 80, "values": "outliers"}.

    `values` is optional. Raises ValueError with a sentence that says which field is wrong and what would be right.
    """
    unknown = sorted(set(spec) - {"M_sizes", "K", "N", "values"})
    if unknown:
        raise ValueError(f"secret case {name!r}: unknown field {unknown[0]!r}; known are M_sizes, K, N and values")
    for field in ("M_sizes", "K", "N"):
        if field not in spec:
            raise ValueError(f"secret case {name!r}: {field} is missing")
    m_sizes, k, n, kind = spec["M_sizes"], spec["K"], spec["N"], spec.get("values", "uniform")
    _validate(name, m_sizes, k, n, kind)
    return make_case(name, Shape(sum(m_sizes), len(m_sizes), k, n), kind, seed=seed, secret=True)


def make_case(
    name: str,
    shape: Shape,
    kind: str,
    *,
    seed: int,
    required: bool = False,
    secret: bool = False,
    gpu_only: bool = False,
) -> Case:
    """One problem. Its values depend only on the name, the shape, the kind and the seed."""
    rng = _generator(seed, name, "values")
    m, groups, k, n = shape
    inputs = {"A_concat": VALUES[kind](rng, (m, k)), "B_concat": VALUES[kind](rng, (groups, k, n))}
    arrays = [Array(key, values) for key, values in inputs.items()]
    for output in OUTPUTS:
        of = inputs[output.source].shape
        arrays.append(Array(output.q, np.empty(of, np.uint8), access="out"))
        arrays.append(Array(output.scale, np.empty(output.granularity.scale_shape(of), np.float32), access="out"))
    return Case(
        name=name,
        required=required,
        arguments={array.name: array for array in arrays} | {"M": m, "num_groups": groups, "K": k, "N": n},
        summary=f"A {m}×{k}, B {groups}×{k}×{n}, {kind} values",
        secret=secret,
        gpu_only=gpu_only,
    )


def _generator(seed: int, name: str, purpose: str) -> np.random.Generator:
    """A separate stream per case, so that a single case can be generated again."""
    return np.random.default_rng([seed, *f"{purpose} {name}".encode()])


def _data(case: Case, name: str) -> np.ndarray:
    value = case.arguments[name]
    assert isinstance(value, Array)
    return value.data


# ---- values: FP32 of the requested shape, never NaN or infinite


def _uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """In [-1, 1)."""
    values = rng.random(shape, dtype=np.float32)
    values *= 2
    values -= 1
    return values


def _outliers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Activations: normally distributed, with one in a thousand a thousand times larger."""
    values = rng.standard_normal(shape, dtype=np.float32)
    values[rng.random(shape) < 0.001] *= 1000
    return values


def _zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Whole blocks, rows and columns of zeros of both signs, next to blocks of numbers."""
    values = _uniform(rng, shape)
    values[..., :128, :] = 0
    values[..., 1::3] = -0.0
    values[..., 128:256] *= rng.random((*shape[:-1], 1)) < 0.5
    return values


def _all_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Only zeros, of both signs."""
    return np.where(rng.random(shape) < 0.5, np.float32(0), np.float32(-0.0))


def _huge(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Up to the largest FP32 number, so that sums of two overflow."""
    return _uniform(rng, shape) * np.float32(3.4e38)


def _tiny(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """From FP32 subnormals to above the amax floor; each row and column has its own magnitude."""
    down, across = (rng.uniform(lowest, 1, n) for lowest, n in zip((-30, -8), shape[-2:], strict=True))
    powers = np.clip(down[:, None] + across[None, :] - 6, -44, None)
    return (_uniform(rng, shape) * 10.0**powers).astype(np.float32)


def _negative(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """No positive numbers."""
    return np.asarray(-np.abs(_uniform(rng, shape)) - np.float32(1e-3))


def _edges(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The amax of each 1×128 and 128×128 block is in its first or last row and column, and all are different."""
    values = _uniform(rng, shape) / 4
    rows, columns = (np.arange(n) for n in shape[-2:])
    first_or_last = [(i % 128 == 0) | (i % 128 == 127) | (i == i[-1]) for i in (rows, columns)]
    values[..., first_or_last[1]] *= 4
    values[..., first_or_last[0], :] *= 4
    return values * np.float32(4.0) ** (columns // 128 % 3 + rows[:, None] // 128 % 2).astype(np.float32)


VALUES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "uniform": _uniform,
    "outliers": _outliers,
    "zeros": _zeros,
    "all-zero": _all_zero,
    "huge": _huge,
    "tiny": _tiny,
    "negative": _negative,
    "edges": _edges,
}


# ---- extra cases


def _ragged(rng: np.random.Generator, low: int, high: int) -> int:
    """A multiple of 16 between 128·low and 128·high but not of 32: the last block is ragged for every tile size."""
    return 128 * int(rng.integers(low, high)) + 16 * (2 * int(rng.integers(4)) + 1)


def _some_ragged(rng: np.random.Generator) -> Shape:
    return Shape(int(rng.integers(130, 200)), int(rng.integers(2, 4)), _ragged(rng, 1, 3), _ragged(rng, 1, 3))


def _one_row(rng: np.random.Generator) -> Shape:
    return Shape(1, 1, _ragged(rng, 1, 4), _ragged(rng, 1, 2))


def _narrow(rng: np.random.Generator) -> Shape:
    """The smallest K and N that the exercise allows."""
    return Shape(int(rng.integers(2, 40)), int(rng.integers(2, 5)), 16, 16)


def _tall(rng: np.random.Generator) -> Shape:
    """More rows in B than a strip in shared memory can have: 227 KB hold 3632 rows of 16 FP32 columns."""
    return Shape(3, 1, 16 * int(rng.integers(240, 280)), 48)


def _wide(rng: np.random.Generator) -> Shape:
    return Shape(int(rng.integers(2, 9)), 2, 48, _ragged(rng, 9, 14))


def _many_groups(rng: np.random.Generator) -> Shape:
    return Shape(int(rng.integers(64, 100)), MAX_GROUPS, 16 * int(rng.integers(1, 4)), 16 * int(rng.integers(1, 4)))


EXTRA: dict[str, tuple[str, Callable[[np.random.Generator], Shape]]] = {
    "ragged": ("uniform", _some_ragged),
    "edges": ("edges", _some_ragged),
    "outliers": ("outliers", _some_ragged),
    "zero-blocks": ("zeros", _some_ragged),
    "all-zero": ("all-zero", _narrow),
    "huge": ("huge", _some_ragged),
    "tiny": ("tiny", _some_ragged),
    "negative": ("negative", _some_ragged),
    "one-row": ("outliers", _one_row),
    "narrow": ("uniform", _narrow),
    "tall": ("uniform", _tall),
    "wide": ("outliers", _wide),
    "many-groups": ("uniform", _many_groups),
}


def _validate(name: str, m_sizes: Any, k: Any, n: Any, kind: Any) -> None:
    where = f"secret case {name!r}"
    if not isinstance(m_sizes, (list, tuple)) or not m_sizes:
        raise ValueError(f"{where}: M_sizes must be a list of row counts, such as [3, 0, 17]")
    for m in m_sizes:
        if not _is_int(m) or m < 0:
            raise ValueError(f"{where}: M_sizes holds {m!r}; a row count is a whole number of at least 0")
    if len(m_sizes) > MAX_GROUPS:
        raise ValueError(f"{where}: {len(m_sizes)} groups; the limit is {MAX_GROUPS}")
    if sum(m_sizes) < 1:
        raise ValueError(f"{where}: every group is empty; at least one row is needed")
    for field, value in (("K", k), ("N", n)):
        if not _is_int(value) or value < 16 or value % 16:
            raise ValueError(f"{where}: {field} is {value!r}; it must be a positive multiple of 16")
    if (sum(m_sizes) + len(m_sizes) * n) * k > MAX_ELEMENTS:
        raise ValueError(f"{where}: A and B have more than {MAX_ELEMENTS} values, as many as in imbalanced")
    if not isinstance(kind, str) or kind not in VALUES:
        raise ValueError(f"{where}: values is {kind!r}; it must be one of {', '.join(VALUES)}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# ---- expected outputs, and the judge


def expected(case: Case) -> dict[str, np.ndarray]:
    """Each kernel's bytes and scales, by the NumPy definition."""
    found = {}
    for output in OUTPUTS:
        found[output.q], found[output.scale] = quantize(_data(case, output.source), output.granularity)
    return found


def judge(case: Case, outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> Iterator[Judged]:
    """For each kernel the scales, then the bytes: a wrong scale is the cause of its wrong bytes."""
    for output in OUTPUTS:
        right = Quantized(_data(case, output.source), output.granularity, expected[output.q], expected[output.scale])
        scales = outputs[output.scale].reshape(right.scales.shape)
        yield _judge_scales(output, right, scales)
        yield _judge_codes(output, right, outputs[output.q].reshape(right.x.shape), scales)


@np.errstate(all="ignore")  # a submission's scales can be anything
def _judge_scales(output: Output, right: Quantized, scales: np.ndarray) -> Judged:
    wrong = ~right_scales(scales, right.x, right.granularity)
    if not wrong.any():
        return Judged(output.scale, wrong)
    cause = explain_scales(right, scales, wrong)
    return Judged(
        output.scale,
        wrong,
        **_scale_words(right, scales, int(np.argmax(wrong))),
        cause=cause.sentence if cause else "",
        mistake=cause.name if cause else "",
        hint=cause.hint if cause else "",
    )


@np.errstate(all="ignore")
def _judge_codes(output: Output, right: Quantized, codes: np.ndarray, scales: np.ndarray) -> Judged:
    wrong = ~_right_codes(right, codes, scales)
    if not wrong.any():
        return Judged(output.q, wrong)
    first = int(np.argmax(wrong))
    cause = explain_codes(right, codes, scales, wrong)
    written = cause is None or cause.name != untouched.NAME
    words, example = _code_words(right, codes, scales, first, written=written)
    return Judged(
        output.q,
        wrong,
        **words,
        cause=cause.sentence if cause else "",
        mistake=cause.name if cause else "",
        hint=cause.hint if cause else "",
        example=example,
        detail=Detail.CONVERSION if example else "",
    )


def _right_codes(right: Quantized, codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Equals quantization_rules.admissible, but uses the exact rule only where a quick test cannot decide."""
    certain = codes == right.codes if np.array_equal(scales, right.scales) else _surely_right(right, codes, scales)
    open_ = np.flatnonzero(~certain)
    if open_.size:
        own = scales.ravel()[right.blocks_of(open_)]
        certain.ravel()[open_] = admissible(codes.ravel()[open_], right.x.ravel()[open_], own, EACH)
    return certain


def _surely_right(right: Quantized, codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Where the FP32 quotient, within half an ulp of the true one, is between the midpoints next to the code's value.

    False everywhere if the scale is not a positive, finite number.
    """
    middle = midpoints(E4M3)
    low = np.full(256, np.nan, np.float32)
    high = np.full(256, np.nan, np.float32)
    low[: E4M3.largest + 1] = [0, *middle]
    high[: E4M3.largest + 1] = [*middle, np.inf]
    low[SIGN : SIGN + E4M3.largest + 1] = -high[: E4M3.largest + 1]
    high[SIGN : SIGN + E4M3.largest + 1] = -low[: E4M3.largest + 1]
    low[0], high[SIGN] = -1e-45, 1e-45  # both zeros count as zero
    usable = np.where((scales > 0) & (scales < np.inf), scales, np.nan).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        quotient = right.x / spread(usable, right.granularity, right.x.shape)
    return np.asarray((low[codes] < quotient) & (quotient < high[codes]))


# ---- the first wrong element in words


def _words(first: str, want: str, got: str) -> dict[str, str]:
    found = f"got {got}" if got else "nothing was written"
    return {"sentence": f"{first}: expected {want}, {found}", "first": first, "expected": want, "got": got}


def _scale_words(right: Quantized, scales: np.ndarray, first: int) -> dict[str, str]:
    """ "scale[3][1], of x[3][128 to 255]: amax 0.9731 / 448: expected 0.002172, got 0.97"."""
    amax, expected, got = (array.ravel()[first] for array in (right.amax, right.scales, scales))
    made = f"amax {amax!s} / 448" if amax >= AMAX_FLOOR else f"amax {amax!s}, below the floor: 1e-06 / 448"
    index = np.unravel_index(first, scales.shape)
    place = f"scale{_subscript(index)}, of {_extent(right, first)}: {made}"
    return _words(place, f"{expected!s}", "" if untouched.untouched(scales).ravel()[first] else f"{got!s}")


def _code_words(
    right: Quantized, codes: np.ndarray, scales: np.ndarray, first: int, *, written: bool
) -> tuple[dict[str, str], dict[str, Any]]:
    """The sentence, and the example for the report to draw."""
    x, got = right.x.ravel()[first], int(codes.ravel()[first])
    own = scales.ravel()[right.blocks_of(np.array([first]))[0]]
    index = _subscript(np.unravel_index(first, codes.shape))
    begin = f"x{index} = {x!s} ({_bits(x):#010x})"
    if not (own > 0 and np.isfinite(own)):
        return {"sentence": f"{begin}, and its scale is {own!s}: with such a scale no byte is correct"}, {}
    with np.errstate(over="ignore"):
        quotient = np.float32(x / own)
    expected = int(encode(np.array([quotient]))[0])
    place = f"{begin}, scale {own!s}: x / scale = {quotient!s}"
    example = {
        "format": "E4M3",
        "input": float(quotient),
        "input_bits": _bits(quotient),
        "expected": expected,
        "got": got,
    }
    return _words(place, _code(expected), _code(got) if written else ""), example


def _code(code: int) -> str:
    return f"{code:#04x} ({float(decode(np.array([code], np.uint8))[0]):g})"


def _bits(value: np.float32) -> int:
    return int(np.asarray(value, np.float32).view(np.uint32))


def _subscript(index: Sequence[Any]) -> str:
    return "".join(f"[{int(i)}]" for i in index)


def _extent(right: Quantized, block: int) -> str:
    """The elements of a block: "x[3][128 to 255]"; a whole axis is "[all]"."""
    if set(right.granularity.block) == {WHOLE}:
        return "all of x"
    texts = []
    for part, extent in zip(right.elements_of(block), right.granularity.block, strict=True):
        one = part.stop - part.start == 1
        texts.append("all" if extent == WHOLE else f"{part.start}" if one else f"{part.start} to {part.stop - 1}")
    return "x" + "".join(f"[{text}]" for text in texts)

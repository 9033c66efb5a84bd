"""What common mistakes in quantizing give: scales, and bytes under given scales; for saying which one it was.

Only a few thousand elements of an output are computed, and only of one that is known to be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reference_kernels.fp8 import E4M3, E5M2, SIGN, decode, encode, midpoints, values
from reference_kernels.quantization import AMAX_FLOOR, WHOLE, Granularity, compute_amax, quantize, spread

FEW = 8  # wrong bytes, or scales in all, that more than one mistake may fit by chance
FEW_ULPS = 16  # a scale that is wrong by so little has the right amax, and 448 a little wrong
SCALE_ULPS = 2  # a mistake's own arithmetic may round another way than ours
PARTS = (124, 96, 64, 32, 16, 4, 1)  # what halves, warps, float4s and a missing lane leave of 128
OTHER_LARGEST = {240: "E4M3 with Inf", 57344: "E5M2", 127: "int8", 256: "the top binade", 255: "uint8"}

BLOCKS_SAMPLED = 12  # of wrong scales whose blocks are searched for them
SAMPLE = 4096  # so many wrong bytes have to agree with a mistake
DISAGREEING = 1e-3  # of the right bytes: a mistake's own arithmetic may round a quotient another way
NEAR_A_TIE = 2.0**-16  # of the quotient: what is wrong only there is wrong by a few ulp

# Sections of problem.md.
FLOOR, ABSOLUTE, SHARING, RAGGED, LAYOUT, DIVISION, CAST, SATURATION, ROUNDING, REDUCTION, UNWRITTEN, GROUPS = (
    "a-floor-for-the-scale",
    "amax-is-of-magnitudes",
    "which-elements-share-a-scale",
    "ragged-last-blocks",
    "where-a-scale-is-stored",
    "the-scale-the-right-way-round",
    "scale-first-then-cast",
    "saturation",
    "one-rounding",
    "the-reduction",
    "elements-never-written",
    "group-offsets",
)


@dataclass(frozen=True)
class Cause:
    sentence: str  # for the student, without a full stop
    topic: str  # anchor of a section in problem.md


@dataclass(frozen=True)
class Quantized:
    """x, and what the definition makes of it."""

    x: np.ndarray
    granularity: Granularity
    codes: np.ndarray
    scales: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, granularity: Granularity) -> Quantized:
        return cls(x, granularity, *quantize(x, granularity))

    @cached_property
    def amax(self) -> np.ndarray:
        return np.asarray(compute_amax(self.x, self.granularity))

    @property
    def grid(self) -> tuple[int, ...]:
        return self.granularity.grid(self.x.shape)

    def blocks_of(self, elements: np.ndarray) -> np.ndarray:
        """Flat indices of the scales that elements of x, flat indices too, belong to."""
        where = np.unravel_index(elements, self.x.shape)
        blocks = [w // b if b else np.zeros_like(w) for w, b in zip(where, self.granularity.block, strict=True)]
        return np.ravel_multi_index(blocks, self.grid)

    def elements_of(self, block: int) -> tuple[slice, ...]:
        """Where in x the block of this flat index lies."""
        at = np.unravel_index(block, self.grid)
        return tuple(
            slice(i * (b or n), min((i + 1) * (b or n), n))
            for i, b, n in zip(at, self.granularity.block, self.x.shape, strict=True)
        )


# ---- scales


def explain_scales(right: Quantized, got: np.ndarray, wrong: np.ndarray) -> Cause | None:
    """Which mistake gives these scales, the right ones among them; None where none that is known does."""
    if never_written(got[wrong]):
        return Cause("these scales were never written", UNWRITTEN)
    if (got[wrong] == 1).all():
        return Cause("the wrong scales are all 1, whatever x holds", DIVISION)
    few_ulps = _explain_few_ulps(right.scales[wrong], got[wrong])
    if few_ulps is not None:
        return few_ulps
    for cause, scales in scale_mistakes(right):
        if _same_scales(got, scales):
            return cause
    return _explain_floor(right.scales[wrong], got, wrong) or _explain_by_parts(right, got, wrong)


def never_written(wrong: np.ndarray) -> bool:
    """Whether all of these hold the pattern of unwritten memory: bytes 0xFF."""
    return bool((np.ascontiguousarray(wrong).view(np.uint8) == 0xFF).all())


def scale_mistakes(right: Quantized) -> Iterator[tuple[Cause, np.ndarray]]:
    """The likeliest first."""
    with np.errstate(all="ignore"):
        yield from _wrong_formulas(right)
        yield from _wrong_amax(right)
        if right.scales.size >= FEW:
            yield from _wrong_places(right)
            yield from _wrong_blocks(right)


def _scale(amax: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(amax, AMAX_FLOOR) / np.float32(E4M3.max))


def _wrong_formulas(right: Quantized) -> Iterator[tuple[Cause, np.ndarray]]:
    largest, amax, floored = np.float32(E4M3.max), right.amax, np.maximum(right.amax, AMAX_FLOOR)
    yield Cause("no floor under amax: scale is amax / 448 even where amax is below 1e-6", FLOOR), amax / largest
    late = np.maximum(amax / largest, AMAX_FLOOR)
    sentence = "the floor of 1e-6 belongs under amax, before the division by 448; here it is under the scale"
    yield Cause(sentence, FLOOR), late
    yield Cause("1e-6 is added to amax; it is a floor: fmaxf(amax, 1e-6f)", FLOOR), (amax + AMAX_FLOOR) / largest
    upside_down = "the scale is upside down: 448 / amax in place of amax / 448"
    yield Cause(upside_down, DIVISION), largest / floored
    yield Cause(upside_down, DIVISION), largest / amax
    yield Cause("the scale is amax itself: the division by 448 is missing", DIVISION), floored
    yield Cause("the scale is amax itself: the division by 448 is missing", DIVISION), amax
    for other, of in OTHER_LARGEST.items():
        sentence = f"amax is divided by {other} ({of}); the largest E4M3 value is 448"
        yield Cause(sentence, DIVISION), floored / np.float32(other)


def _wrong_amax(right: Quantized) -> Iterator[tuple[Cause, np.ndarray]]:
    x, granularity = right.x, right.granularity
    positive = compute_amax(np.maximum(x, 0), granularity)
    few = right.scales.size < FEW
    or_else = ", or some elements are left out" if few else ""
    yield Cause(f"amax is the largest x, not the largest |x|: fabsf is missing{or_else}", ABSOLUTE), _scale(positive)
    negative = compute_amax(np.signbit(x).astype(np.float32), granularity) > 0
    sentence = "the scale is that of amax 0: amax is lost on its way, or bits are compared with their sign (fabsf)"
    yield Cause(sentence, ABSOLUTE), np.where(negative, AMAX_FLOOR / np.float32(448), right.scales)
    if not few:
        most_negative = compute_amax(np.maximum(-x, 0), granularity)
        yield Cause("amax sees the negative elements only", ABSOLUTE), _scale(most_negative)
    halves = "amax is kept in {}: it is an FP32 number"
    yield Cause(halves.format("FP16"), ROUNDING), _scale(_through_half(right.amax))
    if not few:
        everything = np.full_like(right.amax, right.amax.max())
        yield Cause("one amax for the whole array, not one for each block", SHARING), _scale(everything)
    yield Cause(halves.format("BF16"), ROUNDING), _scale(_through_bfloat(right.amax))


def _wrong_places(right: Quantized) -> Iterator[tuple[Cause, np.ndarray]]:
    """Right scales, but where others belong."""
    scales = right.scales
    if scales.ndim == 1:
        return
    if right.x.ndim == 3:
        yield Cause("every group has the scales of group 0", GROUPS), np.broadcast_to(scales[:1], scales.shape)
    for axes in ((-1, -2), (0, -1)):
        yield Cause("the scales are stored transposed", LAYOUT), np.swapaxes(scales, *axes).reshape(scales.shape)
    words = [word for word, b in zip(axis_names(right.x), right.granularity.block, strict=True) if b != WHOLE]
    for axis, word in enumerate(words):
        for step, of in ((-1, "next"), (1, "previous")):
            moved = np.roll(scales, step, axis)
            moved[_at(axis, -1 if step < 0 else 0, scales.ndim)] = np.nan  # what stands there nobody can say
            if np.isfinite(moved).any():
                yield Cause(f"each scale is that of the {of} block along the {word}s", LAYOUT), moved


def _wrong_blocks(right: Quantized) -> Iterator[tuple[Cause, np.ndarray]]:
    """The amax of other elements than those that share the scale."""
    x, block = right.x, right.granularity.block
    for axis, (word, extent) in enumerate(zip(axis_names(x), block, strict=True)):
        if extent != 1:
            yield from _wrong_extents(right, axis, extent or x.shape[axis], word)
    if block == (1, 128):
        for tall in (128, 32, 16):
            joint = np.maximum.reduceat(right.amax, np.arange(0, len(right.amax), tall), axis=0)
            each = joint.repeat(tall, axis=0)[: len(right.amax)]
            yield Cause(f"{tall} rows share a scale; each row has its own", SHARING), _scale(each)
    if block == (1, WHOLE, 1):
        along = np.abs(x).max(axis=2)[:, : x.shape[2]]  # of row k, stored where column k's belongs
        amax = np.full_like(right.amax, np.nan)
        amax[:, : along.shape[1]] = along
        sentence = "amax runs along a row, over the wrong axis: a channel is a column, so it runs along K"
        yield Cause(sentence, SHARING), _scale(amax)
    if x.ndim == 3:
        together = np.broadcast_to(right.amax.max(axis=0, keepdims=True), right.amax.shape)
        yield Cause("the groups share their scales; each has its own", GROUPS), _scale(together)


def _wrong_extents(right: Quantized, axis: int, extent: int, word: str) -> Iterator[tuple[Cause, np.ndarray]]:
    """Blocks that begin or end elsewhere along this axis."""
    ways = (
        (f"each block's last {word} is left out of amax", 0, extent - 1),
        (f"each block's first {word} is left out of amax", 1, extent),
        (f"each block's amax takes in the first {word} of the next block", 0, extent + 1),
        (f"each block's amax begins one {word} early", -1, extent),
        (f"each block's amax covers the {word}s from the second on, and the first of the next block", 1, extent + 1),
        *((f"amax covers the first {n} of each block's {extent} {word}s", 0, n) for n in PARTS if n < extent),
    )
    for sentence, begin, end in ways:
        yield Cause(sentence, SHARING), _scale(_amax_of_spans(right, axis, extent, begin, end))
    if right.x.shape[axis] % extent:
        amax = right.amax.reshape(right.grid).copy()
        amax[_at(axis, -1, amax.ndim)] = 0
        sentence = f"the last block along the {word}s, which is ragged, has no amax"
        yield Cause(sentence, RAGGED), _scale(amax.reshape(right.amax.shape))
        yield from _without_ragged(right, axis, word)


def _without_ragged(right: Quantized, axis: int, word: str) -> Iterator[tuple[Cause, np.ndarray]]:
    """The scales of the whole blocks alone, side by side: the ragged ones have no place between them."""
    whole = right.scales.reshape(right.grid)[_at(axis, slice(0, -1), right.x.ndim)]
    packed = np.full(right.scales.size, np.nan, np.float32)
    packed[: whole.size] = whole.ravel()
    if whole.size:
        sentence = f"the scales are stored as if the ragged last block along the {word}s did not count: round up"
        yield Cause(sentence, RAGGED), packed.reshape(right.scales.shape)


def _at(axis: int, index: int | slice, dimensions: int) -> tuple[slice | int, ...]:
    return tuple(index if i == axis else slice(None) for i in range(dimensions))


def _amax_of_spans(right: Quantized, axis: int, extent: int, begin: int, end: int) -> np.ndarray:
    """As the right amax, but block i takes elements i·extent + begin up to i·extent + end along this axis."""
    count = right.x.shape[axis]
    others = Granularity("one long", tuple(1 if i == axis else b for i, b in enumerate(right.granularity.block)))
    lines = compute_amax(right.x, others).reshape(others.grid(right.x.shape))
    parts = []
    for start in range(0, count, extent):
        span = [slice(None)] * lines.ndim
        span[axis] = slice(max(0, start + begin), min(start + end, count))
        parts.append(lines[tuple(span)].max(axis=axis, keepdims=True, initial=0))
    return np.concatenate(parts, axis=axis).reshape(right.amax.shape)


def _same_scales(got: np.ndarray, mistaken: np.ndarray) -> bool:
    """NaN in `mistaken`: whatever stands there. A scale of zero or a negative one has its bits compared, too."""
    known = ~np.isnan(mistaken)
    return bool(known.any() and (np.abs(_ordered_bits(got) - _ordered_bits(mistaken))[known] <= SCALE_ULPS).all())


def _ordered_bits(scales: np.ndarray) -> np.ndarray:
    """Whose differences count ulps, between positive numbers."""
    return np.ascontiguousarray(scales, np.float32).view(np.int32).astype(np.int64)


def _explain_few_ulps(expected: np.ndarray, wrong: np.ndarray) -> Cause | None:
    """Off by so little that it is arithmetic, and no other amax."""
    ulps = np.abs(_ordered_bits(wrong) - _ordered_bits(expected))
    if ulps.max() > FEW_ULPS:
        return None
    sentence = (
        f"the wrong scales are up to {ulps.max()} ulp off, where 1 is allowed: amax / 448 in FP32 is exact enough"
    )
    return Cause(sentence, ROUNDING)


def _explain_floor(expected: np.ndarray, got: np.ndarray, wrong: np.ndarray) -> Cause | None:
    """The wrong ones are alike and too large, and no scale is smaller. One alone may be the scale of anything."""
    lowest = got[wrong][0]
    alike = wrong.sum() > 1 and np.isfinite(lowest) and (got[wrong] == lowest).all() and (expected < lowest).all()
    if not alike or (got < lowest).any():
        return None
    amax = lowest * np.float32(E4M3.max)
    return Cause(f"no scale is below {lowest:g}, that of amax {amax:g}; the floor under amax is 1e-6", FLOOR)


def _explain_by_parts(right: Quantized, got: np.ndarray, wrong: np.ndarray) -> Cause | None:
    """Every wrong scale is that of one of its block's own elements, or of one beyond: which, is not known."""
    samples = _spread(np.flatnonzero(wrong), BLOCKS_SAMPLED)
    values, expected = got.ravel()[samples], right.scales.ravel()[samples]
    if not (np.isfinite(values) & (values > 0)).all():
        return _explain_unusable(got[wrong])
    if (values < expected).all():
        inside = (np.abs(right.x[right.elements_of(block)]) for block in samples.tolist())
        if all(_is_scale_of_one(value, magnitudes) for value, magnitudes in zip(values, inside, strict=True)):
            sentence = "each wrong scale is that of a part of its block: some elements are left out of amax"
            return Cause(sentence, REDUCTION)
    if (values > expected).all():
        magnitudes = np.abs(right.x)
        if all(_is_scale_of_one(value, magnitudes) for value in values):
            return Cause("each wrong scale is too large: elements of another block count in its amax", SHARING)
    return None


def _explain_unusable(wrong: np.ndarray) -> Cause | None:
    if np.isposinf(wrong).all():
        sentence = (
            "the wrong scales are infinite, and no x is: does a shuffle read from lanes that have left, "
            "or are not in its mask? What it gets is undefined"
        )
        return Cause(sentence, REDUCTION)
    if (wrong == 0).all():
        return Cause("the wrong scales are all 0", FLOOR)
    if (wrong < 0).all():
        return Cause("the wrong scales are negative: amax is the largest |x|", ABSOLUTE)
    return None


def _is_scale_of_one(scale: np.float32, magnitudes: np.ndarray) -> bool:
    near = np.float64(scale) * E4M3.max
    return bool((np.abs(np.maximum(magnitudes, AMAX_FLOOR) - near) <= near * 2.0**-21).any())


# ---- bytes


@dataclass(frozen=True)
class Elements:
    """Some elements whose bytes are wrong: FP32 x, the scales they came with, all one-dimensional."""

    x: np.ndarray
    own: np.ndarray
    got: np.ndarray

    @cached_property
    def quotient(self) -> np.ndarray:
        return np.asarray(self.x / self.own)

    @property
    def at_the_top(self) -> np.ndarray:
        """NaN codes where the quotient is 448, give or take FP32's rounding."""
        nan = (self.got & 0x7F) > E4M3.largest
        return np.asarray(nan & (np.abs(self.quotient) >= E4M3.max * (1 - 2.0**-21)))


def explain_codes(right: Quantized, got: np.ndarray, scales: np.ndarray, wrong: np.ndarray) -> Cause | None:
    """Which mistake gives these bytes; `scales` are those that they came with."""
    at = _spread(np.flatnonzero(wrong), SAMPLE)
    codes = got.ravel()[at]
    blocks = right.blocks_of(at)
    some = Elements(right.x.ravel()[at], scales.ravel()[blocks], codes)
    with np.errstate(all="ignore"):
        if some.at_the_top.all():
            return Cause("the largest elements become NaN: they have to saturate at 448", SATURATION)
        if never_written(codes):
            return Cause("these bytes were never written", UNWRITTEN)
        if not ((some.own > 0) & np.isfinite(some.own)).any():
            return _under_no_scale(some.own)
        unwritten = codes == 0xFF
        if (unwritten | (codes == right.codes.ravel()[at])).all():
            some_are = "some bytes were never written, the others" if unwritten.any() else "the bytes"
            return Cause(f"{some_are} are right for the right scale: another is stored than was used", LAYOUT)
        beside = _witnesses(right, got, scales, wrong)
        fitting = (
            cause
            for number, (cause, mistaken) in enumerate(code_mistakes(right, scales, at, blocks, some))
            if np.array_equal(codes, mistaken) and beside.agree(number)
        )
        if at.size < FEW:
            return _only(fitting) or _explain_near_ties(some)
        return next(fitting, None) or _explain_by_look(some, zeros_keep_their_sign=bool((got[~wrong] == SIGN).any()))


def _only(causes: Iterable[Cause]) -> Cause | None:
    """None where there is another."""
    different = set(causes)
    return different.pop() if len(different) == 1 else None


@dataclass(frozen=True)
class Witnesses:
    """Some right bytes. A mistake that would have made them wrong is not the one that was made."""

    right: Quantized
    got: np.ndarray
    scales: np.ndarray
    at: np.ndarray
    explained: int  # wrong bytes that a mistake is asked about

    @cached_property
    def _mistaken(self) -> list[np.ndarray]:
        blocks = self.right.blocks_of(self.at)
        some = Elements(self.right.x.ravel()[self.at], self.scales.ravel()[blocks], self.got.ravel()[self.at])
        return [made for _, made in code_mistakes(self.right, self.scales, self.at, blocks, some)]

    def agree(self, number: int) -> bool:
        """Whether the mistake of this number leaves them as they are, but for a rare tie that may go either way."""
        differ = int((self._mistaken[number] != self.got.ravel()[self.at]).sum())
        return differ <= min(self.explained, max(1, DISAGREEING * self.at.size))


def _witnesses(right: Quantized, got: np.ndarray, scales: np.ndarray, wrong: np.ndarray) -> Witnesses:
    """Any; and where few bytes are wrong, those of the quotients next to theirs, which are of the same rare kind."""
    bad, good = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    at = _spread(good, SAMPLE)
    if bad.size < FEW:
        quotient = np.abs(right.x / spread(scales, right.granularity, right.x.shape)).ravel()
        beyond = np.min([np.abs(quotient[good] - one) for one in quotient[bad]], axis=0)
        at = np.union1d(at, good[np.argsort(beyond)[:SAMPLE]])
    return Witnesses(right, got, scales, at, bad.size)


def _under_no_scale(own: np.ndarray) -> Cause:
    if never_written(own):
        return Cause("the scales of these bytes were never written: mend that first", UNWRITTEN)
    if (own == 0).all():
        return Cause("the scales of these bytes are 0, under which no byte is right: mend that first", FLOOR)
    return Cause("the scales of these bytes are not positive numbers: mend that first", ABSOLUTE)


def code_mistakes(
    right: Quantized, scales: np.ndarray, at: np.ndarray, blocks: np.ndarray, some: Elements
) -> Iterator[tuple[Cause, np.ndarray]]:
    yield from _wrong_roundings(some)
    yield from _wrong_casts(some)
    yield from _other_scales(right, scales, blocks, some)
    yield from _moved(right, at)


def _wrong_casts(some: Elements) -> Iterator[tuple[Cause, np.ndarray]]:
    x, own, quotient = some.x, some.own, some.quotient
    yield Cause("x is multiplied by the scale; it has to be divided", DIVISION), encode(x * own)
    yield Cause("x is not scaled at all: the byte is x itself in E4M3", CAST), encode(x)
    yield Cause("x is cast to FP8 first and scaled then", CAST), encode(decode(encode(x)) / own)
    yield Cause("x is cast to FP8 first and scaled then", CAST), encode(decode(encode(x)) * (1 / own))
    for largest in (240.0, 256.0, 127.0, 416.0):
        clipped = encode(np.clip(quotient, np.float32(-largest), np.float32(largest)))
        yield Cause(f"x / scale is clamped to {largest:g}; E4M3 goes up to 448", SATURATION), clipped
    for whole in (np.trunc, np.rint):
        integer = whole(quotient).astype(np.int64).astype(np.uint8)
        yield Cause("x / scale is converted to an integer, not to FP8", CAST), integer
    yield Cause("these are E5M2 codes; wanted is E4M3", CAST), encode(quotient, E5M2)
    yield Cause("the sign is lost", ROUNDING), encode(np.abs(quotient))
    yield Cause("the sign is the wrong one", ROUNDING), encode(-quotient)
    yield Cause("these bytes are all 0", UNWRITTEN), np.zeros_like(some.got)


def _wrong_roundings(some: Elements) -> Iterator[tuple[Cause, np.ndarray]]:
    quotient = some.quotient
    magnitude = np.abs(quotient)
    sign = np.signbit(quotient).astype(np.uint8) << 7
    table = values(E4M3)[: E4M3.largest + 1]
    below = np.clip(np.searchsorted(table, magnitude, "right") - 1, 0, E4M3.largest).astype(np.uint8)
    yield Cause("x / scale is cut off, not rounded to the nearest code", ROUNDING), below | sign
    above = np.minimum(below + (table[below] < magnitude), E4M3.largest).astype(np.uint8)
    yield Cause("x / scale is rounded up to the next code, not to the nearest", ROUNDING), above | sign
    flushed = np.where(magnitude < 2.0**-6, np.uint8(0), encode(magnitude))
    sentence = "what is below the smallest normal, 2^-6, becomes 0; E4M3 has subnormals"
    yield Cause(sentence, ROUNDING), flushed | sign
    yield Cause(sentence, ROUNDING), np.where(magnitude < 2.0**-6, np.uint8(0), encode(quotient))
    yield (
        Cause("1 / scale is kept in FP16: it is an FP32 number", ROUNDING),
        encode(some.x * _through_half(1 / some.own)),
    )
    halves = "x / scale is rounded twice: to FP16 on its way to FP8"
    yield Cause(halves, ROUNDING), encode(_through_half(quotient))
    yield Cause("x is rounded to FP16 before it is scaled", ROUNDING), encode(_through_half(some.x) / some.own)
    yield Cause(halves, ROUNDING), encode(_through_half(_through_half(some.x) / _through_half(some.own)))
    yield Cause("x / scale is rounded twice: to BF16 on its way to FP8", ROUNDING), encode(_through_bfloat(quotient))


def _other_scales(
    right: Quantized, scales: np.ndarray, blocks: np.ndarray, some: Elements
) -> Iterator[tuple[Cause, np.ndarray]]:
    """Right conversions under a scale that is not the element's own."""
    grid = right.grid
    where = np.unravel_index(blocks, grid)
    flat = scales.ravel()
    amax = right.amax.ravel()[blocks]
    unfloored = np.where(amax > 0, encode(some.x / (amax / np.float32(448))), np.uint8(E4M3.nan))
    sentence = "x is divided by amax / 448 without the floor that the stored scale has"
    for mistaken in (unfloored, np.where(amax > 0, unfloored, np.uint8(E4M3.nan | SIGN))):
        yield Cause(sentence, FLOOR), mistaken
    yield Cause("all bytes are made with the first scale", LAYOUT), encode(some.x / flat[0])
    if len(grid) == 3:
        first = np.ravel_multi_index((np.zeros_like(where[0]), *where[1:]), grid)
        yield Cause("every group's bytes are made with the scales of group 0", GROUPS), encode(some.x / flat[first])
    for axis, (word, count) in enumerate(zip(axis_names(right.x), grid, strict=True)):
        for step, of in ((1, "next"), (-1, "previous")):
            if count > 1:
                moved = list(where)
                moved[axis] = np.clip(where[axis] + step, 0, count - 1)
                other = flat[np.ravel_multi_index(moved, grid)]
                sentence = f"the bytes are made with the scale of the {of} block along the {word}s"
                yield Cause(sentence, LAYOUT), encode(some.x / other)
    if len(grid) > 1 and max(grid[-2:]) > 1 and right.granularity.block[-2] != WHOLE:
        turned = (where[-1] * grid[-2] + where[-2]) + (where[0] * grid[-1] * grid[-2] if len(grid) == 3 else 0)
        sentence = "the bytes are made with another block's scale: the index into scale is transposed"
        yield Cause(sentence, LAYOUT), encode(some.x / flat[turned])
    early = encode(some.x * np.float32(448) / np.maximum(amax, AMAX_FLOOR))
    sentence = "x is multiplied by 448 before it is divided by amax: above 7.6e35 that is infinite"
    yield Cause(sentence, SATURATION), early
    inexact = encode(some.x * (np.float32(448) / np.maximum(amax, AMAX_FLOOR)))
    sentence = "x is multiplied by 448 / amax, which is not 1 / scale to the last bit"
    yield Cause(sentence, ROUNDING), inexact


def _moved(right: Quantized, at: np.ndarray) -> Iterator[tuple[Cause, np.ndarray]]:
    """Right bytes of other elements."""
    codes, shape = right.codes, right.x.shape
    where = np.unravel_index(at, shape)
    if len(shape) == 3:
        yield Cause("every group holds the bytes of group 0", GROUPS), codes[0][where[1:]]
    turned = where[-1] * shape[-2] + where[-2]  # the array's element that a transposed store puts here
    inverse = divmod(where[-2] * shape[-1] + where[-1], shape[-2])
    for row, column in ((inverse[1], inverse[0]), divmod(turned, shape[-1])):
        moved = codes[(*where[:-2], row, column)]
        yield Cause("the bytes are stored transposed", LAYOUT), moved


def _explain_by_look(some: Elements, *, zeros_keep_their_sign: bool) -> Cause | None:
    """What all of the wrong bytes have in common."""
    right = encode(some.quotient)
    if ((some.got & 0x7F) > E4M3.largest).all() and (some.x == 0).all():
        return Cause("zeros become NaN: 0 / 0, a scale without a floor", FLOOR)
    if ((some.got ^ right == SIGN) & (right & 0x7F == 0)).all() and not zeros_keep_their_sign:
        return Cause("what rounds to zero loses its sign", ROUNDING)
    if (some.got == 0).all():
        return Cause("the wrong bytes are all 0", UNWRITTEN)
    if ((some.got ^ right) & SIGN).any():
        return None
    return _explain_near_ties(some) or _explain_by_size((some.got & 0x7F).astype(int) - (right & 0x7F))


def _explain_near_ties(some: Elements) -> Cause | None:
    difference = some.got.astype(int) - encode(some.quotient)
    if (np.abs(difference) > 1).any() or not _near_ties(some.quotient).all():
        return None
    return Cause("only quotients next to a tie are wrong: x / scale has to be right to 2 ulp (FP32)", ROUNDING)


def _explain_by_size(difference: np.ndarray) -> Cause | None:
    """By how many codes the magnitudes are off."""
    way = "large: divided by less" if (difference > 0).all() else "small: divided by more"
    one_way = (difference > 0).all() or (difference < 0).all()
    parts = "all threads have to hold the same amax, that of the whole block"
    if (np.abs(difference) == 1).all():
        inexact = "x / scale is not as exact as FP32 can be, or rounded twice"
        one_code = f"every wrong byte is one code too {way} than the stored scale, or {inexact}"
        return Cause(one_code if one_way else f"every wrong byte is one code off: {inexact}", ROUNDING)
    return Cause(f"the wrong bytes are too {way} than the stored scale; {parts}", REDUCTION) if one_way else None


def _near_ties(quotient: np.ndarray) -> np.ndarray:
    middle, magnitude = midpoints(E4M3), np.abs(quotient)
    after = np.clip(np.searchsorted(middle, magnitude), 1, len(middle) - 1)
    distance = np.minimum(np.abs(middle[after] - magnitude), np.abs(middle[after - 1] - magnitude))
    return np.asarray(distance <= magnitude * NEAR_A_TIE)


def _through_half(value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return value.astype(np.float16).astype(np.float32)


def _through_bfloat(value: np.ndarray) -> np.ndarray:
    """To the nearest, ties to even."""
    bits = np.ascontiguousarray(value, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def _spread(items: np.ndarray, most: int) -> np.ndarray:
    """At most so many of them, the first and the last among them."""
    if len(items) <= most:
        return items
    return items[np.linspace(0, len(items) - 1, most).astype(np.int64)]


def axis_names(x: np.ndarray) -> tuple[str, ...]:
    return ("row", "column") if x.ndim == 2 else ("group", "row", "column")

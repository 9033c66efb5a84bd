"""fp8.cu and exercise 02's solution against the NumPy definition: bit for bit, on the CPU engine and on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from grader import ptx
from grader.compile import recipe
from grader.compile.compiler import compile_text
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Array, Case
from grader.reference_kernels.fp8 import E4M3, E5M2, Format, decode, encode, encode_stochastic, is_nan
from tests.reference_kernels.test_fp8 import sigmas

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "reference_kernels" / "fp8.cu"
EXERCISE = catalog.read(ROOT / "exercises" / "02_fp8_conversion")
SOLUTION = EXERCISE.folder / "solution.cu"
BIASED = EXERCISE.folder / "wrong" / "chance_of_8_bits.cu"

NONE_WRONG = (0, 2**64 - 1)  # a verdict as a judge gets it: wrong elements, the least index of one


class Mode(NamedTuple):
    """One of the five conversions: what its kernel is called, what it makes, and what is right."""

    name: str
    output: type[np.generic]
    define: Callable[..., Any]
    fmt: Format
    inputs: tuple[str, ...]  # as the exercise's cases name them


MODES = (
    Mode("encode_e4m3", np.uint8, encode, E4M3, ("x",)),
    Mode("encode_e5m2", np.uint8, encode, E5M2, ("x",)),
    Mode("decode_e4m3", np.float32, decode, E4M3, ("e4m3_codes",)),
    Mode("decode_e5m2", np.float32, decode, E5M2, ("e5m2_codes",)),
    Mode("encode_e4m3_stochastic", np.uint8, encode_stochastic, E4M3, ("x", "random")),
)
SOURCES = {"reference": (REFERENCE, "reference_"), "solution": (SOLUTION, "")}
CASES = ("boundaries", "every-byte", "chance-edges", "random-bits")

each_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
each_source = pytest.mark.parametrize("source", SOURCES)


@cache
def program(file: Path) -> ptx.Program:
    compiled = compile_text(file.read_text(encoding="utf-8"), recipe.PTX_ARCH)
    assert compiled.compilation.ok, compiled.compilation.log
    assert not compiled.compilation.findings
    return ptx.Program(ptx.parse(compiled.ptx))


@cache
def cases() -> Mapping[str, Case]:
    return {case.name: case for case in Oracle(EXERCISE).cases(seed=5) if case.name in CASES}


def inputs_of(mode: Mode, case: str) -> list[np.ndarray]:
    arrays = [cases()[case].arguments[name] for name in mode.inputs]
    return [array.data for array in arrays if isinstance(array, Array)]


def run(
    file: Path, kernel: str, inputs: Sequence[np.ndarray], output: np.ndarray, *, grid: int = 20, block: int = 256
) -> None:
    """One launch over vectors of one length; asserts that every access was clean."""
    arguments: list[ptx.Buffer | int] = [ptx.Buffer(f"input {i}", data) for i, data in enumerate(inputs)]
    arguments += [ptx.Buffer("y", output, writable=True, initialised=False), inputs[0].size]
    done = program(file).run(kernel, grid=(grid, 1, 1), block=(block, 1, 1), arguments=arguments)
    assert done.findings == ()


def converted(source: str, mode: Mode, inputs: Sequence[np.ndarray], **launch: int) -> np.ndarray:
    file, prefix = SOURCES[source]
    output = np.full(inputs[0].size, 0x55, np.uint8).astype(mode.output)
    run(file, f"{prefix}{mode.name}_kernel", inputs, output, **launch)
    return output


def wrong_elements(mode: Mode, got: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Indices; any NaN is right for a NaN."""
    if mode.output is np.uint8:
        both_nan = is_nan(got, mode.fmt) & is_nan(right, mode.fmt)
    else:
        both_nan = np.isnan(got) & np.isnan(right)
    bits = {1: np.uint8, 4: np.uint32}[got.itemsize]
    return np.flatnonzero((got.view(bits) != right.view(bits)) & ~both_nan)


def judged(mode: Mode, inputs: Sequence[np.ndarray], output: np.ndarray, grid: int = 7) -> tuple[int, int]:
    """(wrong elements, least index of one) by the device's judge."""
    verdict = np.array(NONE_WRONG, np.uint64)
    arguments: list[ptx.Buffer | int] = [ptx.Buffer("array", data) for data in (*inputs, output)]
    arguments += [inputs[0].size, ptx.Buffer("verdict", verdict, writable=True)]
    done = program(REFERENCE).run(f"judge_{mode.name}", grid=(grid, 1, 1), block=(128, 1, 1), arguments=arguments)
    assert done.findings == ()
    return int(verdict[0]), int(verdict[1])


# The kernels


@each_mode
@each_source
@pytest.mark.parametrize("case", CASES)
def test_every_bit_is_that_of_the_definition(source: str, mode: Mode, case: str) -> None:
    inputs = inputs_of(mode, case)
    got = converted(source, mode, inputs)
    assert wrong_elements(mode, got, mode.define(*inputs, mode.fmt)).size == 0


@each_mode
@each_source
def test_every_length_and_any_grid(source: str, mode: Mode) -> None:
    every = inputs_of(mode, "random-bits")
    for n in (1, 2, 3, 4, 5, 7, 8, 31, 4095, 4097, 9999):
        inputs = [data[:n].copy() for data in every]
        for grid in (1, 3):
            got = converted(source, mode, inputs, grid=grid)
            assert wrong_elements(mode, got, mode.define(*inputs, mode.fmt)).size == 0, (n, grid)


@each_mode
def test_reference_kernels_take_any_block_and_no_elements_at_all(mode: Mode) -> None:
    inputs = [data[:1000].copy() for data in inputs_of(mode, "random-bits")]
    got = converted("reference", mode, inputs, grid=2, block=33)
    assert wrong_elements(mode, got, mode.define(*inputs, mode.fmt)).size == 0
    assert converted("reference", mode, [data[:0].copy() for data in inputs]).size == 0


# The judges


@each_mode
@pytest.mark.parametrize("case", CASES)
def test_a_judge_acquits_what_the_definition_gives(mode: Mode, case: str) -> None:
    inputs = inputs_of(mode, case)
    assert judged(mode, inputs, mode.define(*inputs, mode.fmt)) == NONE_WRONG


@each_mode
@pytest.mark.parametrize("case", CASES[:3])
def test_a_judge_finds_a_single_flipped_bit(mode: Mode, case: str) -> None:
    inputs = inputs_of(mode, case)
    right = mode.define(*inputs, mode.fmt)
    rng = np.random.default_rng(9)
    for at in (0, right.size - 1, *rng.integers(0, right.size, 20).tolist()):
        flipped = right.copy()
        bit = int(rng.integers(8 * right.itemsize))
        flipped.view(np.uint8)[at * right.itemsize + bit // 8] ^= 1 << bit % 8
        expected = wrong_elements(mode, flipped, right)
        assert judged(mode, inputs, flipped) == ((1, at) if expected.size else NONE_WRONG)


@each_mode
def test_a_judge_counts_what_is_wrong_and_names_the_first(mode: Mode) -> None:
    inputs = inputs_of(mode, "random-bits")
    right = mode.define(*inputs, mode.fmt)
    for everything in (np.zeros_like(right), np.roll(right, 1)):
        wrong = wrong_elements(mode, everything, right)
        assert judged(mode, inputs, everything, grid=64) == (wrong.size, wrong[0])


@each_mode
def test_a_judge_takes_any_nan_for_a_nan_and_for_nothing_else(mode: Mode) -> None:
    inputs = inputs_of(mode, "boundaries")
    right = mode.define(*inputs, mode.fmt)
    of_nan = np.isnan(right) if right.dtype == np.float32 else is_nan(right, mode.fmt)
    codes = np.flatnonzero(is_nan(np.arange(256, dtype=np.uint8), mode.fmt)).astype(np.uint8)
    payloads = np.array([0x7F800001, 0x7FC00000, 0xFFC00000, 0xFFFFFFFF], np.uint32).view(np.float32)
    for nan in codes if mode.output is np.uint8 else payloads:
        assert judged(mode, inputs, np.where(of_nan, nan, right)) == NONE_WRONG
        not_nan = int(np.argmin(of_nan))
        spoilt = right.copy()
        spoilt[not_nan] = nan
        assert judged(mode, inputs, spoilt) == (1, not_nan)


# By chance


def by_chance(file: Path, kernel: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def encoder(x: np.ndarray, random: np.ndarray) -> np.ndarray:
        codes = np.empty(x.size, np.uint8)
        run(file, kernel, [x, random], codes, grid=x.size // 4096)
        return codes

    return encoder


@each_source
def test_the_mean_over_2_to_the_24_draws_is_the_value(source: str) -> None:
    file, prefix = SOURCES[source]
    assert abs(sigmas(by_chance(file, f"{prefix}encode_e4m3_stochastic_kernel"), 1 << 24)) < 3


def test_an_encoder_that_uses_too_few_random_bits_is_found_to_be_biased() -> None:
    assert abs(sigmas(by_chance(BIASED, "encode_e4m3_stochastic_kernel"), 1 << 22)) > 3


# On a GPU. `-s` shows the seconds.

CHUNK = 1 << 28  # inputs at a time of all 2^32
GRID, BLOCK = 4096, 256  # more blocks than a GPU holds; what is left a thread does in its loop
SAMPLED = 1 << 16  # of each chunk, against NumPy


@pytest.fixture
def on_gpu(tmp_path: Path) -> Callable[[Path], Any]:
    """A source file as a CuPy module for the GPU at hand."""
    import cupy

    def load(file: Path) -> Any:
        capability = cupy.cuda.Device().compute_capability
        arch = recipe.gpu_arch((int(capability[:-1]), int(capability[-1])))
        compiled = compile_text(file.read_text(encoding="utf-8"), arch)
        assert compiled.compilation.ok, compiled.compilation.log
        path = tmp_path / f"{file.stem}.cubin"
        path.write_bytes(compiled.cubin)
        return cupy.RawModule(path=str(path))

    return load


@pytest.mark.gpu
@pytest.mark.timeout(600)
@each_mode
@each_source
def test_every_input_there_is(source: str, mode: Mode, on_gpu: Callable[[Path], Any]) -> None:
    """All 2^32 bit patterns of x; for a decoder a billion codes, neighbours of all kinds."""
    import cupy

    file, prefix = SOURCES[source]
    convert = on_gpu(file).get_function(f"{prefix}{mode.name}_kernel")
    judge = on_gpu(REFERENCE).get_function(f"judge_{mode.name}")
    verdict = cupy.array(NONE_WRONG, cupy.uint64)
    decodes = mode.output is np.float32
    n = CHUNK * 4 if decodes else CHUNK
    output = cupy.empty(n, mode.output)
    rng = np.random.default_rng(12)
    began = time.perf_counter()
    for start in [0] if decodes else range(0, 1 << 32, CHUNK):
        patterns = cupy.arange(start, start + CHUNK, dtype=cupy.uint64).astype(cupy.uint32)
        scrambled = _scrambled(patterns)
        inputs = [scrambled.view(cupy.uint8)] if decodes else [patterns.view(cupy.float32), scrambled]
        inputs = inputs[: len(mode.inputs)]
        output.fill(0x55)
        convert((GRID,), (BLOCK,), (*inputs, output, np.int64(n)))
        judge((GRID,), (BLOCK,), (*inputs, output, np.int64(n), verdict))
        at = cupy.asarray(rng.integers(0, n, SAMPLED))
        some = [cupy.asnumpy(data[at]) for data in inputs]
        assert wrong_elements(mode, cupy.asnumpy(output[at]), mode.define(*some, mode.fmt)).size == 0
    assert tuple(verdict.get().tolist()) == NONE_WRONG
    print(f"\n{source} {mode.name}: every input right, {time.perf_counter() - began:.2f} s")  # noqa: T201


@pytest.mark.gpu
@each_source
def test_on_a_gpu_too_the_mean_over_2_to_the_24_draws_is_the_value(
    source: str, on_gpu: Callable[[Path], Any]
) -> None:
    import cupy

    file, prefix = SOURCES[source]
    kernel = on_gpu(file).get_function(f"{prefix}encode_e4m3_stochastic_kernel")

    def encoder(x: np.ndarray, random: np.ndarray) -> np.ndarray:
        codes = cupy.empty(x.size, cupy.uint8)
        kernel((GRID,), (BLOCK,), (cupy.asarray(x), cupy.asarray(random), codes, np.int64(x.size)))
        return np.asarray(codes.get())

    assert abs(sigmas(encoder, 1 << 24)) < 3


LARGE = 1 << 26  # elements: 320 MB and more for each launch, beyond any cache
LAUNCHES = 20
# The exercise's own threshold; and what keeps judging from taking longer than what is judged.
LEAST_OF_A_COPY = {"solution": EXERCISE.threshold, "reference": 0.4}


@pytest.mark.gpu
@each_mode
@each_source
def test_memory_is_what_it_waits_for(source: str, mode: Mode, on_gpu: Callable[[Path], Any]) -> None:
    """Beside a device copy that reads and writes as many bytes in all."""
    import cupy

    file, prefix = SOURCES[source]
    kernel = on_gpu(file).get_function(f"{prefix}{mode.name}_kernel")
    decodes = mode.output is np.float32
    random = _scrambled(cupy.arange(LARGE, dtype=cupy.uint32))
    x = (random >> 8).astype(cupy.float32) * np.float32(2**-23) - np.float32(1)  # in [-1, 1)
    inputs = [random.view(cupy.uint8)[:LARGE]] if decodes else [x, random][: len(mode.inputs)]
    output = cupy.empty(LARGE, mode.output)
    size = (sum(data.nbytes for data in inputs) + output.nbytes) // 2
    copied = [cupy.empty(size, cupy.uint8) for _ in range(2)]
    grid = -(-LARGE // (16 * BLOCK))  # as the solution's launch function asks for; four turns for the reference
    ours = _milliseconds(lambda: kernel((grid,), (BLOCK,), (*inputs, output, np.int64(LARGE))))
    copy = _milliseconds(lambda: copied[0].data.copy_from_device_async(copied[1].data, size, cupy.cuda.Stream.null))
    print(f"\n{source} {mode.name}: {2 * size / ours / 1e9:.2f} TB/s, {copy / ours:.0%} of a copy")  # noqa: T201
    assert copy / ours >= LEAST_OF_A_COPY[source]


def _scrambled(counter: Any) -> Any:
    """uint32 to uint32, one to one: neighbours become far apart."""
    mixed = (counter ^ (counter >> 16)) * np.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * np.uint32(0xC2B2AE35)
    return mixed ^ (mixed >> 16)


def _milliseconds(launch: Callable[[], Any]) -> float:
    """Of one launch among many, between two events."""
    import cupy

    for _ in range(3):
        launch()
    before, after = cupy.cuda.Event(), cupy.cuda.Event()
    before.record()
    for _ in range(LAUNCHES):
        launch()
    after.record()
    after.synchronize()
    return float(cupy.cuda.get_elapsed_time(before, after)) / LAUNCHES

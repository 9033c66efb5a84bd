"""fast_quantization.cu on the CPU engine: every step of every ladder, without a finding, bit for bit."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from grader import ptx, reference_kernels
from grader.compile import nvrtc, recipe
from grader.reference_kernels import fast_quantization as fast
from grader.reference_kernels import fp8_layers
from grader.reference_kernels.fp8_grouped_gemm import from_bf16, to_bf16
from grader.reference_kernels.quantization import FINE_GRAINED, PER_TENSOR, quantize
from grader.reference_kernels.quantization_rules import admissible
from grader.reference_kernels.steps import Ladder, Launch, Step

SOURCE = (Path(reference_kernels.__file__).parent / "fast_quantization.cu").read_text(encoding="utf-8")
POISON = ("q", "scale", "h")  # nothing may read them before they are written
# Of 512 and 16: the engine takes clusters of up to 1024 threads, and compiles few steps faster.
CHANNEL_THREADS, CHANNEL_STEPS = 128, 3
DEFINED = (f"-DCHANNEL_THREADS={CHANNEL_THREADS}", f"-DCHANNEL_STEPS={CHANNEL_STEPS}")
STEPS = [(ladder, step) for ladder in fast.LADDERS for step in ladder.steps]


@cache
def program() -> ptx.Program:
    built = nvrtc.build(SOURCE, recipe.PTX_ARCH, *DEFINED)
    assert built.ok, built.log
    return ptx.Program(ptx.parse(built.ptx))


def run(launch: Launch, arrays: dict[str, np.ndarray], written: tuple[str, ...]) -> None:
    given = [
        ptx.Buffer(
            name,
            arrays[name],
            writable=name in written,
            initialised=name not in written or name not in POISON or i == 0,
        )
        if isinstance(name, str)
        else int(name)
        for i, name in enumerate(launch.arguments)
    ]
    threads = launch.block
    if launch.kernel.startswith("quantize_channels_") and not launch.kernel.endswith("step1"):
        threads = CHANNEL_THREADS
    grid, block = (launch.grid, 1, 1), (threads, 1, 1)
    shared = launch.shared_bytes and CHANNEL_STEPS * CHANNEL_THREADS * 16
    done = program().run(launch.kernel, grid=grid, block=block, shared_bytes=shared, arguments=given)
    assert done.findings == (), launch.kernel


def run_step(ladder: Ladder, step: Step, shape: tuple[int, ...], arrays: dict[str, np.ndarray]) -> None:
    for launch in step.launches(shape):
        run(launch, arrays, tuple(ladder.outputs(shape)))


@pytest.mark.parametrize(("ladder", "step"), STEPS, ids=[f"{lad.title}: {step.title}" for lad, step in STEPS])
def test_a_step_is_right(ladder: Ladder, step: Step) -> None:
    for shape in ladder.small:
        arrays = ladder.arrays(shape, np.random.default_rng(7))
        run_step(ladder, step, shape, arrays)
        assert ladder.wrong(arrays) == 0, shape


@pytest.mark.parametrize("dtype", [fast.FP32, fast.BF16])
def test_a_column_longer_than_a_cluster_holds_is_read_twice(dtype: str) -> None:
    shape = (1, 900, 32)
    arrays = fast.CHANNELS_FP32.arrays(shape, np.random.default_rng(1))
    arrays["x"] = fast.of_type(dtype, arrays["x"].reshape(shape))
    for launch in fast.channels(dtype, shape):
        run(launch, arrays, ("q", "scale"))
    assert fast.CHANNELS_FP32.wrong(arrays) == 0


@pytest.mark.parametrize(("rows", "cols", "k"), [(1, 16, 1), (7, 272, 3), (9, 128, 8)])
@pytest.mark.parametrize("dtype", [fast.FP32, fast.BF16])
def test_rows_go_to_several_places(dtype: str, rows: int, cols: int, k: int) -> None:
    rng = np.random.default_rng(rows)
    given = fast.of_type(dtype, fast.values((rows, cols), rng))
    arrays = fast.ROWS_FP32.outputs((rows * k, cols)) | {"x": given}
    places = arrays["places"] = rng.permutation(rows * k).astype(np.int32).reshape(rows, k)
    for launch in fast.rows_to_places(dtype, (rows, cols), k):
        run(launch, arrays, ("q", "scale"))
    expected = quantize(given if dtype == fast.FP32 else from_bf16(given), FINE_GRAINED)
    for found, of_rows in zip((arrays["q"], arrays["scale"]), expected, strict=True):
        np.testing.assert_array_equal(found[places], of_rows[:, None].repeat(k, axis=1))


def quantized_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    arrays = fast.ROWS_FP32.arrays(x.shape, np.random.default_rng(1)) | {"x": x}
    for launch in fast.rows_of(fast.FP32, x.shape):
        run(launch, arrays, ("q", "scale"))
    return arrays["q"], arrays["scale"]


def test_every_rounding_of_a_quotient_is_numpy_s() -> None:
    """Near each code and each midpoint, under scales whose reciprocals are rounded up, down, and not at all."""
    rng = np.random.default_rng(5)
    high = np.arange(0x3900, 0x43E0, dtype=np.uint32) << 16  # 2^-13 up to 448, the half above the mantissa's rest
    near = np.concatenate([high, high + 1, high - 1, high + 0x8000, high + 0x7FFF, high + 0x8001]).view(np.float32)
    rows = -(-near.size // 126)
    quotients = np.resize(near, (rows, 126)) * rng.choice([-1, 1], (rows, 126))
    amax = (448 * rng.uniform(1, 2, rows) * 2.0 ** rng.integers(-20, 20, rows)).astype(np.float32)
    x = np.zeros((rows, 128), np.float32)
    x[:, 0] = amax
    x[:, 2:] = (quotients * (amax / np.float32(448))[:, None]).astype(np.float32)
    codes, scales = quantized_rows(x)
    expected_codes, expected_scales = quantize(x, FINE_GRAINED)
    np.testing.assert_array_equal(scales, expected_scales)
    np.testing.assert_array_equal(codes, expected_codes)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_block_with_nan_or_infinity_has_the_scale_nan(bad: float) -> None:
    x = np.random.default_rng(2).standard_normal((4, 256)).astype(np.float32)
    x[1, 150] = bad
    codes, scales = quantized_rows(x)
    assert np.argwhere(np.isnan(scales)).tolist() == [[1, 1]]
    expected_codes, expected_scales = fp8_layers.quantize_rows(x)
    np.testing.assert_array_equal(scales, expected_scales)
    usable = ~np.isnan(scales.repeat(128, axis=1))
    np.testing.assert_array_equal(codes[usable], expected_codes[usable])


@pytest.mark.parametrize("dtype", [fast.FP32, fast.BF16])
def test_under_a_known_scale_bytes_are_admissible_and_the_rest_is_saturated(dtype: str) -> None:
    shape = (37, 48)
    arrays = fast.TENSOR_FP32.arrays(shape, np.random.default_rng(3))
    x = arrays["x"] * np.float32(1e-3)
    x[0, :5] = [3e38, -3e38, 1e5, -0.0, np.nan]
    scale = np.array([0.37], np.float32)
    given = fast.of_type(dtype, x)
    for launch in fast.tensor_by_scale(dtype, shape):
        run(launch, arrays | {"x": given, "scale": scale}, ("q",))
    values = x if dtype == fast.FP32 else from_bf16(given)
    assert arrays["q"][0, :4].tolist() == [0x7E, 0xFE, 0x7E, 0x80]
    assert arrays["q"][0, 4] & 0x7F == 0x7F
    arrays["q"][0, 4] = values[0, 4] = 0  # no number has been judged by the rules
    assert admissible(arrays["q"], values, scale, PER_TENSOR).all()


def test_swiglu_of_large_gates_is_neither_nan_nor_infinite() -> None:
    gate_up = to_bf16(np.array([[200.0, -200.0, 88.0, -88.0] * 8], np.float32))
    arrays = fast.SWIGLU.arrays((1, 16), np.random.default_rng(4)) | {"gate_up": gate_up}
    run_step(fast.SWIGLU, fast.SWIGLU.steps[1], (1, 16), arrays)
    assert fast.SWIGLU.wrong(arrays) == 0

"""quantization.cu against NumPy, on the CPU and on a GPU: its kernels bit for bit, its judges by their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from grader import ptx, reference_kernels
from grader.compile import nvrtc, recipe
from grader.reference_kernels.fp8 import E4M3, SIGN, midpoints
from grader.reference_kernels.quantization import (
    BLOCK_WISE,
    FINE_GRAINED,
    PER_CHANNEL,
    PER_TENSOR,
    Granularity,
    compute_scales,
    quantize,
)
from grader.reference_kernels.quantization_rules import admissible, right_scales

SOURCE = (Path(reference_kernels.__file__).parent / "quantization.cu").read_text(encoding="utf-8")
NONE_WRONG = np.array([0, 2**64 - 1], np.uint64)


@dataclass(frozen=True)
class Kind:
    """One kernel and its judge. `first`: a kernel that has to run before it."""

    name: str
    granularity: Granularity
    first: str = ""


KINDS = (
    Kind("per_tensor_quantize", PER_TENSOR, first="per_tensor_amax"),
    Kind("per_channel", PER_CHANNEL),
    Kind("fine_grained", FINE_GRAINED),
    Kind("block_wise", BLOCK_WISE),
)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)

# (rows, cols) and (groups, rows, cols): whole blocks, ragged ones, one row, the least columns, several groups.
FLAT = ((1, 16), (5, 128), (131, 272), (128, 144))
DEEP = ((1, 16, 16), (2, 128, 128), (3, 144, 272), (2, 304, 48))


def shapes(kind: Kind) -> tuple[tuple[int, ...], ...]:
    return FLAT if len(kind.granularity.block) == 2 else DEEP


class Device(Protocol):
    """Runs a kernel over arrays, which change in place, and ints."""

    def run(self, kernel: str, *arguments: np.ndarray | int, grid: int, block: int) -> None: ...


class Cpu:
    def __init__(self) -> None:
        built = nvrtc.build(SOURCE, recipe.PTX_ARCH)
        assert built.ok, built.log
        self._program = ptx.Program(ptx.parse(built.ptx))

    def run(self, kernel: str, *arguments: np.ndarray | int, grid: int, block: int) -> None:
        """A judge's arrays are all inputs but the last; what nothing may read before it is written is poison."""
        writable = range(len(arguments)) if kernel.startswith("reference") else (len(arguments) - 1,)
        given = [
            ptx.Buffer(f"argument {i}", a, writable=i in writable and i > 0) if isinstance(a, np.ndarray) else a
            for i, a in enumerate(arguments)
        ]
        findings = self._program.run(kernel, grid=(grid, 1, 1), block=(block, 1, 1), arguments=given).findings
        assert findings == ()


class Gpu:
    def __init__(self, folder: Path) -> None:
        import cupy

        major, minor = map(
            int, (cupy.cuda.Device().compute_capability[:-1], cupy.cuda.Device().compute_capability[-1])
        )
        built = nvrtc.build(SOURCE, recipe.gpu_arch((major, minor)))
        assert built.ok, built.log
        cubin = folder / "quantization.cubin"
        cubin.write_bytes(built.cubin)
        self._module = cupy.RawModule(path=str(cubin))

    def run(self, kernel: str, *arguments: np.ndarray | int, grid: int, block: int) -> None:
        import cupy

        on_device = [cupy.asarray(a) if isinstance(a, np.ndarray) else np.int32(a) for a in arguments]
        self._module.get_function(kernel)((grid,), (block,), tuple(on_device))
        for here, there in zip(arguments, on_device, strict=True):
            if isinstance(here, np.ndarray) and here.flags.writeable:
                here[...] = cupy.asnumpy(there)


@pytest.fixture(scope="module")
def cpu() -> Cpu:
    return Cpu()


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Gpu:
    return Gpu(tmp_path_factory.mktemp("quantization"))


def values(shape: Sequence[int], seed: int = 1) -> np.ndarray:
    """Magnitudes from below FP32's normals to 1e38, zeros of both signs, whole blocks of them, numbers at ties."""
    rng = np.random.default_rng([seed, *shape])
    powers = rng.integers(-46, 38, shape).astype(np.float64)
    x = rng.uniform(-1, 1, shape) * 10.0**powers
    rows = rng.random((*shape[:-1], 1))
    x = np.where(rows < 0.6, rng.uniform(-1, 1, shape), x)  # else hardly any byte is another than 0
    x = np.where(rows < 0.2, 0.0, x)
    x = np.where((rows > 0.2) & (rows < 0.4), np.round(x * 448 * 16) / 16, x)  # scale 1, or nearly
    x = np.where(rng.random(shape) < 0.05, -0.0, x)
    return x.astype(np.float32)


def quantized(device: Device, kind: Kind, x: np.ndarray, *, grid: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """What the reference kernel makes of it."""
    x.flags.writeable = False
    q = np.full(x.shape, 0xFF, np.uint8)
    scale = np.full(kind.granularity.scale_shape(x.shape), np.nan, np.float32)
    workspace: list[np.ndarray | int] = []
    if kind.first:
        workspace = [np.zeros(1, np.uint32)]
        device.run(f"reference_{kind.first}_kernel", x, q, scale, *x.shape, *workspace, grid=grid, block=block)
    device.run(f"reference_{kind.name}_kernel", x, q, scale, *x.shape, *workspace, grid=grid, block=block)
    return q, scale


def verdict(
    device: Device, kind: Kind, x: np.ndarray, q: np.ndarray, scale: np.ndarray, *, grid: int = 7, block: int = 96
) -> tuple[int, int]:
    """(wrong, first) as the judge finds them."""
    found = NONE_WRONG.copy()
    device.run(f"judge_{kind.name}", x, q, scale, *x.shape, found, grid=grid, block=block)
    return int(found[0]), int(found[1])


def by_the_rules(kind: Kind, x: np.ndarray, q: np.ndarray, scale: np.ndarray) -> tuple[int, int]:
    """The same from NumPy's rules."""
    with np.errstate(all="ignore"):
        bytes_right = admissible(q, x, scale, kind.granularity)
    wrong = np.flatnonzero(np.concatenate([~bytes_right.ravel(), ~right_scales(scale, x, kind.granularity).ravel()]))
    return len(wrong), int(wrong[0]) if len(wrong) else 2**64 - 1


@each_kind
@pytest.mark.parametrize(("grid", "block"), [(1, 32), (3, 96), (40, 256)])
def test_a_kernel_gives_numpy_s_bits_in_any_launch(cpu: Cpu, kind: Kind, grid: int, block: int) -> None:
    for shape in shapes(kind):
        x = values(shape)
        q, scale = quantized(cpu, kind, x, grid=grid, block=block)
        expected_q, expected_scale = quantize(x, kind.granularity)
        np.testing.assert_array_equal(scale.view(np.uint32), expected_scale.view(np.uint32))
        np.testing.assert_array_equal(q, expected_q)


def test_every_rounding_of_a_quotient_is_numpy_s(cpu: Cpu) -> None:
    """amax 448 makes the scale 1: each FP32 neighbourhood of a code or midpoint, and saturation, come through."""
    high = np.arange(0x3780, 0x43E0, dtype=np.uint32) << 16  # 2^-16 up to 448, the half above the mantissa's rest
    bits = np.concatenate([high, high + 1, high - 1, high + 0x8000, high + 0x7FFF])
    x = np.concatenate([bits, bits | 0x80000000]).view(np.float32)
    rows = -(-len(x) // 127)
    padded = np.full((rows, 128), 448, np.float32)
    padded[:, :127] = np.resize(x, (rows, 127))
    q, scale = quantized(cpu, KINDS[2], padded, grid=8, block=128)
    assert (scale == 1).all()
    np.testing.assert_array_equal(q, quantize(padded, FINE_GRAINED)[0])


@each_kind
def test_a_judge_finds_nothing_in_what_is_right(cpu: Cpu, kind: Kind) -> None:
    """By division and by reciprocal, under the scale itself and under one that is an ulp off."""
    for shape in shapes(kind):
        x = values(shape)
        q, scale = quantize(x, kind.granularity)
        assert verdict(cpu, kind, x, q, scale) == (0, 2**64 - 1)
        other = np.nextafter(scale, np.float32(np.inf))
        assert right_scales(other, x, kind.granularity).all()
        assert verdict(cpu, kind, x, q, other) == by_the_rules(kind, x, q, other)


@each_kind
def test_a_judge_finds_a_single_wrong_byte(cpu: Cpu, kind: Kind) -> None:
    x = values(shapes(kind)[2])
    q, scale = quantize(x, kind.granularity)
    for at in (0, x.size // 2, x.size - 1):
        one = q.copy()
        one.flat[at] ^= 0x04
        assert verdict(cpu, kind, x, one, scale) == (1, at)


@each_kind
@pytest.mark.parametrize("change", [2, -2, 1 << 23, -(1 << 31)], ids=["2 ulp", "-2 ulp", "doubled", "negative"])
def test_a_judge_finds_a_wrong_scale(cpu: Cpu, kind: Kind, change: int) -> None:
    """Together with the bytes that are wrong under it."""
    for shape in shapes(kind)[1:]:
        x = values(shape)
        q, scale = quantize(x, kind.granularity)
        wrong = scale.copy()
        wrong.view(np.int32).flat[-1] += change
        wrong_count, first = by_the_rules(kind, x, q, wrong)
        assert wrong_count >= 1
        assert verdict(cpu, kind, x, q, wrong) == (wrong_count, first)


@each_kind
@pytest.mark.parametrize("scale", [0.0, np.inf, np.nan])
def test_no_byte_is_right_under_a_scale_that_is_none(cpu: Cpu, kind: Kind, scale: float) -> None:
    x = values(shapes(kind)[2])
    q, right = quantize(x, kind.granularity)
    wrong = np.full_like(right, scale)
    assert verdict(cpu, kind, x, q, wrong) == (x.size + right.size, 0)


@each_kind
@pytest.mark.parametrize("seed", range(3))
def test_a_judge_s_verdict_on_flipped_bits_is_numpy_s(cpu: Cpu, kind: Kind, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for shape in shapes(kind):
        x = values(shape, seed)
        q, scale = flipped(rng, *quantize(x, kind.granularity))
        grid, block = int(rng.integers(1, 20)), int(rng.integers(1, 200))
        assert verdict(cpu, kind, x, q, scale, grid=grid, block=block) == by_the_rules(kind, x, q, scale)


def flipped(rng: np.random.Generator, q: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One bit in about 1 of 20 elements of both; in half of the scales the last, which may stay right."""
    q = q ^ np.where(rng.random(q.shape) < 0.05, 1 << rng.integers(0, 8, q.shape), 0).astype(np.uint8)
    places = np.where(rng.random(scale.shape) < 0.5, 0, rng.integers(0, 32, scale.shape))
    change = np.where(rng.random(scale.shape) < 0.05, np.uint32(1) << places.astype(np.uint32), 0).astype(np.uint32)
    return q, (scale.view(np.uint32) ^ change).view(np.float32)


@pytest.mark.parametrize("parity", [0, 1])
def test_a_judge_is_exact_about_midpoints(cpu: Cpu, parity: int) -> None:
    """Scale 1: from four ulp below each midpoint to four above, with the codes on both sides, even and odd apart."""
    below = np.arange(parity, E4M3.largest, 2)
    near = midpoints(E4M3)[below].view(np.int32)[:, None] + np.arange(-4, 5, dtype=np.int32)
    x = np.tile(near.view(np.float32).reshape(1, -1), (4, 1))
    x[2:] *= -1
    q = np.repeat(below, 9) + np.array([[0], [1], [SIGN], [SIGN + 1]])
    pad = -x.shape[1] % 16
    x, q = np.pad(x, ((0, 0), (0, pad))), np.pad(q, ((0, 0), (0, pad))).astype(np.uint8)
    scale = np.ones(1, np.float32)
    for row in range(4):
        one = np.s_[row : row + 1]
        expected = by_the_rules(KINDS[0], x[one], q[one], scale)
        assert 0 < expected[0] < x.shape[1]
        assert verdict(cpu, KINDS[0], x[one].copy(), q[one].copy(), scale) == expected


def test_a_scale_that_fits_a_part_of_the_tensor_is_wrong(cpu: Cpu) -> None:
    """One block of the judge finds the scale's amax, and another a larger one."""
    x = np.full((64, 128), 0.5, np.float32)
    x[-1, -1] = 0.75
    scale = np.array([0.5 / 448], np.float32)
    q = np.full(x.shape, 0x7E, np.uint8)  # 448, under this scale right for 0.75 too
    assert verdict(cpu, KINDS[0], x, q, scale, grid=16, block=64) == (1, x.size)
    assert verdict(cpu, KINDS[0], np.minimum(x, 0.5), q, scale, grid=16, block=64) == (0, 2**64 - 1)


@each_kind
def test_a_nan_is_no_byte_of_anything(cpu: Cpu, kind: Kind) -> None:
    """Under a scale so small that nearly all quotients are beyond 448."""
    x = np.ones(shapes(kind)[1], np.float32)
    q = np.full(x.shape, 0x7F, np.uint8)
    scale = np.full(kind.granularity.scale_shape(x.shape), 1e-3, np.float32)
    assert verdict(cpu, kind, x, q, scale) == (x.size + scale.size, 0)
    assert verdict(cpu, kind, x, np.full_like(q, 0x7E), scale) == (scale.size, x.size)


@each_kind
def test_a_verdict_adds_up(cpu: Cpu, kind: Kind) -> None:
    """The grader judges round after round into one verdict."""
    x = values(shapes(kind)[1])
    q, scale = quantize(x, kind.granularity)
    q.flat[3] ^= 0x10
    found = NONE_WRONG.copy()
    for _ in range(3):
        cpu.run(f"judge_{kind.name}", x, q, scale * 2, *x.shape, found, grid=300, block=32)
    once = by_the_rules(kind, x, q, scale * 2)
    assert (int(found[0]), int(found[1])) == (3 * once[0], once[1])


# ---- on a GPU, at sizes at which its launches fill the device

GPU_SHAPES: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((8192, 2048), (1111, 1040), (1, 16)),
    3: ((4, 2048, 2048), (3, 1040, 1936), (64, 16, 16)),
}


@pytest.mark.gpu
@each_kind
def test_on_a_gpu_a_kernel_gives_numpy_s_bits(gpu: Gpu, kind: Kind) -> None:
    for shape in GPU_SHAPES[len(kind.granularity.block)]:
        x = values(shape)
        q, scale = quantized(gpu, kind, x, grid=1024, block=256)
        expected_q, expected_scale = quantize(x, kind.granularity)
        np.testing.assert_array_equal(scale.view(np.uint32), expected_scale.view(np.uint32))
        np.testing.assert_array_equal(q, expected_q)


@pytest.mark.gpu
@each_kind
def test_on_a_gpu_a_judge_s_verdict_is_numpy_s(gpu: Gpu, kind: Kind) -> None:
    rng = np.random.default_rng(5)
    for shape in GPU_SHAPES[len(kind.granularity.block)]:
        x = values(shape)
        q, scale = quantize(x, kind.granularity)
        assert verdict(gpu, kind, x, q, scale, grid=1024, block=256) == (0, 2**64 - 1)
        one = q.copy()
        one.flat[-1] ^= 0x04
        assert verdict(gpu, kind, x, one, scale, grid=1024, block=256) == (1, q.size - 1)
        q, scale = flipped(rng, q, scale)
        assert verdict(gpu, kind, x, q, scale, grid=1024, block=256) == by_the_rules(kind, x, q, scale)


@pytest.mark.gpu
def test_on_a_gpu_a_tensor_whose_scale_alone_is_wrong_has_one_wrong_element(gpu: Gpu) -> None:
    """Two ulp off, at many seeds' amax: some blocks of the judge say yes, some say more."""
    for seed in range(20):
        x = values((512, 1024), seed)
        scale = compute_scales(x, PER_TENSOR)
        q = quantize(x, PER_TENSOR)[0]
        wrong: Any = (scale.view(np.int32) + np.int32(2 if seed % 2 else -2)).view(np.float32)
        assert verdict(gpu, KINDS[0], x, q, wrong, grid=1024, block=256) == by_the_rules(KINDS[0], x, q, wrong)

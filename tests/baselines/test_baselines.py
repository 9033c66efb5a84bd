"""A baseline of another data type: one class and one line, and everything that times or shows knows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
import pytest

from grader import reports
from grader.baselines import registry
from grader.baselines.baseline import SINGLE_MATRIX, Baseline, Device, Route
from grader.baselines.cublas_fp32 import CublasFp32
from grader.baselines.cublas_moe import CublasMoe
from grader.baselines.cublaslt_fp8 import CublasltFp8
from grader.baselines.device_copy import DeviceCopy
from grader.baselines.work import TENSOR_CORES, Work
from grader.errors import GraderError
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Array, Case, Exercise, Floor, Kernel, Parameter
from grader.model.result import Result, Status
from grader.reference_kernels import cublas
from grader.reference_kernels.cublas import GroupedSizes, Operands
from grader.reports.text import inert
from tests.fake_gpu import FakeGpu
from tests.fakes import TOML, write_exercise
from tests.grading.test_gpu_lane import ANOTHER, grade, quick  # noqa: F401 - a fixture

CASE = Case(
    "even",
    True,
    {
        "A_concat": Array("A_concat", np.zeros((6, 8), np.float32)),
        "B_concat": Array("B_concat", np.zeros((2, 8, 16), np.float32)),
        "C_concat": Array("C_concat", np.empty((6, 16), np.float32), "out"),
        "M_sizes": Array("M_sizes", np.array([4, 2], np.int32)),
        "K": 8,
        "N": 16,
    },
    "",
)
KERNEL = Kernel(
    "grouped_gemm_kernel",
    (Parameter("A_concat", "const float*"), Parameter("C_concat", "float*"), Parameter("K", "int")),
    (),
)
EXERCISE = Exercise("01_x", "x", Path(), (KERNEL,), {}, baseline="fastest")


def test_a_grouped_gemm_in_fp32() -> None:
    assert CublasFp32.problem(EXERCISE, CASE) == {"M_sizes": (4, 2), "K": 8, "N": 16, "padded": False}
    compared = msgspec.structs.replace(EXERCISE, floors=(Floor("padded", 1.3, (CASE.name,)),))
    assert CublasFp32.problem(compared, CASE)["padded"]
    moved = 4 * (6 * 8 + 2 * 8 * 16 + 6 * 16) + 8
    assert CublasFp32.work(EXERCISE, CASE) == Work(2.0 * 6 * 8 * 16, moved)
    assert CublasFp32.called("strided") == "cublas strided"


def test_what_is_no_grouped_gemm_is_refused() -> None:
    other = msgspec.structs.replace(CASE, arguments={"n": 5})
    with pytest.raises(GraderError, match="case even is not a grouped GEMM"):
        CublasFp32.problem(EXERCISE, other)


def test_a_grouped_gemm_in_fp8() -> None:
    exercise = catalog.read(Path(__file__).parents[2] / "exercises" / "05_fp8_grouped_gemm")
    case = next(case for case in Oracle(exercise).cases(1) if case.name == "uniform")
    chosen = registry.find(exercise.baseline)
    assert chosen.baseline is CublasltFp8
    assert CublasltFp8.problem(exercise, case) == {"M_sizes": (128,) * 4, "K": 256, "N": 256}
    assert CublasltFp8.work(exercise, case).flops == 2.0 * 512 * 256 * 256
    arrays = {name: value for name, value in case.arguments.items() if isinstance(value, Array)}
    for name, dtype in (*CublasltFp8.reads.items(), CublasltFp8.writes):
        assert arrays[name].data.dtype == dtype
    assert [name for name in CublasltFp8.routes if chosen.decides(name)] == ["sequence", "streams"]


class Region(NamedTuple):
    """An array of every set, nowhere."""

    dtype: np.dtype
    elements: int
    name: str
    sets: int = 2
    stride: int = 0
    base: int = 0
    bytes: int = 0

    def pointer(self, index: int) -> int:
        return hash((self.name, index))


class Multiplied:
    """cuBLAS's routes, which remember what they were to multiply."""

    unavailable: ClassVar[dict[str, str]] = {}
    version = "13.1.0"
    done: ClassVar[list[tuple[str, GroupedSizes, Operands]]] = []

    def __init__(self, sizes: GroupedSizes, operands: list[Operands]) -> None:
        def enqueued(name: str) -> Callable[[Any, int], None]:
            return lambda _, index: self.done.append((name, sizes, operands[index]))

        self.enqueue = {name: enqueued(name) for name in ("grouped", "streams", "strided", SINGLE_MATRIX)}

    def close(self) -> None: ...


def test_the_products_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each product once for each layout; the second writes what is judged."""
    exercise = catalog.read(Path(__file__).parents[2] / "exercises" / "06_moe_layer")
    case = next(case for case in Oracle(exercise).cases(1) if case.name == "variable")
    chosen = registry.find(exercise.baseline)
    assert chosen.baseline is CublasMoe
    problem = CublasMoe.problem(exercise, case)
    rows = (64, 128, 32, 256, 16, 192, 96, 48)
    assert problem == {"M_sizes": rows, "hidden": 192, "intermediate": 128}
    assert CublasMoe.work(exercise, case).flops == 2 * 2 * 832 * (192 * 256 + 128 * 192)
    arrays = {name: value for name, value in case.arguments.items() if isinstance(value, Array)}
    for name, dtype in (*CublasMoe.reads.items(), CublasMoe.writes):
        assert arrays[name].data.dtype == dtype

    monkeypatch.setattr(cublas, "Routes", Multiplied)
    regions = {name: Region(array.data.dtype, array.data.size, name) for name, array in arrays.items()}
    device = Device(2, regions, lambda dtype, shape: Region(dtype, math.prod(shape), f"own {shape}"))
    baseline = CublasMoe(problem, device)
    assert set(baseline.enqueue) == {"grouped", "streams"}
    baseline.enqueue["streams"](None, 1)
    product, out = (hash((f"own (832, {columns})", 1)) for columns in (256, 192))
    gate_up = ("streams", GroupedSizes(rows, 192, 256), Operands(hash(("A", 1)), hash(("W_gate_up", 1)), product))
    down = ("streams", GroupedSizes(rows, 128, 192), Operands(hash(("h", 1)), hash(("W_down", 1)), out))
    assert Multiplied.done == [gate_up, down, gate_up, down]
    assert baseline.output is not None
    assert baseline.output.elements == arrays["down_out"].data.size


def test_what_is_no_layer_is_refused() -> None:
    with pytest.raises(GraderError, match="case even is not an MoE layer"):
        CublasMoe.problem(EXERCISE, CASE)


def test_a_copy_moves_what_the_kernels_read_and_write() -> None:
    assert DeviceCopy.problem(EXERCISE, CASE) == {"moved_bytes": 4 * (6 * 8 + 6 * 16)}
    assert DeviceCopy.work(EXERCISE, CASE) == Work(0.0, 576.0)
    assert DeviceCopy.called("copy") == "copy"


def test_an_exercise_may_name_one_route() -> None:
    assert registry.find("fastest") == ("fastest", None)
    strided = registry.find("strided")
    assert strided == ("fastest", "strided")
    assert [name for name in CublasFp32.routes if strided.decides(name)] == ["strided"]
    assert not registry.find("fastest").decides(SINGLE_MATRIX)
    assert registry.find(SINGLE_MATRIX).decides(SINGLE_MATRIX)


class BlockScales(Baseline):
    """As a library for FP8 would say it. Nothing of it runs here."""

    name = "fp8"
    label = "the FP8 library"
    reads: ClassVar[Mapping[str, str]] = {"A_concat": "uint8", "B_concat": "uint8"}
    writes = ("C_concat", "uint16")
    peak = TENSOR_CORES
    routes: ClassVar[Mapping[str, Route]] = {
        "forked": Route("block scales, forked streams"),
        "in_turn": Route("block scales, in turn"),
        "per_tensor": Route("one scale per tensor", decides=False),
    }

    def __init__(self, problem: Mapping[str, Any], device: Device) -> None:
        raise AssertionError("there is no GPU")

    @classmethod
    def problem(cls, _: Exercise, case: Case) -> dict[str, Any]:
        return {"rows": len(case.arguments)}

    @classmethod
    def work(cls, _: Exercise, __: Case) -> Work:
        return Work(1e9, 1e4)


US = {"submission": 10.0, "forked": 9.0, "in_turn": 12.0, "per_tensor": 4.0}


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setitem(registry.BASELINES, "block_scales", BlockScales)
    toml = TOML.replace('baseline = "fastest"', 'baseline = "block_scales"')
    exercise = catalog.read(write_exercise(tmp_path / "exercises" / "05_fp8", toml=toml, oracle=ANOTHER))
    assert exercise.against == "the FP8 library"
    return grade(exercise, FakeGpu(contenders=US, times=lambda name, _: 1e4 * US[name]))


def test_the_fastest_route_that_decides_is_the_baseline(result: Result) -> None:
    check = next(check for check in result.checks if check.family == "speed")
    measured = check.measurements
    assert check.status is Status.PASSED
    assert "10.0 us, the FP8 library (forked) 9.0 us: 0.90 of its speed" in check.message
    assert (measured.baseline, measured.route, measured.units) == ("fp8 forked", "forked", "the tensor cores")
    assert measured.routes_us == pytest.approx({"forked": 9.0, "in_turn": 12.0})
    assert measured.shown_us == pytest.approx({"per_tensor": 4.0})
    assert measured.roof_share == pytest.approx(1e9 / 2141e12 / 10e-6, rel=0.01)


def test_faces_call_it_by_its_own_words(result: Result) -> None:
    page = inert(reports.render(result))
    for said in ("the FP8 library forked", "block scales, forked streams", "one scale per tensor", "tensor cores"):
        assert said in page
    assert "cuBLAS" not in page
    assert "FP32" not in page

"""The kernels of this folder on the CPU engine, in this process: launch function, then kernel.

All solve the problem of hopper.cuh. Many are compiled at once, for reading the headers takes longer than the rest; so
line n of kernel i is line `STRIDE * (i + 1) + n` of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grader import ptx
from grader.compile import nvrtc
from grader.compile.recipe import PTX_ARCH
from grader.launching.plan import decode_launch, request_launch
from grader.model.execution import LaunchConfig, TensorMap
from grader.model.exercise import Array, Case, Kernel, Parameter

FOLDER = Path(__file__).parent
RIGHT = tuple(sorted((FOLDER / "right").glob("*.cu")))
HEADER = FOLDER / "hopper.cuh"
ROWS, COLUMNS, DEPTH = 128, 32, 256
STRIDE = 1000
SECONDS = 20.0
PARAMETERS = (Parameter("a", "const u16*"), Parameter("b", "const u16*"), Parameter("d", "float*"))


def kernel(number: int | None = None) -> Kernel:
    return Kernel("gemm_kernel" if number is None else f"gemm_{number}_kernel", PARAMETERS, ())


def case(seed: int = 5) -> Case:
    """Small integers, so that every order of summing gives the same, also in FP16."""
    random = np.random.default_rng(seed)
    a, b = (random.integers(-2, 3, (rows, DEPTH)).astype(np.float16).view(np.uint16) for rows in (ROWS, COLUMNS))
    d = Array("d", np.zeros((ROWS, COLUMNS), np.float32), "inout")
    return Case("hopper", True, {"a": Array("a", a), "b": Array("b", b), "d": d}, "")


def expected(of: Case) -> np.ndarray:
    a, b = (of.arguments[name] for name in "ab")
    assert isinstance(a, Array)
    assert isinstance(b, Array)
    return a.data.view(np.float16).astype(np.float32) @ b.data.view(np.float16).astype(np.float32).T


def source(text: str) -> str:
    """One kernel as a submission."""
    return f"{HEADER.read_text(encoding='utf-8')}{text}"


@dataclass(frozen=True)
class Ran:
    findings: tuple[ptx.Report, ...]
    d: np.ndarray


class Kernels:
    """Several kernels, compiled together. Raises AssertionError where they do not compile."""

    def __init__(self, texts: Sequence[str]) -> None:
        parts = [f'#line 1 "hopper.cuh"\n{HEADER.read_text(encoding="utf-8")}']
        for number, text in enumerate(texts):
            includes = [line for line in text.splitlines() if line.startswith("#include")]
            body = "".join("\n" if line in includes else line + "\n" for line in text.splitlines())
            parts[0] += "\n".join(["", *includes, ""])
            parts.append(
                f"#define gemm_kernel gemm_{number}_kernel\n#define launch_gemm launch_gemm_{number}\n"
                f'namespace kernel_{number} {{\n#line {STRIDE * (number + 1) + 1} "kernel.cu"\n{body}}}\n'
                "#undef gemm_kernel\n#undef launch_gemm\n"
            )
        built = nvrtc.build("".join(parts), PTX_ARCH)  # which takes #line, as a submission may not use it
        assert built.ok, built.log
        self._program = ptx.Program(ptx.parse(built.ptx))

    def run(self, number: int, of: Case | None = None) -> Ran:
        """Lines of the findings are those of the kernel's own text. Raises ptx.Unsupported."""
        of, config = of or case(), self.config(number)
        arrays = [value for value in of.arguments.values() if isinstance(value, Array)]
        d = np.zeros((ROWS, COLUMNS), np.float32)
        data = {"d": d, **{array.name: array.data for array in arrays if array.name != "d"}}
        given: list[ptx.Argument] = [ptx.Buffer(p.name, data[p.name], p.is_output) for p in PARAMETERS]
        execution = self._program.run(
            kernel(number).name,
            grid=config.grid,
            block=config.block,
            cluster=config.cluster if any(config.cluster) else None,
            shared_bytes=config.shared_bytes,
            arguments=[*given, *map(_tensor_map, config.tensor_maps)],
            limits=ptx.Limits(seconds=SECONDS),
        )
        return Ran(execution.findings, d)

    def config(self, number: int) -> LaunchConfig:
        _, arrays = request_launch(kernel(number), case())
        launch = ptx.Buffer("launch", arrays[-1].data.copy(), writable=True)
        self._program.run(f"launch_gemm_{number}", grid=(1, 1, 1), block=(1, 1, 1), arguments=[launch])
        return decode_launch(launch.data)


def _tensor_map(of: TensorMap) -> ptx.TensorMap:
    dim, stride, box = of.dim[: of.rank], of.stride[: of.rank - 1], of.box[: of.rank]
    return ptx.TensorMap(of.array, of.type, of.offset, dim, stride, box, of.steps, swizzle=of.swizzle)

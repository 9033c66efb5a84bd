"""The CUDA executor: NVRTC compiles for the available GPU, which runs the code. The child process runs this file.

It sees one GPU, which the parent chose with CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

from grader.compile.toolkit import ToolkitMissing
from grader.machine import DRIVER, LEAST_CAPABILITY, LEAST_CUDA
from grader.sandbox import confine
from grader.sandbox.channel import MAX_MESSAGE_BYTES
from grader.sandbox.messages import (
    Built,
    Describe,
    Described,
    Faulted,
    Measure,
    Measured,
    Prepare,
    Prepared,
    Ran,
    Run,
    Sweep,
    Swept,
    Trace,
    Traced,
    Upload,
    Uploaded,
    Verified,
    Verify,
)
from grader.sandbox.serve import SetupError, serve

if TYPE_CHECKING:
    from grader.executors.bench import Bench
    from grader.executors.gpu_runs import GpuSubmission
    from grader.model.execution import Gpu

T = TypeVar("T")

MAX_SENT_BYTES = MAX_MESSAGE_BYTES - (1 << 20)


class CudaEngine:
    """Holds one submission and, while it is timed, its bench."""

    warm = ("cupy_backends.cuda.api.runtime", "grader.executors.gpu_runs", "grader.compile.compiler")

    def __init__(self) -> None:
        self._gpu: Gpu | None = None
        self._submission: GpuSubmission | None = None
        self._bench: Bench | None = None
        self._timed = ""

    def load_rest(self) -> None:
        """None: in the main thread alone: modules of CuPy import each other."""

    def compile(self, text: str) -> Built:
        from grader.compile import compiler, recipe

        try:
            compiled = compiler.compile_text(text, recipe.gpu_arch(self._device().compute_capability))
        except ToolkitMissing as error:
            raise SetupError(str(error)) from None
        self.load(compiled.ptx, compiled.cubin)
        if len(compiled.ptx) + len(compiled.cubin) > MAX_SENT_BYTES:  # the parent gets nothing to cache
            compiled = msgspec.structs.replace(compiled, ptx="", cubin=b"")
        return Built(compiled)

    def load(self, ptx: str, cubin: bytes) -> None:
        from grader.executors.gpu_runs import GpuSubmission

        if self._gpu is not None:
            threading.Thread(target=_warm_quietly, args=(self._gpu.compute_capability,), daemon=True).start()
        self._submission, self._bench = GpuSubmission(ptx, cubin), None

    def run(self, request: Run, arrays: dict[str, np.ndarray]) -> Ran:
        assert self._submission is not None
        self._device()
        return self._submission.run(request, arrays)

    def describe(self, _: Describe, __: dict[str, np.ndarray]) -> Described:
        return Described(self._device())

    def upload(self, request: Upload, arrays: dict[str, np.ndarray]) -> Uploaded | Faulted:
        from grader.executors.bench import Bench

        assert self._submission is not None
        kernels = self._submission.kernels
        if self._bench is not None:
            self._bench.close()
            self._bench = None
        self._timed = ", ".join(dict.fromkeys(i.kernel for i in request.invocations))
        made = _blamed(self._timed, lambda: Bench(kernels, request, arrays))
        if isinstance(made, Faulted):
            return made
        self._bench = made
        return Uploaded()

    def prepare(self, _: Prepare, __: dict[str, np.ndarray]) -> Prepared | Faulted:
        bench = self._bench
        assert bench is not None
        return _blamed(self._timed, bench.prepare)

    def measure(self, request: Measure, _: dict[str, np.ndarray]) -> Measured | Faulted:
        bench = self._bench
        assert bench is not None
        return _blamed(self._timed, lambda: bench.measure(request))

    def sweep(self, request: Sweep, _: dict[str, np.ndarray]) -> Swept | Faulted:
        from grader.executors import sweep

        assert self._submission is not None
        kernels = self._submission.kernels
        named = ", ".join(i.kernel for i in request.invocations)
        return _blamed(named, lambda: sweep.run(kernels, request))

    def trace(self, _: Trace, __: dict[str, np.ndarray]) -> Traced | Faulted:
        submission, bench = self._submission, self._bench
        assert submission is not None
        assert bench is not None
        return _blamed(self._timed, lambda: Traced(bench.trace(submission.ptx)))

    def verify(self, request: Verify, arrays: dict[str, np.ndarray]) -> Verified:
        assert self._bench is not None
        return self._bench.verify(request, arrays)

    def _device(self) -> Gpu:
        """The GPU, initialised on first use. Raises SetupError if it cannot be used."""
        if self._gpu is None:
            try:
                from grader.executors import device
            except ImportError as error:
                raise SetupError(f"{error}; install with: python -m pip install 'cupy-cuda13x>=14.2,<15'") from None
            try:
                device.start()
                self._gpu = device.describe()
            except (RuntimeError, *device.CudaError) as error:
                raise SetupError(f"the GPU cannot be used: {error}; is its driver 580 or newer?") from None
        if self._gpu.driver_cuda < LEAST_CUDA:
            raise SetupError(
                f"the driver runs CUDA {self._gpu.driver_cuda // 1000}; the grader needs CUDA 13: {DRIVER}"
            )
        if self._gpu.compute_capability < LEAST_CAPABILITY:
            major, minor = self._gpu.compute_capability
            raise SetupError(
                f"{self._gpu.name} has compute capability {major}.{minor}; the grader needs 7.5 or newer"
            )
        return self._gpu


def _blamed(kernels: str, call: Callable[[], T]) -> T | Faulted:
    """Errors that a submission causes on the GPU are its own fault; a lack of resources, mainly memory, is not."""
    from grader.executors import device
    from grader.executors.gpu_runs import Lost, blaming
    from grader.reference_kernels.cublas import CublasError

    try:
        with blaming(kernels, memory=False):
            return call()
    except Lost as lost:
        return Faulted(lost.finding)
    except CublasError as error:
        raise SetupError(str(error)) from None
    except device.CudaError as error:
        raise SetupError(f"the GPU cannot time this: {error}; do other programs hold its memory?") from None


def _warm_quietly(compute_capability: tuple[int, int]) -> None:
    """Loads what timing will need. If this fails, it fails again in `upload`, where it is reported."""
    with contextlib.suppress(Exception):
        from grader.executors import bench
        from grader.reference_kernels import cublas

        cublas.load()
        bench.build(compute_capability)


if __name__ == "__main__":
    engine = CudaEngine()
    serve(
        engine,
        {
            Describe: engine.describe,
            Upload: engine.upload,
            Prepare: engine.prepare,
            Measure: engine.measure,
            Verify: engine.verify,
            Sweep: engine.sweep,
            Trace: engine.trace,
        },
        confine.GPU,
    )

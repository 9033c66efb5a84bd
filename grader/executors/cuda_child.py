"""CudaChild: a submission in its own process, which runs it on a GPU, as an Executor, and times it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from grader.compile import recipe
from grader.model.execution import Compilation, Gpu, Invocation, Outcome
from grader.model.exercise import Array
from grader.model.measurements import Balance
from grader.sandbox import ChildFailed, arena, confine
from grader.sandbox.child import Child
from grader.sandbox.messages import (
    AGAIN,
    Describe,
    Described,
    Judges,
    Measure,
    Measured,
    Prepare,
    Prepared,
    Sweep,
    Swept,
    Trace,
    Traced,
    Upload,
    Uploaded,
    Verified,
    Verify,
)
from grader.sandbox.process import Process

START_SECONDS = 60.0  # the first CUDA call on a machine may take long
TIMING_SECONDS = 60.0  # per request while timing; answers take far less than a second
SWEEP_SECONDS = 120.0  # 2^32 inputs per kernel: a second on a large GPU, half a minute on a small one


class CudaChild(Child):
    """Owns `process`, as Child does."""

    def __init__(self, process: Process) -> None:
        super().__init__(process, "cuda")
        self._gpu: Gpu | None = None

    def describe(self) -> Gpu:
        """Raises ChildFailed, which says why, if there is no GPU that the grader can use."""
        if self._gpu is None:
            try:
                self._gpu = self.ask(Describe(), Described, START_SECONDS).gpu
            except ChildFailed as error:
                self._gpu = self._described_unconfined(error)
            self.arch = recipe.gpu_arch(self._gpu.compute_capability)
        return self._gpu

    def _described_unconfined(self, error: ChildFailed) -> Gpu:
        """A driver may need something outside the sandbox. The child has not seen a submission yet, so try without.

        `unconfined` then says so. Raises the first error if that does not help.
        """
        if confine.SWITCHED_OFF in self.unconfined:
            raise error
        self.process.close()
        self.process = self.process.again({confine.SWITCH: "off"})
        self._ready = False
        try:
            gpu = self.ask(Describe(), Described, START_SECONDS).gpu
        except ChildFailed:
            raise error from None
        self.unconfined = (f"CUDA does not start in a confined process: {error}",)
        return gpu

    def compile(self, source_bytes: bytes, filename: str) -> Compilation:
        self.describe()
        return super().compile(source_bytes, filename)

    def cache_key(self, text: str) -> str:
        """Not the CPU's cache, which stores no machine code."""
        return hashlib.sha256(b"cubin " + super().cache_key(text).encode()).hexdigest()

    def run(self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...], *, deadline: float) -> Outcome:
        """Each output comes twice: see Outcome."""
        twins = tuple(Array(a.name + AGAIN, a.data, "out") for a in arrays if a.access == "out")
        outcome = super().run(invocations, (*arrays, *twins), deadline=deadline)
        again = {twin.name.removesuffix(AGAIN): outcome.outputs.pop(twin.name) for twin in twins}
        return msgspec.structs.replace(outcome, again=again)

    def upload(
        self,
        invocations: tuple[Invocation, ...],
        sets: Sequence[Mapping[str, Array]],
        workspace_bytes: int,
        baseline: str,
        problem: dict[str, Any],
        judges: Judges | None = None,
    ) -> None:
        """Uploads what will be timed, against the named baseline. `sets`: the arrays by name, the same in each."""
        arrays = [
            Array(f"{name}/{index}", array.data)
            for index, members in enumerate(sets)
            for name, array in members.items()
            if array.access == "in"
        ]
        outputs = {n: (a.data.dtype.str, a.data.shape) for n, a in sets[0].items() if a.access == "out"}
        slots, size = arena.place(arrays)
        arena.store(self.process.arena, arrays, slots, size)
        request = Upload(invocations, slots, size, len(sets), outputs, workspace_bytes, baseline, problem, judges)
        self.ask(request, Uploaded, TIMING_SECONDS)

    def prepare(self) -> Prepared:
        """Prepares the upload. It decides by measuring what is worth timing, so it needs the GPU exclusively."""
        return self.ask(Prepare(), Prepared, TIMING_SECONDS)

    def sweep(self, request: Sweep) -> Swept:
        return self.ask(request, Swept, SWEEP_SECONDS)

    def measure(self, rounds: int, contenders: tuple[str, ...], *, keep: bool) -> Measured:
        return self.ask(Measure(rounds, contenders, keep), Measured, TIMING_SECONDS)

    def trace(self) -> Balance | None:
        """How the blocks of what was timed share its work. Needs the GPU exclusively."""
        return self.ask(Trace(), Traced, TIMING_SECONDS).balance

    def verify(self, references: Sequence[Mapping[str, np.ndarray]], tolerance: float) -> Verified:
        """`references`: the FP64 outputs of each set, by name."""
        arrays = [
            Array(f"{name}/{index}", values)
            for index, members in enumerate(references)
            for name, values in members.items()
        ]
        slots, size = arena.place(arrays)
        arena.store(self.process.arena, arrays, slots, size)
        return self.ask(Verify(slots, size, tolerance), Verified, TIMING_SECONDS)

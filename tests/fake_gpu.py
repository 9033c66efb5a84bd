"""A child with a GPU that behaves as a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from grader.model.execution import Compilation, Gpu, Invocation, Outcome
from grader.model.exercise import Array
from grader.sandbox.messages import DeviceVerdict, Judges, Measured, Occupancy, Prepared, Sweep, Swept, Verified
from tests.fakes import COMPILED, LAUNCH, Arrays, FakeExecutor, right
from tests.timing.samples import H200

US = {"submission": 10.0, "strided": 9.0, "grouped": 12.0, "single_matrix": 8.0}


def _any(name: str) -> float:
    return (US | {"copy": 9.0})[name]


def twice(arrays: Arrays) -> Outcome:
    """Right over both kinds of rubbish."""
    outcome = right(arrays)
    return Outcome(outputs=outcome.outputs, again=dict(outcome.outputs))


class FakeGpu(FakeExecutor):
    """Stands for CudaChild. `times` gives the microseconds of a contender in the nth process that times."""

    device = "cuda"

    def __init__(
        self,
        *,
        gpu: Gpu | Exception = H200,
        compilation: Compilation = COMPILED,
        compute: Callable[[Arrays], Outcome] = twice,
        times: Callable[[str, int], float] = lambda name, _: _any(name),
        launch: object = LAUNCH,
        contenders: Mapping[str, float] = US,
    ) -> None:
        super().__init__(compilation=compilation, compute=compute, launch=launch)  # type: ignore[arg-type]
        self._gpu = gpu
        self._times = times
        self.timed = 0
        self.measure_error: Exception | None = None
        self.prepared_sets: list[int] = []
        self._contenders = contenders
        self._judges: Judges | None = None
        self._invocations: tuple[Invocation, ...] = ()
        self.wrong_while_timed: dict[str, DeviceVerdict] = {}
        self.swept: dict[str, DeviceVerdict] = {}

    def describe(self) -> Gpu:
        if isinstance(self._gpu, Exception):
            raise self._gpu
        return self._gpu

    def upload(
        self,
        invocations: tuple[Invocation, ...],
        sets: Sequence[Mapping[str, Array]],
        workspace_bytes: int,
        baseline: str,
        problem: object,
        judges: Judges | None = None,
    ) -> None:
        self._judges, self._invocations = judges, invocations
        self.prepared_sets.append(len(sets))

    def prepare(self) -> Prepared:
        self.timed += 1
        occupancy = tuple(Occupancy(i.kernel, 8, 0.5, 128) for i in self._invocations)
        return Prepared(dict.fromkeys(self._contenders, self.prepared_sets[-1]), {}, 0.7, occupancy, "13.1.0")

    def measure(self, rounds: int, contenders: tuple[str, ...], *, keep: bool) -> Measured:
        """So many launches that little time has to pass for the claimed one."""
        if self.measure_error is not None:
            raise self.measure_error
        times = {name: (self._times(name, self.timed) / 1e4,) * rounds for name in contenders}
        return Measured(times, sum(map(sum, times.values())) * self.prepared_sets[-1] / 1e6)

    def verify(self, references: Sequence[Mapping[str, np.ndarray]], tolerance: float) -> Verified:
        if self._judges is not None:
            assert not references
            wrong = sum(verdict.wrong for verdict in self.wrong_while_timed.values())
            return Verified(None, wrong, 100, {}, self.wrong_while_timed)
        assert len(references) == self.prepared_sets[-1]
        return Verified(1e-6, 0, 100, {"strided": 0, "grouped": 0})

    def sweep(self, request: Sweep) -> Swept:
        return Swept(self.swept, 2**32, 0.5)

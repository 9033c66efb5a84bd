"""Times one submission on a GPU: inputs for every case, fresh processes if one leaves it undecided, the check.

Only the rounds themselves need the GPU exclusively. What comes before and after, uploading inputs and
verifying outputs, shares it with submissions that are not being timed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from grader.baselines import registry
from grader.checks import speed
from grader.errors import GraderError
from grader.executors.cuda_child import CudaChild
from grader.exercise.oracle import Expected, Oracle
from grader.grading.gpu_cases import at_line
from grader.grading.runs import Plans
from grader.launching import invocations
from grader.model.execution import CompiledKernel, Gpu
from grader.model.exercise import Case, Exercise
from grader.model.measurements import Balance
from grader.model.result import Check
from grader.sandbox import ChildDied, ChildFailed, ChildFaulted, ChildTimeout
from grader.sandbox.messages import Verified
from grader.sandbox.runner import Runner
from grader.timing import gate, inputs, lock, session
from grader.timing.clocks import Clocks
from grader.timing.gate import Decision
from grader.timing.inputs import Sets
from grader.timing.session import Alone, Timing, TooFewRounds

FRESH_PROCESSES = 2  # extra ones if one process leaves the verdict undecided


class GpuTiming:
    """`runner` holds the submission; if a case is borderline, its child is replaced by fresh ones."""

    def __init__(
        self,
        gpu: Gpu,
        exercise: Exercise,
        filename: str,
        runner: Runner[CudaChild],
        kernels: Sequence[CompiledKernel],
    ) -> None:
        self._gpu, self._exercise, self._filename = gpu, exercise, filename
        self._runner, self._kernels = runner, kernels
        self._baseline = registry.find(exercise.baseline)
        self._sets: dict[str, list[Future[Case]]] = {}
        self._references: dict[str, list[Future[Expected]]] = {}
        self.version = ""  # of the baseline's library, known after the first timing

    def make_inputs(self, cases: Sequence[Case], oracle: Oracle, seed: int, makers: ThreadPoolExecutor) -> None:
        """Starts generating all input sets, and then the references, which are needed last."""
        for case in cases:
            self._sets[case.name] = [
                makers.submit(inputs.make, case, index, seed, oracle.another)
                for index in range(inputs.count(case, self._gpu))
            ]
        for name, sets in self._sets.items():
            by_reference = not self._exercise.judge_source
            self._references[name] = [makers.submit(_expected, oracle, one) for one in sets if by_reference]

    def check(self, case: Case, plans: Plans) -> Check:
        """speed[CASE]. Raises GraderError if the child dies for no known reason."""
        if self._gpu.compute_capability < self._baseline.baseline.least_capability:
            return speed.not_judged(self._exercise, case.name, self._too_old())
        sets = inputs.together(
            [one.result() for one in self._sets[case.name]], self._exercise, self._baseline.baseline
        )
        take = partial(self._take, case, plans, sets)
        timings: list[Timing] = []
        try:
            timings.append(take())
            if self._is_across(case, timings[0]) and case.name in self._exercise.speed_cases:
                for _ in range(FRESH_PROCESSES):
                    self._runner.close()
                    timings.append(take())
        except ChildFaulted as fault:
            self._runner.close()
            return speed.faulted(case, at_line(fault.finding, plans[-1].line))
        except ChildTimeout as failed:
            self._runner.close()
            return speed.not_finished(case, self._filename, f"did not finish: {failed}")
        except TooFewRounds as failed:
            return speed.not_judged(self._exercise, case.name, str(failed))
        except ChildDied as failed:
            self._runner.close()
            reason = failed.stderr if isinstance(failed, ChildFailed) else ""
            raise GraderError(" ".join([str(failed), *reason.strip().splitlines()[-1:]])) from None
        return speed.judge(
            self._exercise, case, timings, sets, self._gpu, self._kernels, self._filename, self._balance(case)
        )

    def _balance(self, case: Case) -> Balance | None:
        """How the blocks share the work. Only to look at, so whatever goes wrong costs the submission nothing."""
        if case.name not in self._exercise.balance_cases:
            return None
        try:
            with self._alone():
                return self._runner.ready().trace()
        except (ChildDied, ChildTimeout, ChildFaulted):
            self._runner.close()
            return None

    def _take(self, case: Case, plans: Plans, sets: Sets) -> Timing:
        """One process's measurement."""
        child = self._runner.ready()
        launches = invocations.of(self._exercise.kernels, case, plans)
        judges = invocations.judges(self._exercise, case)
        with lock.running(self._gpu.pci_bus_id):
            workspace = invocations.workspace_bytes(plans)
            child.upload(launches, sets.arrays, workspace, self._baseline.name, sets.problem, judges)
        timing = session.take(
            child,
            self._alone,
            partial(self._proof, child, case),
            baseline=self._baseline,
            threshold=self._exercise.threshold,
            floors=self._exercise.floors_of(case.name),
        )
        self.version = timing.version
        return timing

    def _too_old(self) -> str:
        baseline = self._baseline.baseline
        least, has = ("{}.{}".format(*one) for one in (baseline.least_capability, self._gpu.compute_capability))
        return f"{baseline.label} needs compute capability {least} for this, and the {self._gpu.name} has {has}"

    def _is_across(self, case: Case, timing: Timing) -> bool:
        floors = self._exercise.floors_of(case.name)
        found = [(timing.interval, self._exercise.threshold)] + [(timing.floors[n], floors[n]) for n in floors]
        return any(gate.decide(interval, threshold) is Decision.ACROSS for interval, threshold in found)

    @contextmanager
    def _alone(self) -> Iterator[Alone]:
        with lock.timing(self._gpu.pci_bus_id) as idle_seconds, Clocks(self._gpu.pci_bus_id) as clocks:
            yield Alone(clocks.read, idle_seconds)

    def _proof(self, child: CudaChild, case: Case) -> Verified:
        references = [reference.result() for reference in self._references[case.name]]
        with lock.running(self._gpu.pci_bus_id):
            return child.verify(references, self._exercise.tolerance)


def _expected(oracle: Oracle, one: Future[Case]) -> Expected:
    return oracle.expected(one.result())

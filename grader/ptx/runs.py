"""The runs of one launch: again from its start, where the first run leaves a doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grader.ptx.analysis.unwritten import Place
from grader.ptx.jit import NativeKernel
from grader.ptx.launch import Buffer, Fault, Launch
from grader.ptx.machine import Kind
from grader.ptx.opcodes.opcode import read_opcode

MOST_ROUNDS = 4  # in which loads of unwritten memory are found, each behind those of the round before
Compile = Callable[[frozenset[Place]], NativeKernel]  # takes the loads whose values it follows


class Runs:
    """Each starts with the buffers as they were given."""

    def __init__(self, make: Callable[..., Launch], arguments: Sequence[object], workers: int) -> None:
        """`make`: a Launch of a kernel."""
        writable = [a for a in arguments if isinstance(a, Buffer) and a.writable]
        self._arrays = [array for b in writable for array in (b.data, b.filled) if array is not None]
        self._given = [array.copy() for array in self._arrays]
        self._make, self._workers, self._fresh = make, workers, True

    def run_warps(self, kernel: NativeKernel) -> Launch | None:
        """A run warp by warp, that came to its end or is too slow. None: the scalar engine must run it again, which
        alone says what is wrong."""
        launch = self._once(kernel, serial=False)
        if launch.faults():
            return None
        return launch if launch.out_of_time or not (launch.in_doubt or launch.worn_out) else None

    def run(self, compile_: Compile) -> tuple[NativeKernel, Launch]:
        """Reads of what nothing wrote are told only where the value matters: then the loads that they are at are
        followed, in another run."""
        followed: frozenset[Place] = frozenset()
        for _ in range(MOST_ROUNDS):
            kernel = compile_(followed)
            launch = self._launch(kernel)
            more = _unwritten_loads(kernel, launch.faults()) - followed
            if launch.out_of_time or not more:
                break
            followed |= more
        return kernel, launch

    def _launch(self, kernel: NativeKernel) -> Launch:
        """Blocks run side by side where that makes no difference, else one at a time, in an order from the seed."""
        if self._workers > 1 and not kernel.lowered.between_blocks.meet:
            launch = self._once(kernel, serial=False)
            if launch.out_of_time or not launch.in_doubt:
                return launch
        return self._once(kernel, serial=True)

    def _once(self, kernel: NativeKernel, *, serial: bool) -> Launch:
        if not self._fresh:
            for array, given in zip(self._arrays, self._given, strict=True):
                array[...] = given
        self._fresh = False
        launch = self._make(kernel, serial=serial)
        launch.run(self._workers)
        return launch


def _unwritten_loads(kernel: NativeKernel, faults: Sequence[Fault]) -> frozenset[Place]:
    """None if anything else was found too: then that is the cause, or comes first."""
    sites = [kernel.lowered.sites[fault.site] for fault in faults]
    plain = all(fault.kind is Kind.UNINITIALISED_READ and not fault.other for fault in faults)
    if not plain or not all(read_opcode(site.opcode).traits.loads for site in sites):
        return frozenset()
    return frozenset((site.location, site.opcode) for site in sites)

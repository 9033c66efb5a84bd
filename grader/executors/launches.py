"""Runs invocations on the CPU engine: translates arguments for it, and its reports into findings."""

from __future__ import annotations

import threading
import zlib
from contextlib import suppress
from typing import TypedDict

import msgspec
import numpy as np

from grader import ptx
from grader.compile import recipe, toolkit
from grader.executors import counting
from grader.model.counted import KernelCounts
from grader.model.execution import GRID_TOO_LARGE, OUT_OF_TIME, Dim3, Invocation, Mapped
from grader.model.result import Finding, Related
from grader.ptx.counting import SAMPLE, Counter, Sample
from grader.ptx.syntax import Location
from grader.sandbox import bytecode
from grader.sandbox.messages import ArenaSlot, Ran, Run

MAX_PRINTED = 100_000  # characters
MAX_FINDINGS = 200
MAX_TEXT = 1000  # characters of a message or a note
MAX_NOTES = 20
# Budgets of a thread and a block, per byte of the problem. A single thread that computes a whole product
# runs 250 instructions per byte; a single block that does so passes 0.2 barriers per byte. Endless loops need more.
INSTRUCTIONS_PER_BYTE = 1000
BARRIERS_PER_BYTE = 0.5
LEAST_INSTRUCTIONS = 300_000_000
LEAST_BARRIERS = 100_000
# Of the barriers, those that blocks pass with nothing new in global memory. At most two for each k, where a tile is
# one element deep; of a K of 1024 at once in four blocks.
STALE_PER_BYTE = 0.004
LEAST_STALE = 10_000


def prepare() -> None:
    """What every kernel needs: loaded while NVRTC is still running."""
    ptx.prepare(bytecode.machine_code())


class CpuSubmission:
    """One PTX text, parsed on its first run."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._program: ptx.Program | None = None
        self._counter: Counter | None = None
        self._prepared: set[str] = set()  # kernels that are, or are being, compiled to be counted

    def run(self, request: Run, arrays: dict[str, np.ndarray]) -> Ran:
        """Runs every invocation in order, up to the first with findings, since later ones would run on garbage."""
        total = Ran()
        filled = {
            slot.name: np.zeros(arrays[slot.name].nbytes, np.uint8) for slot in request.slots if slot.access == "out"
        }
        seed = _seed(request.slots, arrays)
        try:
            for invocation in request.invocations:
                try:
                    execution = self._launch(invocation, request, arrays, filled, seed)
                except ptx.GridTooLarge as error:
                    lacking = _unsupported(error.message, error.location, GRID_TOO_LARGE)
                    return Ran(unsupported=msgspec.structs.replace(lacking, kernel=invocation.kernel))
                total = _sum(total, execution)
                if total.findings:
                    break
        except ptx.OutOfTime as error:
            return Ran(unsupported=_unsupported(error.message, error.location, OUT_OF_TIME))
        except ptx.Unsupported as error:
            return Ran(unsupported=_unsupported(error.message, _in_submission(error.location)))
        except MemoryError:
            message = "this machine does not have enough memory to run the kernel"
            return Ran(unsupported=_unsupported(message, Location("", 0, 0)))
        except ptx.PtxError as error:
            at = Location(error.file, error.line, 0)
            return Ran(unsupported=_unsupported(f"the CPU engine cannot read this PTX: {error}", _in_submission(at)))
        if request.counts_later and not total.findings:
            self._prepare_to_count(request, arrays, filled)
        return total

    def _prepare_to_count(self, request: Run, arrays: dict[str, np.ndarray], filled: dict[str, np.ndarray]) -> None:
        """Compiles while the parent judges and other cases run: often one of two cores is idle."""
        new = {i.kernel: i for i in request.invocations if i.kernel not in self._prepared and not _is_launch(i)}
        self._prepared |= new.keys()
        counter = self._counting()
        todo = [(i.kernel, _arguments(i, request.slots, arrays, filled), _size(i)["cluster"]) for i in new.values()]

        def compile_all() -> None:
            for kernel, arguments, cluster in todo:
                with suppress(ptx.Unsupported, ptx.PtxError, MemoryError, RuntimeError):  # `count` will say so
                    counter.prepare(kernel, arguments, cluster)

        if todo:
            threading.Thread(target=compile_all, daemon=True).start()

    def _counting(self) -> Counter:
        if self._counter is None:
            self._counter = Counter(self._parsed().module)
        return self._counter

    def counted(self, request: Run, arrays: dict[str, np.ndarray]) -> Ran:
        """What the hardware would count of each invocation; those run once more whose arrays a later one takes."""
        filled = {s.name: np.zeros(arrays[s.name].nbytes, np.uint8) for s in request.slots if s.access == "out"}
        seed = _seed(request.slots, arrays)
        found = []
        try:
            for number, invocation in enumerate(request.invocations, 1):
                found.append(self._count(invocation, request, arrays, filled))
                if not found[-1].counted:  # a block that does not come to its end, or needs what the engine lacks
                    return Ran()
                written = {slot.name for slot in request.slots if slot.access != "in"} & _names(invocation)
                if any(written & _names(later) for later in request.invocations[number:]):
                    self._launch(invocation, request, arrays, filled, seed)
        except (ptx.Unsupported, ptx.PtxError, MemoryError):
            return Ran()  # the checks have said so
        return Ran(counted=tuple(found))

    def _count(
        self,
        invocation: Invocation,
        request: Run,
        arrays: dict[str, np.ndarray],
        filled: dict[str, np.ndarray],
    ) -> KernelCounts:
        """On copies: some of the blocks are all that is run."""
        written = _copies({slot.name: arrays[slot.name] for slot in request.slots if slot.access != "in"})
        counted = self._counting().count(
            invocation.kernel,
            **_size(invocation),
            arguments=_arguments(invocation, request.slots, arrays | written, _copies(filled)),
            limits=_limits(arrays, request.seconds),
            seed=_seed(request.slots, arrays),
            sample=Sample(records=SAMPLE.records // len(request.invocations)),
        )
        return counting.of_lines(invocation.kernel, counted)

    def _parsed(self) -> ptx.Program:
        if self._program is None:
            self._program = ptx.Program(ptx.parse(self._text))
        return self._program

    def _launch(
        self,
        invocation: Invocation,
        request: Run,
        arrays: dict[str, np.ndarray],
        filled: dict[str, np.ndarray],
        seed: int,
    ) -> ptx.Execution:
        return self._parsed().run(
            invocation.kernel,
            **_size(invocation),
            arguments=_arguments(invocation, request.slots, arrays, filled),
            workers=request.workers,
            limits=_limits(arrays, request.seconds),
            seed=seed,
        )


def _names(invocation: Invocation) -> set[str]:
    """Of its arrays."""
    return {argument for argument in invocation.arguments if isinstance(argument, str)}


class _Size(TypedDict):
    grid: Dim3
    block: Dim3
    shared_bytes: int
    cluster: Dim3 | None


def _is_launch(invocation: Invocation) -> bool:
    """A launch function: one thread."""
    return (*invocation.config.grid, *invocation.config.block) == (1,) * 6


def _size(invocation: Invocation) -> _Size:
    config = invocation.config
    cluster = config.cluster if any(config.cluster) else None
    return {"grid": config.grid, "block": config.block, "shared_bytes": config.shared_bytes, "cluster": cluster}


def _copies(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in arrays.items()}


def _seed(slots: tuple[ArenaSlot, ...], arrays: dict[str, np.ndarray]) -> int:
    """Of what a GPU leaves to chance, as the order of blocks: drawn from the inputs, which follow from their seed."""
    seed = 0
    for slot in slots:
        if slot.access == "in":
            seed = zlib.crc32(np.ascontiguousarray(arrays[slot.name]).reshape(-1).view(np.uint8).data, seed)
    return seed


def _limits(arrays: dict[str, np.ndarray], seconds: float) -> ptx.Limits:
    size = sum(array.nbytes for array in arrays.values())
    return ptx.Limits(
        instructions=max(LEAST_INSTRUCTIONS, INSTRUCTIONS_PER_BYTE * size),
        barriers=max(LEAST_BARRIERS, int(BARRIERS_PER_BYTE * size)),
        seconds=seconds,
        stale=max(LEAST_STALE, int(STALE_PER_BYTE * size)),
    )


def _arguments(
    invocation: Invocation, slots: tuple[ArenaSlot, ...], arrays: dict[str, np.ndarray], filled: dict[str, np.ndarray]
) -> list[ptx.Argument]:
    """Of an output, only what earlier invocations wrote may be read."""
    access = {slot.name: slot.access for slot in slots}
    arguments: list[ptx.Argument] = []
    called = invocation.called or invocation.arguments
    for argument, name in zip(invocation.arguments, called, strict=True):
        if isinstance(argument, str):
            how = access[argument]
            initialised = how != "out"
            given = ptx.Buffer(str(name), arrays[argument], how != "in", initialised, filled.get(argument))
            arguments.append(given)
        elif isinstance(argument, Mapped):
            arguments.append(_tensor_map(argument, invocation.arguments.index(argument.array)))
        else:
            arguments.append(argument[0])
    return arguments


def _tensor_map(argument: Mapped, array: int) -> ptx.TensorMap:
    """`array`: the number of the argument that is its array."""
    described, rank = argument.map, argument.map.rank
    return ptx.TensorMap(
        array=array,
        type=described.type,
        offset=described.offset,
        dim=described.dim[:rank],
        stride=described.stride[: rank - 1],
        box=described.box[:rank],
        step=described.steps,
        interleave=described.interleave,
        swizzle=described.swizzle,
        fill=described.fill,
    )


def _sum(total: Ran, execution: ptx.Execution) -> Ran:
    return Ran(
        findings=total.findings + tuple(_finding(report) for report in execution.findings[:MAX_FINDINGS]),
        printed=(total.printed + execution.printed)[:MAX_PRINTED],
        jit_seconds=total.jit_seconds + execution.jit_seconds,
        run_seconds=total.run_seconds + execution.run_seconds,
        unset=total.unset | execution.unset,
    )


def _finding(report: ptx.Report) -> Finding:
    return Finding(
        report.kind,
        _file(report.file),
        report.line,
        report.message[:MAX_TEXT],
        count=report.count,
        column=report.column,
        notes=tuple(note[:MAX_TEXT] for note in report.notes[:MAX_NOTES]),
        detail=report.detail,
        array=report.array[:MAX_TEXT],
        space=report.space,
        access=report.access,
        related=tuple(_related(one, report.file) for one in report.related[:MAX_NOTES]),
    )


def _related(one: ptx.Related, file: str) -> Related:
    return Related(one.role, one.line, "" if one.file == file else _file(one.file), one.access)


def _unsupported(message: str, location: Location, kind: str = "unsupported-instruction") -> Finding:
    file, line = _file(location.file), location.line
    return Finding(kind, file, line, message[:MAX_TEXT], column=location.column)


def _in_submission(location: Location) -> Location:
    """The call in the student's own code that was inlined there."""
    frames = location.frames()
    return next((frame for frame in frames if frame.file == recipe.SOURCE_NAME), location)


def _file(name: str) -> str:
    """A header by its include name; code without a position belongs to the submission."""
    return toolkit.display_name(name) if name else recipe.SOURCE_NAME

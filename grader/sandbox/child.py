"""Child: a submission in its own process, as an Executor."""

from __future__ import annotations

import os
import re
from typing import Literal, Self, TypeVar

import msgspec

from grader.compile import recipe, source, toolkit
from grader.compile.cache import Cache, default_folder
from grader.model.counted import KernelCounts
from grader.model.execution import Compilation, Invocation, Outcome
from grader.model.exercise import Array
from grader.model.result import Finding, Related
from grader.sandbox import arena
from grader.sandbox.errors import ChildFailed, ChildFaulted
from grader.sandbox.messages import Built, Compile, Failed, Faulted, Load, Loaded, Ran, Ready, Reply, Request, Run
from grader.sandbox.process import START_SECONDS, Process

COMPILE_SECONDS = 30.0  # CUB takes 3 on a slow core; compiler bombs never end
LOAD_SECONDS = 30.0
OWN_SHARE = 0.8  # share of a deadline after which the child stops by itself and can still say where

# More than compiler and engine ever report; limits how busy a compromised child can keep its parent.
MOST_FINDINGS, MOST_NOTES = 500, 50
MOST_KERNELS = 1000
MOST_UNSET = 50
MOST_COUNTED = 4000  # lines of a kernel
MOST_TEXT = 10_000  # characters of a message or a note
MOST_SAID = 200_000  # characters of a log, or of a kernel's output
MOST_LINES = 1 << 20  # the most bytes a submission can have

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Reply)
_R = TypeVar("_R", bound=Reply)


def _texts(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(struct) if field.type is str)


_FINDING_TEXTS, _RELATED_TEXTS = _texts(Finding), _texts(Related)

# Escape sequences, and characters that change the text direction.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def default_workers() -> int:
    """Number of threads that run blocks: GRADER_WORKERS, otherwise the cores this process may use."""
    chosen = os.environ.get("GRADER_WORKERS", "")
    if chosen.isdecimal() and int(chosen) > 0:
        return int(chosen)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Child:
    """Owns `process`, and ends it in `close`. After any of the sandbox's errors, it only raises ChildDied."""

    def __init__(
        self,
        process: Process,
        device: Literal["cpu", "cuda"],
        *,
        cache: Cache | None = None,
        compile_seconds: float = COMPILE_SECONDS,
        workers: int | None = None,
    ) -> None:
        self.device: Literal["cpu", "cuda"] = device
        self.arch = recipe.ARCH
        self.counts_later = False
        self.process = process
        self._cache = cache or Cache(default_folder())
        self._compile_seconds = compile_seconds
        self._workers = workers or default_workers()
        self._filename = recipe.SOURCE_NAME
        self._ready = False
        self.unconfined: tuple[str, ...] = ()  # what the child can do but should not, once it has started; and why

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def compile(self, source_bytes: bytes, filename: str) -> Compilation:
        """From here on the child holds the submission, if it compiled."""
        self._filename = filename
        text = source.decode(source_bytes, filename)
        if isinstance(text, Finding):
            return Compilation(False, findings=(text,), log=text.message)
        key = self.cache_key(text)
        compiled = self._cache.get(key)
        if compiled is not None:
            if compiled.ptx or compiled.cubin:
                self.ask(Load(compiled.ptx, compiled.cubin), Loaded, LOAD_SECONDS)
            return self._shown(msgspec.structs.replace(compiled.compilation, cached=True))
        compiled = self.ask(Compile(text), Built, self._compile_seconds).compiled
        if compiled.ptx or compiled.cubin or not compiled.compilation.ok:
            self._cache.put(key, compiled)
        return self._shown(compiled.compilation)

    def run(self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...], *, deadline: float) -> Outcome:
        """`deadline` is in seconds of each of its cores. At four fifths of it, the engine stops by itself and names
        the loop."""
        slots, size = arena.place(arrays)
        arena.store(self.process.arena, arrays, slots, size)
        request = Run(invocations, slots, size, OWN_SHARE * deadline, self._workers, counts_later=self.counts_later)
        ran = self.ask(request, Ran, deadline, cores=self._workers)
        try:
            outputs = {s.name: arena.fetch(self.process.arena, s) for s in slots if s.access != "in"}
        except arena.ShortReadError as error:
            raise self.process.misbehaved(f"array {error} is truncated") from None
        return Outcome(
            findings=self._findings(ran.findings),
            outputs=outputs,
            printed=_printable(ran.printed[:MOST_SAID]),
            unsupported=self._finding(ran.unsupported) if ran.unsupported else None,
            jit_seconds=ran.jit_seconds,
            run_seconds=ran.run_seconds,
            unset=frozenset(sorted(line for line in ran.unset if line > 0)[:MOST_UNSET]),
        )

    def count(
        self, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...], *, deadline: float
    ) -> tuple[KernelCounts, ...]:
        slots, size = arena.place(arrays)
        arena.store(self.process.arena, arrays, slots, size)
        request = Run(invocations, slots, size, OWN_SHARE * deadline, self._workers, count=True)
        ran = self.ask(request, Ran, deadline, cores=self._workers)
        return tuple(map(self._counted, ran.counted[: len(invocations)]))

    def _counted(self, counts: KernelCounts) -> KernelCounts:
        lines = tuple(line for line in counts.lines[:MOST_COUNTED] if line.line <= MOST_LINES)
        return msgspec.structs.replace(counts, kernel=self._text(counts.kernel[:MOST_TEXT]), lines=lines)

    def close(self) -> None:
        self.process.close()

    def cache_key(self, text: str) -> str:
        try:
            return recipe.cache_key(text, self.arch)
        except toolkit.ToolkitMissing as error:
            raise ChildFailed(str(error)) from None

    def ask(self, request: Request, expected: type[_R], seconds: float, *, cores: int = 0) -> _R:
        """Send and wait. The first request is sent at once; its deadline starts when the child has started."""
        payload = _ENCODER.encode(request)
        if not self._ready:
            self.process.send(payload, seconds=START_SECONDS)
            self.unconfined += self._receive(Ready, START_SECONDS).unconfined
            self._ready = True
        else:
            self.process.send(payload, seconds=seconds)
        return self._receive(expected, seconds, cores)

    def _receive(self, expected: type[_R], seconds: float, cores: int = 0) -> _R:
        payload = self.process.receive(seconds=seconds, cores=cores)
        try:
            reply = _DECODER.decode(payload)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self.process.misbehaved(str(error)) from None
        if isinstance(reply, Failed):
            self.process.kill()
            raise ChildFailed(_printable(reply.message), _printable(reply.details))
        if isinstance(reply, Faulted):
            self.process.kill()
            raise ChildFaulted(self._finding(reply.finding))
        if not isinstance(reply, expected):
            raise self.process.misbehaved(f"{type(reply).__name__} instead of {expected.__name__}")
        return reply

    def _shown(self, compilation: Compilation) -> Compilation:
        return msgspec.structs.replace(
            compilation,
            kernels=compilation.kernels[:MOST_KERNELS],
            findings=self._findings(compilation.findings),
            log=self._text(compilation.log[:MOST_SAID]),
        )

    def _findings(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        return tuple(self._finding(finding) for finding in findings[:MOST_FINDINGS])

    def _finding(self, finding: Finding) -> Finding:
        """The student's file by its own name, without anything that a terminal would interpret."""
        texts = {name: self._text(getattr(finding, name)[:MOST_TEXT]) for name in _FINDING_TEXTS}
        return msgspec.structs.replace(
            finding,
            line=_line(finding.line),
            notes=tuple(self._text(note[:MOST_TEXT]) for note in finding.notes[:MOST_NOTES]),
            related=tuple(self._related(one) for one in finding.related[:MOST_NOTES]),
            **texts,
        )

    def _related(self, one: Related) -> Related:
        texts = {name: self._text(getattr(one, name)[:MOST_TEXT]) for name in _RELATED_TEXTS}
        return msgspec.structs.replace(one, line=_line(one.line), **texts)

    def _text(self, text: str) -> str:
        return _printable(text.replace(recipe.SOURCE_NAME, self._filename))


def _line(number: int) -> int:
    return min(max(number, 0), MOST_LINES)


def _printable(text: str) -> str:
    return _CONTROL.sub("\ufffd", text)

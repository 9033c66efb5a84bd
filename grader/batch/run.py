"""A batch from beginning to end: who handed in what, what is graded already, the rest, and what is written of it.

The ledger decides what is left to do, so a batch that was stopped, however, goes on with the same call.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from grader import executors, machine
from grader import secret as secret_cases
from grader.batch import choice, identity, lanes, outputs, roster, schedule, worker
from grader.batch.entry import Entry, Submitted
from grader.batch.identity import Conditions
from grader.batch.ledger import Enrolled, Ledger
from grader.batch.schedule import Engine, Finishing
from grader.batch.worker import Children, Graded, Spare, Task
from grader.errors import GraderError, UsageError
from grader.model.exercise import Exercise
from grader.sandbox.process import default_memory_bytes
from grader.secret import Secret
from grader.submission import Source

SEEDS = 2**32
LOCK = ".lock"
UNPACKED = "submissions"  # what was taken out of a zip
LEAST_MEMORY_BYTES = 1 << 30  # for a child, however many there are: what an honest kernel needs, three times


class Batch(msgspec.Struct, frozen=True):
    """What is asked for. None, "auto" and () leave it to the ledger of a batch that was begun, else to chance and
    the machine."""

    submissions: Path
    exercise: Exercise
    out: Path
    device: str = "auto"
    gpus: tuple[int, ...] = ()
    seed: int | None = None
    secret: Secret | None = None
    jobs: int | None = None
    replace: bool = False  # students who are in the ledger and not in `submissions` leave the batch


class Plan(msgspec.Struct, frozen=True):
    """`done` of the `students` are graded already; `todo` gradings serve the others."""

    students: int
    done: int
    todo: int
    seed: int
    device: str
    at_once: int  # 0: on other machines, which know
    gpus: tuple[int, ...] = ()


class Watch(Protocol):
    """Hears how a batch goes."""

    def note(self, text: str) -> None: ...

    def began(self, plan: Plan) -> None: ...

    def graded(self, students: Sequence[str], graded: Graded) -> None:
        """It is in the ledger."""
        ...

    def ended(self, entries: Sequence[Entry]) -> None:
        """This is what is known, and written next; also after Ctrl-C."""
        ...


# Makes, from "cpu" or "cuda", what grades on other machines.
Elsewhere = Callable[[str], Engine]


def run(batch: Batch, watch: Watch, elsewhere: Elsewhere | None = None) -> list[Entry]:
    """Grades what is left and writes everything. Raises UsageError and GraderError as grade run does.

    However it ends, what is known is written. Without `elsewhere`, on this machine.
    """
    with _alone(out_folder(batch.out)), Ledger(batch.out, create=True) as ledger:
        _same_exercise(batch, ledger.settings())
        submitted = [_printable(one) for one in roster.read(batch.submissions, batch.out / UNPACKED)]
        _nobody_left_out(batch, ledger, submitted)
        conditions = _conditions(batch, ledger.settings(), watch, here=elsewhere is None)
        enrolled, sources = _enrol(submitted, conditions)
        ledger.keep(_settings(batch, conditions))
        ledger.enrol(enrolled, conditions.exercise)
        made: list[Entry] = []
        try:
            _grade(batch, ledger, conditions, enrolled, sources, watch, elsewhere)
        finally:
            made = outputs.entries(ledger, batch.exercise)
            watch.ended(made)
            outputs.write(made, batch.exercise, batch.out)
        return made


def _grade(
    batch: Batch,
    ledger: Ledger,
    conditions: Conditions,
    enrolled: Sequence[Enrolled],
    sources: dict[str, Source],
    watch: Watch,
    elsewhere: Elsewhere | None,
) -> None:
    settled = ledger.settled(sources)
    todo = [key for key in sources if key not in settled]
    gpus: dict[int, int] = {}
    if todo and conditions.device == "cuda" and elsewhere is None:
        gpus = lanes.usable(batch.gpus, required=True)
    jobs = 0 if elsewhere else min(batch.jobs or _jobs(gpus), max(1, len(todo)))
    done = sum(one.key in settled for one in enrolled)
    watch.began(Plan(len(enrolled), done, len(todo), conditions.seed, conditions.device, jobs, tuple(gpus)))
    if not todo:
        return
    _check_inputs(batch, conditions)
    by_key: dict[str, list[str]] = {}
    for one in enrolled:
        by_key.setdefault(one.key, []).append(one.submitted.student)

    def grade(keys: Sequence[str], at_once: int) -> list[str]:
        """Those that ended in an error of the grader's."""
        tasks = [_task(batch, conditions, key, sources[key], at_once) for key in keys]
        engine = elsewhere(conditions.device) if elsewhere else local_engine(at_once, gpus)
        failed = []
        with closing(engine(tasks)) as finished:
            for task, graded in finished:
                ledger.record(task.key, task.source.sha256, conditions, graded)
                watch.graded(by_key[task.key], graded)
                if not graded.settled:
                    failed.append(task.key)
        return failed

    again = grade(todo, jobs)
    if again:
        # Memory or a deadline may have run short: with fewer beside each other there is more of both.
        watch.note(f"{len(again)} ended in an error of the grader's or the machine's; trying them once more")
        grade(again, max(1, jobs // 2) if jobs else 0)


def local_engine(at_once: int, gpus: Mapping[int, int]) -> Engine:
    """This machine's cores, and these of its GPUs."""

    def engine(tasks: Sequence[Task]) -> Finishing:
        children = Children()
        threads, memory = tasks[0].threads, tasks[0].memory_bytes
        spare = Spare(partial(executors.open_cpu, workers=threads, memory_bytes=memory), children)
        hands = schedule.Hands(
            grade=lambda task: worker.grade(task, children, spare.open), end=children.end, answers=lanes.answers
        )
        where = lanes.Gpus(gpus) if gpus else lanes.Cpu()
        return schedule.local(tasks, jobs=at_once, lanes=where, hands=hands)

    return engine


def _jobs(gpus: Mapping[int, int]) -> int:
    """A core each; beside GPUs, one stays free for each, so that what it waits for comes at once."""
    return min(max(1, machine.cores() - len(gpus)), sum(gpus.values())) if gpus else machine.cores()


def _task(batch: Batch, conditions: Conditions, key: str, source: Source, at_once: int) -> Task:
    """One thread each beats several for one: nothing waits for the slowest block. 0 at once: others know better."""
    return Task(
        key=key,
        source=source,
        exercise=batch.exercise,
        exercise_hash=conditions.exercise_hash,
        seed=conditions.seed,
        secret=batch.secret,
        threads=max(1, machine.cores() // at_once) if at_once else 0,
        memory_bytes=max(LEAST_MEMORY_BYTES, default_memory_bytes(at_once)) if at_once else 0,
    )


def _check_inputs(batch: Batch, conditions: Conditions) -> None:
    """The cases once before the first submission: an exercise or a secret that is wrong stops the batch here."""
    oracle = worker.oracle(batch.exercise, conditions.exercise_hash)
    list(oracle.cases(conditions.seed))
    if batch.secret is not None:
        seed = conditions.seed if batch.secret.seed is None else batch.secret.seed
        for name, spec in secret_cases.specs(batch.secret):
            oracle.secret(spec, seed, name)


def _enrol(submitted: Sequence[Submitted], conditions: Conditions) -> tuple[list[Enrolled], dict[str, Source]]:
    """Everybody, and what there is to grade: each content once."""
    enrolled: list[Enrolled] = []
    sources: dict[str, Source] = {}
    for one in submitted:
        if one.problem or one.path is None:
            known = one if one.problem else msgspec.structs.replace(one, problem="nothing was handed in")
            enrolled.append(Enrolled(known))
            continue
        try:
            source = worker.source(one.path)
        except UsageError as error:
            enrolled.append(Enrolled(msgspec.structs.replace(one, problem=str(error))))
            continue
        key = conditions.key(source.sha256)
        sources.setdefault(key, source)
        enrolled.append(Enrolled(one, source.sha256, key))
    return enrolled, sources


def _printable(one: Submitted) -> Submitted:
    """An id with bytes that are no text, such as a folder's name may hold, stays unique."""
    return msgspec.structs.replace(one, student=one.student.encode(errors="backslashreplace").decode())


def _conditions(batch: Batch, settings: dict[str, str], watch: Watch, *, here: bool) -> Conditions:
    """What is not asked for anew stays as the ledger has it."""
    recorded = int(settings["seed"]) if "seed" in settings else None
    seed = batch.seed if batch.seed is not None else recorded
    if seed is None:
        seed = secrets.randbelow(SEEDS)
    elif recorded is not None and seed != recorded:
        watch.note(f"seed {seed} instead of {recorded}: every submission is graded on other inputs")
    device = _device(batch, settings.get("device"), here=here)
    if "device" in settings and settings["device"] != device:
        watch.note(f"on {device} instead of {settings['device']}: every submission is graded there")
    return identity.conditions(batch.exercise, seed=seed, device=device, secret=batch.secret)


def _device(batch: Batch, recorded: str | None, *, here: bool) -> str:
    if batch.gpus:
        return "cuda"
    if batch.device != "auto":
        return batch.device
    if recorded is None and not here:
        raise UsageError("say --device cpu or --device cuda: from here nobody can tell what the other machines have")
    return recorded or ("cuda" if lanes.usable((), required=False) else "cpu")


def _settings(batch: Batch, conditions: Conditions) -> dict[str, str]:
    return {
        "exercise": conditions.exercise,
        "exercises": str(batch.exercise.folder.absolute().parent).encode(errors="replace").decode(),
        "seed": str(conditions.seed),
        "device": conditions.device,
    }


def _same_exercise(batch: Batch, settings: dict[str, str]) -> None:
    known = settings.get("exercise", batch.exercise.name)
    if known != batch.exercise.name:
        raise UsageError(f"{batch.out} holds a batch of {known}; choose another --out for {batch.exercise.name}")


def _nobody_left_out(batch: Batch, ledger: Ledger, submitted: Sequence[Submitted]) -> None:
    """Another class's folder, given by mistake, must not take this one out of its gradebook. Raises UsageError."""
    handed_in = {one.student for one in submitted}
    left_out = [one.submitted.student for one in ledger.enrolled() if one.submitted.student not in handed_in]
    if left_out and not batch.replace:
        are = "1 student is" if len(left_out) == 1 else f"{len(left_out)} students are"
        raise UsageError(
            f"{are} in the batch in {batch.out} and not in {batch.submissions}: {choice.some(left_out)}.\n"
            "For another class choose another --out; --replace takes them out of the batch"
        )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """The lock goes with the process, however it ends."""
    descriptor = os.open(out / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another grade batch is at work in {out}") from None
        yield
    finally:
        os.close(descriptor)


def out_folder(out: Path) -> Path:
    """Made where it is missing. Raises GraderError where nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK | os.X_OK):
            raise GraderError(f"cannot write in {out}")
    except OSError as error:
        raise GraderError(f"cannot make {out}: {error.strerror}") from None
    return out

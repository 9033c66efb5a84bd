"""A batch from beginning to end: reading the input, skipping what is graded, grading the rest, writing the output.

The ledger decides what is left to do, so an interrupted batch resumes with the same call.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from grader import executors, machine
from grader.batch import choice, lanes, late, outputs, schedule, worker, workplace
from grader.batch.entry import Entry
from grader.batch.identity import Conditions
from grader.batch.intake import Accepted, Batch, accept
from grader.batch.ledger import Ledger
from grader.batch.schedule import BatchEngine, Finishing
from grader.batch.worker import Graded, Task
from grader.exercise import secret as secret_cases
from grader.exercise.submission import Source
from grader.sandbox.children import Children
from grader.sandbox.process import default_memory_bytes

LEAST_MEMORY_BYTES = 1 << 30  # per child, however many there are: three times what an honest kernel needs


class BatchPlan(msgspec.Struct, frozen=True):
    """`done` of the `students` are already graded; `todo` gradings cover the others."""

    students: int
    done: int
    todo: int
    seed: int
    device: str
    at_once: int  # 0: other machines decide
    gpus: tuple[int, ...] = ()


class Watch(Protocol):
    """Receives the progress of a batch."""

    def note(self, text: str) -> None: ...

    def began(self, plan: BatchPlan) -> None: ...

    def graded(self, students: Sequence[str], graded: Graded) -> None:
        """A grading is in the ledger."""
        ...

    def ended(self, entries: Sequence[Entry]) -> None:
        """The results so far, which are written next; also after Ctrl-C."""
        ...


# Takes "cpu" or "cuda" and returns the engine that grades on other machines.
Elsewhere = Callable[[str], BatchEngine]


def run(batch: Batch, watch: Watch, elsewhere: Elsewhere | None = None) -> list[Entry]:
    """Grades the rest and writes all files. Raises UsageError and GraderError as grade run does.

    The results so far are written however it ends; a refused batch changes nothing. Without `elsewhere`, runs on this
    machine.
    """
    with workplace.alone(batch.out):
        with workplace.unpacking(batch.out) as unpacked:
            accepted = accept(batch, unpacked, watch.note, here=elsewhere is None)
            if accepted.todo:
                _check_inputs(batch, accepted.conditions)
        with Ledger(batch.out, create=True) as ledger:
            _begin(batch, accepted, ledger, watch)
            try:
                _grade(batch, accepted, ledger, watch, elsewhere)
            finally:
                made = outputs.entries(ledger, batch.exercise)
                watch.ended(made)
                outputs.write(made, batch.exercise, batch.out, real_names=ledger.real_names())
            return made


def preview(batch: Batch, note: Callable[[str], None], *, here: bool) -> Accepted:
    """What `run` would do. Writes nothing; raises what `run` would."""
    with tempfile.TemporaryDirectory(prefix="grade-") as folder:
        return accept(batch, Path(folder) / "unpacked", note, here=here)


def _begin(batch: Batch, accepted: Accepted, ledger: Ledger, watch: Watch) -> None:
    """Students who leave are removed first: if it is killed here, the next call still knows them."""
    for student in accepted.leaving:
        outputs.forget(student, batch.out)
    for file in outputs.exported(batch.out) if accepted.leaving else ():
        watch.note(f"{file} was exported earlier and may still contain {choice.some(accepted.leaving)}")
    _forget_lateness(batch, accepted, ledger)
    ledger.keep(accepted.settings)
    ledger.enrol(accepted.enrolled, accepted.conditions.exercise)
    workplace.tidy(batch.out, (one.submitted.path for one in accepted.enrolled if one.submitted.path))


def _forget_lateness(batch: Batch, accepted: Accepted, ledger: Ledger) -> None:
    """Removes the pages that say something else of late work than they will; they are written again."""
    before, known = ledger.settings().get(outputs.LATE, ""), [one.submitted for one in ledger.enrolled()]
    after = accepted.settings.get(outputs.LATE, before)
    was = late.lateness(before, known)
    will_be = late.lateness(after, [one.submitted for one in accepted.enrolled])
    for student in was.keys() | will_be.keys():
        if was.get(student) != will_be.get(student):
            outputs.remove(student, batch.out)


def _grade(batch: Batch, accepted: Accepted, ledger: Ledger, watch: Watch, elsewhere: Elsewhere | None) -> None:
    conditions, enrolled, todo, gpus = accepted.conditions, accepted.enrolled, accepted.todo, accepted.gpus
    jobs = 0 if elsewhere else min(batch.jobs or _jobs(gpus), max(1, len(todo)))
    done = sum(one.key != "" and one.key not in todo and one.key not in accepted.waiting for one in enrolled)
    watch.began(BatchPlan(len(enrolled), done, len(todo), conditions.seed, conditions.device, jobs, tuple(gpus)))
    if not todo:
        return
    by_key: dict[str, list[str]] = {}
    for one in enrolled:
        by_key.setdefault(one.key, []).append(one.submitted.student)

    def grade(keys: Sequence[str], at_once: int) -> list[str]:
        """Gradings that ended in an error of the grader."""
        tasks = [_task(batch, conditions, key, todo[key], at_once) for key in keys]
        engine = elsewhere(conditions.device) if elsewhere else local_engine(at_once, gpus)
        failed = []
        with closing(engine(tasks)) as finished:
            for task, graded in finished:
                ledger.record(task.key, task.source.sha256, conditions, graded)
                watch.graded(by_key[task.key], graded)
                if not graded.settled:
                    failed.append(task.key)
        return failed

    again = grade(list(todo), jobs)
    if again:
        # Memory or time may have run out; with fewer at the same time there is more of both.
        watch.note(f"{len(again)} ended in an error of the grader or the machine; trying them once more")
        grade(again, max(1, jobs // 2) if jobs else 0)


def local_engine(at_once: int, gpus: Mapping[int, int]) -> BatchEngine:
    """This machine's cores, and the given GPUs."""

    def engine(tasks: Sequence[Task]) -> Finishing:
        children, zygote = Children(), executors.cpu_zygote()
        threads, memory = tasks[0].threads, tasks[0].memory_bytes
        open_cpu = children.opener(partial(executors.open_cpu, workers=threads, memory_bytes=memory, zygote=zygote))

        def end() -> None:
            children.end()
            zygote.close()

        hands = schedule.Hands(
            grade=lambda task: worker.grade(task, children, open_cpu), end=end, answers=lanes.answers
        )
        where = lanes.Gpus(gpus) if gpus else lanes.Cpu()
        return schedule.local(tasks, jobs=at_once, lanes=where, hands=hands)

    return engine


def _jobs(gpus: Mapping[int, int]) -> int:
    """One core each. With GPUs, one core per GPU stays free, so that a GPU does not wait for the CPU."""
    return min(max(1, machine.cores() - len(gpus)), sum(gpus.values())) if gpus else machine.cores()


def _task(batch: Batch, conditions: Conditions, key: str, source: Source, at_once: int) -> Task:
    """One thread per submission is faster than several: nothing waits for the slowest block. 0: others decide."""
    return Task(
        key=key,
        source=source,
        exercise=batch.exercise,
        exercise_hash=conditions.exercise_hash,
        seed=conditions.seed,
        secret=batch.secret,
        threads=max(1, machine.cores() // at_once) if at_once else 0,
        memory_bytes=max(LEAST_MEMORY_BYTES, default_memory_bytes(at_once)) if at_once else 0,
        trust=batch.trust,
    )


def _check_inputs(batch: Batch, conditions: Conditions) -> None:
    """Generates the cases before the first submission, so that a broken exercise or secret stops the batch here."""
    oracle = worker.oracle(batch.exercise, conditions.exercise_hash)
    list(oracle.cases(conditions.seed))
    if batch.secret is not None:
        seed = conditions.seed if batch.secret.seed is None else batch.secret.seed
        for name, spec in secret_cases.specs(batch.secret):
            oracle.secret(spec, seed, name)

"""One student's connection: a submission comes in, waits for its turn, is graded, and its Result goes back.

Runs as a forced command of sshd: whatever the client asked to run is never looked at. Of what it sends, one message
is read, which can only choose an exercise of this machine and a seed. The submission is never stored.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from grader import __version__, machine
from grader.batch import cluster, identity, worker
from grader.batch.identity import Conditions
from grader.batch.ledger import Ledger
from grader.batch.worker import Graded, Task
from grader.errors import GraderError, UsageError, at_fault
from grader.exercise import catalog, submission
from grader.exercise.secret import Secret
from grader.grading.pipeline import Progress
from grader.model import codec
from grader.model.exercise import Exercise
from grader.remote import messages
from grader.remote.messages import Answer, Doing, Done, Hello, Refused, Request, Waiting
from grader.remote.queue import Left, Queue
from grader.sandbox import confine
from grader.sandbox.children import Children
from grader.sandbox.process import default_memory_bytes

REQUEST_SECONDS = 60.0  # the client sends at once; a slow network needs a few seconds for a megabyte

# In progress: how far they got would tell more than the Result does.
HIDDEN_CASES = "the instructor's secret cases"
IN_A_CLUSTER = "on the cluster"

Send = Callable[[bytes], None]  # raises OSError once the client is gone


class Place(msgspec.Struct, frozen=True):
    """What the forced command says about the machine. `config`: a file for Parsl, which then does the grading."""

    folder: Path
    exercises: Path
    device: str = "cuda"
    gpu: int = 0
    secret: Secret | None = None
    at_once: int = 1
    per_hour: int = 20
    most: int = 40
    config: Path | None = None


def serve(place: Place, student: str, incoming: int, send: Send) -> None:
    """Answers the one request that arrives on the descriptor `incoming`. Never raises what a client can cause."""
    say = partial(_say, send)
    try:
        exercises = {folder.name: identity.file_hashes(folder) for folder in catalog.folders(place.exercises)}
        say(Hello(__version__, exercises))
        request = _request(incoming)
        _able(place)
        with _watched(incoming) as (gone, children), confine.required(trust=place.config is not None):
            say(Done(_Visit(place, student, gone, children, say).result(request)))
    except (Left, BrokenPipeError, ConnectionError):
        pass  # the client is gone
    except (GraderError, UsageError) as error:
        _refuse(say, str(error))
    except Exception as error:
        _refuse(say, f"internal error at {at_fault(error)}. Tell your instructor")


def _able(place: Place) -> None:
    """Raises GraderError if this machine cannot grade now. With Parsl, others do, and find out for themselves."""
    if place.config is not None:
        return
    if confine.missing():
        raise GraderError("it cannot confine submissions, so it grades none. Tell your instructor (grade doctor)")
    if place.device == "cuda" and place.gpu >= machine.gpus():
        raise GraderError("it has no GPU at the moment. Tell your instructor (grade doctor)")


class _Visit:
    def __init__(
        self, place: Place, student: str, gone: threading.Event, children: Children, say: Callable[[Answer], None]
    ) -> None:
        self._place, self._student, self._gone, self._children, self._say = place, student, gone, children, say

    def result(self, request: Request) -> bytes:
        """A Result as JSON; one from the ledger, if exactly this was graded before."""
        place = self._place
        exercise = _exercise(place.exercises, request.exercise)
        source = worker.unnamed(submission.of(Path(worker.NAME), request.content))
        conditions = identity.conditions(exercise, seed=request.seed, device=place.device, secret=place.secret)
        key = conditions.key(source.sha256)
        queue = Queue(place.folder, at_once=place.at_once, per_hour=place.per_hour, most=place.most)
        with self._ledger(queue) as ledger:
            if not ledger.settled([key]):
                with queue.turn(self._student, self._gone, lambda before: self._say(Waiting(before))):
                    self._grade(ledger, self._task(exercise, conditions, key, source), conditions)
            ledger.credit(self._student, exercise.name, key)
            kept = ledger.gradings([key])[key]
        if kept.result is not None:
            return codec.encode(kept.result)
        # What is wrong with a secret case may say what is in it. The ledger has it for the instructor.
        why = kept.problem if place.secret is None else "it could not grade this"
        raise GraderError(f"{why}. Try again; if it happens again, tell your instructor")

    def _grade(self, ledger: Ledger, task: Task, conditions: Conditions) -> None:
        began = time.monotonic()
        graded = self._elsewhere(task) if self._place.config else self._here(task)
        if self._gone.is_set() and not graded.settled:
            raise Left  # its children were ended
        graded = msgspec.structs.replace(graded, seconds=time.monotonic() - began)
        ledger.record(task.key, task.source.sha256, conditions, graded)

    def _here(self, task: Task) -> Graded:
        return worker.grade(task, self._children, on_progress=self._progress)

    def _elsewhere(self, task: Task) -> Graded:
        assert self._place.config is not None
        config = cluster.read(self._place.config)
        engine = cluster.engine(config, gpu=self._place.device == "cuda", stop=self._gone)
        self._say(Doing(IN_A_CLUSTER))
        with contextlib.closing(engine([task])) as finished:
            for _, graded in finished:
                return graded
        raise Left

    def _progress(self, progress: Progress) -> None:
        step = Doing(progress.doing, progress.done, progress.of)
        with contextlib.suppress(OSError):  # that the student has left is noticed elsewhere
            self._say(Doing(HIDDEN_CASES) if "[secret-" in progress.doing else step)

    def _task(self, exercise: Exercise, conditions: Conditions, key: str, source: submission.Source) -> Task:
        place = self._place
        return Task(
            key=key,
            source=source,
            exercise=exercise,
            exercise_hash=conditions.exercise_hash,
            seed=conditions.seed,
            secret=place.secret,
            gpu=place.gpu if place.device == "cuda" else None,
            threads=max(1, machine.cores() // place.at_once),
            memory_bytes=default_memory_bytes(place.at_once),
        )

    def _ledger(self, queue: Queue) -> Ledger:
        with queue.alone():  # two processes must not create it at once
            return Ledger(self._place.folder, create=True)


def _exercise(exercises: Path, name: str) -> Exercise:
    """By its whole name."""
    folders = {folder.name: folder for folder in catalog.folders(exercises)}
    if name not in folders:
        raise GraderError(f"it has no exercise {name!r}")
    return catalog.read(folders[name])


def _request(incoming: int) -> Request:
    """The first line of what arrives, as far as it may be long. Raises GraderError, or Left if there is none."""
    deadline, read = time.monotonic() + REQUEST_SECONDS, bytearray()
    while b"\n" not in read:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([incoming], [], [], left)[0]:
            raise GraderError(f"no submission arrived within {REQUEST_SECONDS:.0f} s. Try again")
        part = os.read(incoming, 1 << 16)
        if not part:
            raise Left
        read += part
        if len(read) > messages.MAX_REQUEST_BYTES:
            raise GraderError(f"the message is larger than {messages.MAX_REQUEST_BYTES >> 20} MiB")
    try:
        request = messages.read(bytes(read.partition(b"\n")[0]), Request)
    except ValueError as error:
        raise GraderError(f"the message is not a submission: {error}") from None
    if request.grader != __version__:
        raise GraderError(f"it runs version {__version__} of the grader, not {request.grader}")
    return request


@contextlib.contextmanager
def _watched(incoming: int) -> Iterator[tuple[threading.Event, Children]]:
    """The event is set, and every child ended, once the client closes its end. What else it sends is dropped."""
    gone, children = threading.Event(), Children()

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(incoming, 1 << 16):
                pass
        gone.set()
        children.end()

    threading.Thread(target=wait, name="grader-client", daemon=True).start()
    try:
        yield gone, children
    finally:
        children.end()


def _say(send: Send, message: Answer) -> None:
    send(messages.line(message))


def _refuse(say: Callable[[Answer], None], why: str) -> None:
    with contextlib.suppress(OSError):
        say(Refused(" ".join(why.split())))

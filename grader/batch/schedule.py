"""Grades many submissions at once on this machine, each in a thread that talks to its own child."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import NamedTuple, Protocol

import msgspec

from grader.batch.lanes import Gpus, Lanes
from grader.batch.worker import Graded, Task
from grader.errors import at_fault

# After this many GPUs stopped responding to a submission, it is not tried on another.
MOST_GPUS_LOST = 2

NO_GPU_LEFT = "no GPU responds any more; run the same command again once one does"


Finishing = Generator[tuple[Task, Graded], None, None]


class BatchEngine(Protocol):
    """Grades every task once and yields each as it finishes, in any order. Closing it early ends the running ones."""

    def __call__(self, tasks: Sequence[Task]) -> Finishing: ...


class Hands(NamedTuple):
    """What the scheduler uses: `grade` must not raise; `end` makes every `grade` return soon."""

    grade: Callable[[Task], Graded]
    end: Callable[[], None]
    answers: Callable[[int], bool]  # whether the GPU with that number is healthy


class _Finished(NamedTuple):
    task: Task
    graded: Graded
    gpu: int | None
    lost: bool  # the GPU no longer responds


def local(tasks: Sequence[Task], *, jobs: int, lanes: Lanes, hands: Hands) -> Finishing:
    """At most `jobs` at a time."""
    waiting, finished = deque(tasks), SimpleQueue[_Finished]()
    losses: Counter[str] = Counter()
    running = 0

    def work(task: Task, gpu: int | None) -> None:
        lost = False
        try:
            graded = hands.grade(msgspec.structs.replace(task, gpu=gpu))
            lost = gpu is not None and not graded.settled and not hands.answers(gpu)
        except BaseException as error:  # an oracle that calls sys.exit: the waiting thread below must be told
            graded = Graded(None, f"internal error at {at_fault(error)}")
        finished.put(_Finished(task, graded, gpu, lost))

    with ThreadPoolExecutor(max(1, jobs), "grade") as threads:
        try:
            while waiting or running:
                while waiting and running < jobs and (lane := lanes.take()) is not None:
                    threads.submit(work, waiting.popleft(), lane[0])
                    running += 1
                if not running:
                    yield from ((task, Graded(None, NO_GPU_LEFT)) for task in waiting)
                    return
                done = finished.get()
                running -= 1
                lanes.give_back(done.gpu)
                if done.lost and isinstance(lanes, Gpus) and done.gpu is not None:
                    lanes.lose(done.gpu)
                    losses[done.task.key] += 1
                    if losses[done.task.key] < MOST_GPUS_LOST:
                        waiting.append(done.task)
                        continue
                yield done.task, done.graded
        finally:
            hands.end()

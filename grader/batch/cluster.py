"""Grades submissions on several machines with Parsl, as described by a configuration file.

Tasks and results are sent as bytes; the ledger stays here and has one writer. The machines share a
file system with this one: they load the grader and the exercise from the same paths.
"""

from __future__ import annotations

import contextlib
import logging
import os
import runpy
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from grader.batch.schedule import BatchEngine, Finishing
from grader.batch.worker import Graded, Task, grade
from grader.errors import GraderError, UsageError, at_fault
from grader.sandbox import confine

INSTALL = "python -m pip install 'cuda-kernel-grader[cluster]'"

# How often a task is retried if its worker is lost. A submission that brings down its worker this many times is
# set aside.
MOST_SENT = 3

STOP_SECONDS = 0.5  # until a request to stop is noticed


def engine(config: Any, *, gpu: bool, stop: threading.Event | None = None) -> BatchEngine:
    """`config` is a parsl.Config; with `gpu`, each of its workers sees one GPU (available_accelerators).

    Once `stop` is set, it ends, with tasks left.
    """

    def run(tasks: Sequence[Task]) -> Finishing:
        with _parsl(config) as submit:
            sent = {submit(_packed(task, gpu=gpu)): (task, 1) for task in tasks}
            while sent and not (stop and stop.is_set()):
                done, _ = wait(sent, timeout=STOP_SECONDS if stop else None, return_when=FIRST_COMPLETED)
                for future in done:
                    task, times = sent.pop(future)
                    lost = future.exception()
                    if lost is None:
                        yield task, msgspec.msgpack.decode(future.result(), type=Graded)
                    elif times < MOST_SENT:
                        sent[submit(_packed(task, gpu=gpu))] = (task, times + 1)
                    else:
                        yield task, Graded(None, f"lost {times} times: {_first_line(lost)}")

    return run


def read(file: Path) -> Any:
    """The parsl.Config named `config` in that Python file. Raises UsageError; GraderError if Parsl is missing."""
    try:
        from parsl.config import Config
    except ImportError:
        raise GraderError(f"--engine parsl needs Parsl; install it with: {INSTALL}") from None
    if not file.is_file():
        raise UsageError(f"{file} does not exist")
    try:
        config = runpy.run_path(str(file)).get("config")
    except Exception as error:
        raise UsageError(f"running {file} failed: {at_fault(error, file)}") from None
    if not isinstance(config, Config):
        raise UsageError(f"{file} does not define config = parsl.Config(...)")
    return config


def grade_packed(task: bytes) -> bytes:
    """Runs on a worker."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    wanted = _unpacked(task)
    if not wanted.trust:
        os.environ[confine.SWITCH] = confine.REQUIRED
    return msgspec.msgpack.encode(grade(wanted))


@contextmanager
def _parsl(config: Any) -> Iterator[Callable[[bytes], Future[bytes]]]:
    """Ends every worker on exit, whether it is done or not."""
    import parsl

    # Parsl starts its own programs by name; they are installed next to this Python.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    try:
        kernel = parsl.load(config)
    except Exception as error:
        raise GraderError(f"Parsl did not start: {_first_line(error)}") from None
    log_files = tuple(logging.getLogger("parsl").handlers)
    try:
        yield parsl.python_app(grade_packed, data_flow_kernel=kernel)
    finally:
        with contextlib.suppress(Exception):  # a worker that has already ended
            kernel.cleanup()
        parsl.clear()
        for file in log_files:  # Parsl drops it without closing it
            file.close()


def _packed(task: Task, *, gpu: bool) -> bytes:
    """Absolute paths, valid on every machine; each worker decides its threads and memory."""
    exercise = msgspec.structs.replace(task.exercise, folder=task.exercise.folder.absolute())
    there = msgspec.structs.replace(task, exercise=exercise, gpu=0 if gpu else None, threads=0, memory_bytes=0)
    return msgspec.msgpack.encode(there, enc_hook=str)


def _unpacked(packed: bytes) -> Task:
    return msgspec.msgpack.decode(packed, type=Task, dec_hook=lambda kind, value: kind(value))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

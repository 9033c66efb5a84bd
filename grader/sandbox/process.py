"""The child process from outside: start it, talk to it with a deadline, watch its memory, end it.

Imports little, so that a child can be started before the rest of the grader is loaded.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from grader.sandbox.channel import LENGTH, MessageError, frame, payload_length
from grader.sandbox.deadline import Deadline
from grader.sandbox.errors import ChildCrashed, ChildDied, ChildMemory, ChildTimeout
from grader.sandbox.forked import Forked, Forks

START_SECONDS = 60.0  # allows for a cold start from a slow network disk; normally it takes half a second
MAX_MEMORY_BYTES = 8 << 30
MEMORY_SHARE = 0.75  # share of the machine's memory, if that is less
TICK_SECONDS = 0.05  # interval of memory checks while waiting
REAP_SECONDS = 10.0
STDERR_TAIL_BYTES = 4096
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)

# The part of the caller's environment that the child gets: nothing that could be secret.
KEPT_VARIABLES = (
    *("LD_LIBRARY_PATH", "CUDA_PATH", "CUDA_HOME"),
    *("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE", "GRADER_CONFINE"),
)
FIXED_VARIABLES = {
    "PATH": os.defpath,
    "HOME": "/nonexistent",
    "CUPY_CACHE_DIR": "/",  # CuPy creates the folder on import; this one exists and is never written
    "LANG": "C.UTF-8",
    "TZ": "UTC0",  # makes __TIME__ the same everywhere
    "OPENBLAS_NUM_THREADS": "1",  # avoids unneeded threads, which take time to start
    "OMP_NUM_THREADS": "1",
}


class Process:
    """A child that runs `python -m module` in its own session, with only two of our descriptors.

    Its working folder is empty and already deleted, so it can neither find nor leave anything there. `send`
    and `receive` raise the sandbox's errors; the child has then ended and been reaped. One thread at a time may
    talk to it; any thread may call `kill`.
    """

    def __init__(
        self,
        module: str,
        *,
        memory_bytes: int | None = None,
        variables: Mapping[str, str] | None = None,
        patient: bool = False,
        zygote: Forks | None = None,
    ) -> None:
        """`patient`: its deadlines are in processor time. `zygote`: forks it, if it can."""
        self._patient = patient
        self.memory_bytes = memory_bytes or default_memory_bytes()
        self._module, self._variables = module, dict(variables or {})
        self.arena = anonymous_file("grader-arena")
        self._output = anonymous_file("grader-output")
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        try:
            given = (theirs.fileno(), self.arena.fileno(), self._output)
            forked = zygote.fork(*given) if zygote else None
            self._child = forked or _start(module, *given, self._variables)
        except BaseException:
            for ours in (self._socket, self.arena, self._output):
                ours.close()
            raise
        finally:
            theirs.close()
        self.pid = self._child.pid
        self._stopped = False
        self._ending = threading.Lock()
        weakref.finalize(self, _end, self._child, self._ending)

    def again(self, variables: Mapping[str, str]) -> Process:
        """Another one like it, with these variables added."""
        together = {**self._variables, **variables}
        return Process(self._module, memory_bytes=self.memory_bytes, variables=together, patient=self._patient)

    def send(self, payload: bytes, *, seconds: float) -> None:
        view = memoryview(frame(payload))
        deadline = self._deadline(seconds)
        while view:
            self._wait(select.POLLOUT, deadline)
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                continue
            except OSError:
                raise self._died() from None

    def send_descriptors(self, descriptors: Sequence[int], *, seconds: float) -> None:
        """With one byte. The child gets copies of its own."""
        self._wait(select.POLLOUT, self._deadline(seconds))
        try:
            socket.send_fds(self._socket, [b"\0"], descriptors)
        except OSError:
            raise self._died() from None

    def receive(self, *, seconds: float, cores: int = 0) -> bytes:
        """The next message from a child that uses this many cores (see `Deadline`).

        Raises ChildTimeout, ChildMemory or, if there is none, ChildDied.
        """
        deadline = self._deadline(seconds, cores)
        try:
            length = payload_length(self._exactly(LENGTH.size, deadline))
        except MessageError as error:
            raise self.misbehaved(str(error)) from None
        return self._exactly(length, deadline)

    def misbehaved(self, what: str) -> ChildDied:
        """The error for a child that broke the protocol; it has ended when this returns."""
        self.kill()
        return ChildDied(f"the child process sent an invalid answer: {what}", self._stderr())

    def kill(self) -> None:
        """End the child and its whole process group now, and reap it. May be called twice."""
        self._stopped = True
        _end(self._child, self._ending)

    def close(self) -> None:
        self.kill()
        self._socket.close()
        self.arena.close()
        self._output.close()

    def _deadline(self, seconds: float, cores: int = 0) -> Deadline:
        return Deadline(self.pid, seconds, patient=self._patient, cores=cores)

    def _exactly(self, size: int, deadline: Deadline) -> bytes:
        parts, missing = [], size
        while missing:
            self._wait(select.POLLIN, deadline)
            try:
                part = self._socket.recv(min(missing, 1 << 20))
            except BlockingIOError:
                continue
            except OSError:
                part = b""
            if not part:
                raise self._died()
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _wait(self, event: int, deadline: Deadline) -> None:
        """Waits until the socket is ready, while enforcing the deadline and the memory limit."""
        poll = select.poll()
        poll.register(self._socket, event)
        try:
            while True:
                self._check_memory()
                left = deadline.left()
                if poll.poll(max(0.0, min(left, TICK_SECONDS)) * 1000):
                    return
                if left <= 0:
                    raise ChildTimeout(f"stopped after {deadline.seconds:g} s")
        except BaseException:  # also on Ctrl-C, since no one will wait for the answer
            self.kill()
            raise

    def _check_memory(self) -> None:
        used = resident_bytes(self.pid)
        if used > self.memory_bytes:
            limit = self.memory_bytes / 2**30
            raise ChildMemory(f"{used / 2**30:.1f} GiB; the limit is {limit:.1f} GiB")

    def _died(self) -> ChildDied:
        """The error for a child that closed its socket: it is ending, or must be ended."""
        if self._stopped:
            return ChildDied("the child process was stopped")
        ended = self._ends_within(1.0)
        self.kill()
        status = self._child.returncode if ended else None
        how = _ending_of(status) if ended else "closed its channel"
        if status is not None and -status in CRASHES:
            return ChildCrashed(f"the child process {how}", self._stderr())
        return ChildDied(f"the child process {how}", self._stderr())

    def _ends_within(self, seconds: float) -> bool:
        """Without reaping it; `kill` does that once the rest of its group has ended."""
        deadline = time.monotonic() + seconds
        while self._child.returncode is None:
            try:
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
                    return True
            except ChildProcessError:  # the caller has SIGCHLD ignored, so the system reaps children
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _stderr(self) -> str:
        size = os.fstat(self._output.fileno()).st_size
        tail = os.pread(self._output.fileno(), STDERR_TAIL_BYTES, max(0, size - STDERR_TAIL_BYTES))
        return tail.decode("utf-8", "replace")


def anonymous_file(name: str) -> IO[bytes]:
    """An unnamed file: it disappears with its last descriptor, however the processes end."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(name, os.MFD_CLOEXEC), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def default_memory_bytes(children: int = 1) -> int:
    """8 GiB, or a share of three quarters of the memory of this machine or container."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        machine = min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(MAX_MEMORY_BYTES, int(MEMORY_SHARE * machine / children))


def resident_bytes(pid: int) -> int:
    """The memory of the process; 0 if it is unknown or the process is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _start(
    module: str, channel: int, arena: int, output: IO[bytes], variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-s", "-P", "-m", module, str(channel), str(arena), str(os.getpid())]
    folder = tempfile.mkdtemp(prefix="grader-")
    try:
        return _spawner.start(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(channel, arena),
            start_new_session=True,
            cwd=folder,
            env=environment(variables),
        )
    finally:
        Path(folder).rmdir()


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """A child's environment: of the caller's, only what it needs to start."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return FIXED_VARIABLES | {"PYTHONPATH": _import_path()} | dict(variables) | kept


def _import_path() -> str:
    """This package first; then the caller's additions, which may contain required packages."""
    root = str(Path(__file__).resolve().parents[2])
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([root, *(str(Path(p).resolve()) for p in added if p)])


def _end(child: subprocess.Popen[bytes] | Forked, lock: threading.Lock) -> None:
    """Kill the group before the leader is reaped, since its number cannot be reused before that."""
    with lock:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in a driver: even SIGKILL must wait
                child.wait(REAP_SECONDS)
                _reap_group(child.pid)


def _reap_group(number: int) -> None:
    """What else was in it, where orphans become children of this process: while there is a zygote."""
    deadline = time.monotonic() + REAP_SECONDS
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if not os.waitpid(-number, os.WNOHANG)[0]:
                time.sleep(0.001)


def _ending_of(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"died of {name}" + (": the system may be out of memory" if name == "SIGKILL" else "")


class _Spawner:
    """A thread that starts the children.

    A child asks the operating system to kill it when its parent dies, which means the *thread* that
    started it. So a thread that lives as long as this process starts them all.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[queue.SimpleQueue[Any], list[str], dict[str, Any]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():  # not alive in a fork of ours
                self._thread = threading.Thread(target=self._work, name="grader-spawner", daemon=True)
                self._thread.start()
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._jobs.put((answer, command, options))
        child = answer.get()
        if isinstance(child, BaseException):
            raise child
        assert isinstance(child, subprocess.Popen)
        return child

    def _work(self) -> None:
        while True:
            answer, command, options = self._jobs.get()
            try:
                answer.put(subprocess.Popen(command, **options))
            except Exception as error:
                answer.put(error)


_spawner = _Spawner()

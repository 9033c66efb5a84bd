"""Grades a submission on another machine. The user's own `ssh` connects, with its configuration, keys and agent."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import NoReturn

import msgspec

from grader import __version__, executors
from grader.batch import identity, worker
from grader.errors import GraderError, UsageError
from grader.exercise.submission import Source
from grader.grading import pipeline
from grader.grading.pipeline import OnProgress, Progress
from grader.grading.written import Written
from grader.model import codec
from grader.model.exercise import Exercise
from grader.model.result import Result
from grader.remote import messages
from grader.remote.messages import Answer, Doing, Done, Hello, Refused, Request, Waiting

# A connection that is silent for this long is lost; a student's laptop may sleep, or change its network.
OPTIONS = ("ServerAliveInterval=15", "ServerAliveCountMax=3", "ConnectTimeout=20")
ANSWERS_KEYS = "BatchMode=yes"  # asks nothing, since the terminal is taken

# The server's key decides what runs there; this is only what a personal account would be asked for.
COMMAND = "grade serve"

SSH_FAILED = 255
MOST_STDERR = 1 << 16
END_SECONDS = 5.0

# What ssh says, and what to do about it.
REMEDIES = {
    "Permission denied": "give your instructor your public key, or name the right one in ~/.ssh/config",
    "Could not resolve": "check the name, or add it to ~/.ssh/config",
    "verification failed": "run ssh {host} once, and compare the key it shows with the one your instructor named",
}
REMEDY = "check your network, then try: ssh {host}"

HERE = "leave out --host to grade here"


class Connection:
    """To `grade serve` on `host`. Any thread may call `kill`, which ends it."""

    def __init__(self, host: str, *, asks: bool) -> None:
        """`asks`: ssh may ask for a passphrase. Raises UsageError, or GraderError if there is no ssh."""
        if not host or host.startswith("-") or any(c.isspace() for c in host):
            raise UsageError(f"--host {host!r} is not the name of a machine")
        self.host = host
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with it
        options = [part for option in (*OPTIONS, *(() if asks else (ANSWERS_KEYS,))) for part in ("-o", option)]
        try:
            self._ssh = subprocess.Popen(
                ["ssh", "-T", *options, "--", host, COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        except FileNotFoundError:
            self._said.close()
            raise GraderError("--host needs ssh; install OpenSSH's client (Debian: openssh-client)") from None

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """At once: the server notices, and takes the job out of its queue."""
        self.kill()
        with suppress(subprocess.TimeoutExpired):
            self._ssh.wait(END_SECONDS)
        for stream in (self._ssh.stdin, self._ssh.stdout, self._said):
            with suppress(OSError):  # what could not be sent
                stream.close()  # type: ignore[union-attr]

    def kill(self) -> None:
        self._ssh.kill()

    def send(self, request: Request) -> None:
        assert self._ssh.stdin is not None
        with suppress(BrokenPipeError):  # the next answer is missing, and says why
            self._ssh.stdin.write(messages.line(request))
            self._ssh.stdin.flush()

    def answers(self) -> Iterator[Answer]:
        """Raises GraderError if something else answers."""
        assert self._ssh.stdout is not None
        while text := self._ssh.stdout.readline(messages.MAX_ANSWER_BYTES):
            try:
                yield messages.read(text, Answer)  # type: ignore[arg-type]
            except ValueError:
                shown = text[:60].decode(errors="replace").strip()
                raise GraderError(
                    f"{self.host} does not answer like grade serve, but with {shown!r}. Ask your instructor for "
                    f"its name and account, or {HERE}"
                ) from None

    def failure(self, again: str) -> GraderError:
        """Why there is no further answer. `again`: what to do if the connection was lost after it had begun."""
        status = self._ssh.wait()
        self._said.seek(0)
        lines = self._said.read(MOST_STDERR).decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if again:
            return GraderError(f"the connection to {self.host} was lost{f' ({last})' if last else ''}. {again}")
        if status != SSH_FAILED:
            said = last or f"exit status {status}"
            return GraderError(f"grade serve did not start on {self.host}: {said}. Tell your instructor, or {HERE}")
        step = next((remedy for words, remedy in REMEDIES.items() if words in last), REMEDY)
        said = last or "ssh failed"
        return GraderError(f"no connection to {self.host}: {said}\nNext: {step.format(host=self.host)}; or {HERE}.")


def grade(
    host: str,
    exercise: Exercise,
    source: Source,
    *,
    seed: int,
    on_progress: OnProgress,
    before: Callable[[], str | None] = lambda: None,
    asks: bool = True,
    connected: Callable[[Connection], None] = lambda _: None,
) -> Result:
    """The Result as if it had been graded here, marked with the host. Raises GraderError, which says what to do next.

    `before`: as in pipeline.grade. `connected` gets the connection, so that another thread can end it.
    """
    if source.problem is not None:  # nothing that could be sent
        return pipeline.grade(exercise, source, seed=seed, open_executor=executors.open_cpu)
    with Connection(host, asks=asks) as connection:
        connected(connection)
        answers = connection.answers()
        hello = next(answers, None)
        if hello is None:
            raise connection.failure("")
        if isinstance(hello, Refused):
            raise GraderError(f"{host}: {hello.why}; or {HERE}")
        if not isinstance(hello, Hello):
            raise GraderError(f"{host} does not answer like grade serve. Ask your instructor, or {HERE}")
        _compare(host, hello, exercise)
        connection.send(Request(__version__, exercise.name, seed, source.content))
        result = _result(host, answers, on_progress)
        if result is None:
            raise connection.failure(
                f"Run the same command again, with --seed {seed}: what was finished by then is not graded again"
            )
    return _as_if_here(result, host, exercise, source, seed, Written(exercise, source.text, before=before))


def _result(host: str, answers: Iterator[Answer], on_progress: OnProgress) -> bytes | None:
    for answer in answers:
        match answer:
            case Waiting(before):
                on_progress(Progress(f"waiting on {host}, {before} before you"))
            case Doing(doing, done, of):
                on_progress(Progress(f"{doing} on {host}", done, of))
            case Done(result):
                return result
            case Refused(why):
                raise GraderError(f"{host}: {why}; or {HERE}")
            case Hello():
                pass
    return None


def _compare(host: str, hello: Hello, exercise: Exercise) -> None:
    """Raises GraderError if the server has another grader, or grades by other files."""
    if hello.grader != __version__:
        raise GraderError(
            f"{host} runs version {hello.grader} of the grader, this is {__version__}. Install that one, or {HERE}"
        )
    if exercise.name not in hello.exercises:
        raise GraderError(
            f"{host} does not have exercise {exercise.name}, only {', '.join(sorted(hello.exercises)) or 'none'}. "
            f"Ask your instructor, or {HERE}"
        )
    theirs = hello.exercises[exercise.name]
    different = [name for name, hash_ in theirs.items() if _hash(exercise.folder, name) != hash_]
    if different:
        raise GraderError(
            f"{host} grades {exercise.name} with files other than yours: {', '.join(sorted(different))}. Get the "
            f"course's current exercises, or undo your changes, or {HERE}"
        )


def _hash(folder: Path, name: str) -> str | None:
    """None if there is no such file below `folder`."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return None
    try:
        return identity.file_hash(folder / name)
    except (OSError, ValueError):
        return None


def _as_if_here(text: bytes, host: str, exercise: Exercise, source: Source, seed: int, written: Written) -> Result:
    """Under the student's own file name, with what has changed since the last run: the server knows neither."""
    try:
        result = codec.decode(text)
    except codec.ResultError as error:
        _foreign(host, str(error))
    if (result.exercise, result.submission.sha256, result.seed) != (exercise.name, source.sha256, seed):
        _foreign(host, "it is of another submission")
    return msgspec.structs.replace(
        result,
        submission=msgspec.structs.replace(result.submission, path=source.printable_path),
        checks=tuple(written.marked(worker.named(check, source.name)) for check in result.checks),
        machine=result.machine | {"host": host},
    )


def _foreign(host: str, why: str) -> NoReturn:
    raise GraderError(f"the result from {host} cannot be used: {why}. Tell your instructor, or {HERE}")

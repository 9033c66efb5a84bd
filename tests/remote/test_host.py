"""grade run --host, over a real OpenSSH server on the loopback. The GPU there is a fake."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from grader import __version__
from grader.batch.ledger import Ledger
from grader.cli.command import invoke
from grader.errors import GraderError, UsageError
from grader.exercise import catalog, submission
from grader.grading.pipeline import Progress
from grader.model import codec
from grader.model.result import Result, Status, Verdict
from grader.remote import client, messages
from grader.remote.client import Connection
from grader.remote.messages import Answer, Done, Hello, Refused
from grader.remote.queue import Queue
from tests.fakes import SOURCE, write_exercise
from tests.pseudo_terminal import PseudoTerminal
from tests.remote import sshd
from tests.remote.timed_exercise import ORACLE

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 60

CLASS = ("ada", "bob", "cyd", "dee", "eve")

# Machines of which one only hears this.
ANSWERS: dict[str, list[Answer]] = {
    "older": [Hello("0.0.9")],
    "changed": [Hello(__version__, {"01_double": {"oracle.py": "0" * 64, "../../key-ada": ""}})],
    "without-it": [Hello(__version__, {"02_triple": {}})],
    "refuses": [Hello(__version__, {"01_double": {}}), Refused("its queue is full: 40 gradings are waiting")],
    "mute": [Hello(__version__, {"01_double": {}})],
    "confused": [Hello(__version__, {"01_double": {}}), Done(b'{"schema": 1}')],
}

pytestmark = pytest.mark.skipif(bool(sshd.missing()), reason=sshd.missing() or "sshd is here")


class Course(NamedTuple):
    """Each student's name is a host, and the queue of those named in CLASS is `folder`/class."""

    folder: Path

    def gated(self, name: str) -> bytes:
        """A submission whose grading ends once the file `name` exists."""
        return SOURCE + f"// until: {self.folder / name}\n".encode()

    def tickets(self, queue: str) -> int:
        return len(list((self.folder / queue / ".tickets").glob("*")))

    def starts(self, queue: str) -> list[str]:
        """Whose gradings began, in order."""
        kept = json.loads((self.folder / queue / ".starts.json").read_text())
        return [student for _, student in sorted((at, student) for student, times in kept.items() for at in times)]

    def grade(
        self,
        host: str,
        content: bytes = SOURCE,
        *,
        seed: int = 7,
        told: Callable[[str], None] = lambda _: None,
        connected: Callable[[Connection], None] = lambda _: None,
    ) -> Result:
        def show(progress: Progress) -> None:
            told(progress.doing)

        exercise = catalog.read(self.folder / "exercises" / "01_double")
        source = submission.of(Path("kernels/mine.cu"), content)
        return client.grade(host, exercise, source, seed=seed, on_progress=show, asks=False, connected=connected)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    folder = tmp_path_factory.mktemp("course")
    write_exercise(folder / "exercises" / "01_double", oracle=ORACLE)
    python = f"env PYTHONPATH={ROOT} GRADER_CACHE_DIR={folder}/cache LOCKS={folder} {sys.executable}"

    def serve(student: str, queue: str, module: str = "tests.remote.fake_serve", more: str = "") -> str:
        options = f"--student {student} --queue {folder}/{queue} --exercises {folder}/exercises"
        return f"{python} -m {module} {options} {more}"

    commands = {student: serve(student, "class") for student in CLASS} | {
        "fay": serve("fay", "rate", more="--per-hour 1"),
        "gus": serve("gus", "killed"),
        "una": serve("una", "other"),
        "mal": serve("mal", "mal", "grader serve", "--device cpu"),
        "broken": f"ls {folder}/nowhere",
        "shell": "echo Welcome to the cluster",
        "stranger": "",
    }
    for name, answer in ANSWERS.items():
        (folder / name).write_bytes(b"".join(map(messages.line, answer)))
        commands[name] = f"cat {folder}/{name}"
    with sshd.running(folder, commands) as path, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        yield Course(folder)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_verdict_and_report_come_back_as_if_made_here(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(course.folder / "exercises", tmp_path / "exercises")
    (tmp_path / "exercises" / "01_double" / "notes.txt").write_text("mine")  # is no reason to refuse
    (tmp_path / "mine.cu").write_bytes(SOURCE)
    monkeypatch.chdir(tmp_path)
    written = ["--json", "result.json", "--html", "report.html"]
    assert invoke(["run", "1", "mine.cu", "--host", "una", "--seed", "3", *written]) == 0
    out = capsys.readouterr().out
    assert out.startswith("PASSED")
    assert "Graded on una." in out
    assert "grade run 1 mine.cu --seed 3 --host una" in out
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["submission"]["path"] == "mine.cu"
    assert result["machine"]["host"] == "una"
    assert result["machine"]["gpu"]["name"] == "NVIDIA H200"
    assert result["points"]["performance"] == 40
    page = (tmp_path / "report.html").read_text()
    assert "Graded on una." in page
    assert "double_kernel" in page


def test_in_watch_a_key_grades_there(course: Course, tmp_path: Path) -> None:
    """The kernel reads past its array, which the real engine here says, and the fake one there does not."""
    shutil.copytree(course.folder / "exercises", tmp_path / "exercises")
    command = [sys.executable, "-m", "grader", "watch", "1", "--device", "cpu", "--host", "una"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GRADER_CACHE_DIR": str(course.folder / "cache")}
    with PseudoTerminal(command, cwd=tmp_path, env=environment) as terminal:
        here = terminal.shows("Waiting for the next save")
        assert "g grade on una" in here
        terminal.press("g")
        assert "sent to una" in terminal.shows("PASSED")
        terminal.shows("Graded on una.")
        terminal.press("q")
        assert terminal.ends() == 0


def test_five_students_take_turns_and_nobody_comes_twice_before_the_others(course: Course) -> None:
    """Ada is being graded and has another one waiting when the others arrive."""
    results: list[Result] = []
    told: dict[int, list[str]] = {}
    threads: list[threading.Thread] = []

    def send(seed: int, student: str, content: bytes) -> None:
        told[seed] = []
        results.append(course.grade(student, content, seed=seed, told=told[seed].append))

    for seed, student in enumerate(("ada", "ada", "bob", "cyd", "dee", "eve"), start=100):
        content = course.gated("open") if not threads else SOURCE
        threads.append(threading.Thread(target=send, args=(seed, student, content)))
        threads[-1].start()
        until(lambda: course.tickets("class") == len(threads))
    (course.folder / "open").touch()
    for thread in threads:
        thread.join()
    assert [result.verdict for result in results] == [Verdict.PASSED] * 6
    assert course.starts("class") == ["ada", "bob", "cyd", "dee", "eve", "ada"]
    assert "waiting on eve, 4 before you" in told[105]
    assert course.tickets("class") == 0


def test_the_hour_of_a_student_is_used_up_but_not_by_what_is_known(course: Course) -> None:
    first = course.grade("fay", seed=1)
    with pytest.raises(GraderError, match=r"fay: you have used your 1 gradings per hour there. Try again in \d+ min"):
        course.grade("fay", seed=2)
    assert course.grade("fay", seed=1) == first
    with Ledger(course.folder / "rate") as ledger:
        assert [event.grading.conditions.seed for event in ledger.history("fay")] == [1]


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_killed_connection_leaves_the_queue_and_is_said(course: Course, who: str) -> None:
    connections: list[Connection] = []
    failed: list[GraderError] = []

    def send() -> None:
        with pytest.raises(GraderError) as raised:
            course.grade("gus", course.gated("never"), connected=connections.append)
        failed.append(raised.value)

    thread = threading.Thread(target=send)
    thread.start()
    until(lambda: course.tickets("killed") == 1)
    if who == "client":
        connections[0].kill()
    else:
        (ticket,) = (course.folder / "killed" / ".tickets").iterdir()
        os.kill(int(ticket.name.rpartition("-")[2]), signal.SIGKILL)
    thread.join()
    assert "the connection to gus was lost" in str(failed[0])
    assert "Run the same command again, with --seed 7" in str(failed[0])
    with Queue(course.folder / "killed").turn("hal", threading.Event(), print):  # once nobody else is there
        assert course.tickets("killed") == 1


def test_ctrl_c_leaves_the_queue(course: Course) -> None:
    (course.folder / "mine.cu").write_bytes(course.gated("never"))
    command = [sys.executable, "-m", "grader", "run", "1", "mine.cu", "--host", "gus"]
    run = subprocess.Popen(command, cwd=course.folder, env=os.environ | {"PYTHONPATH": str(ROOT)})
    until(lambda: course.tickets("killed") == 1)
    run.send_signal(signal.SIGINT)
    assert run.wait() == 130
    until(lambda: course.tickets("killed") == 0)


def test_a_file_that_tries_to_read_anothers(course: Course) -> None:
    """It can name the file; no word of it comes back."""
    (course.folder / "mal").mkdir()
    others = course.folder / "mal" / "ada.cu"
    others.write_text("#error ada keeps this to herself\n")
    result = course.grade("mal", SOURCE + f'#include "{others}"\n'.encode())
    assert [check.id for check in result.checks if check.status is Status.FAILED] == ["compile"]
    assert result.checks[0].findings[0].file == "mine.cu"
    assert "herself" not in codec.encode(result).decode()


def test_no_other_program_runs_with_such_a_key(course: Course) -> None:
    command = ["ssh", "older", "echo", "mine"]
    done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    assert done.stdout == messages.line(ANSWERS["older"][0])


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("refuses", "refuses: its queue is full: 40 gradings are waiting; or"),
        ("older", "older runs version 0.0.9 of the grader, this is"),
        (
            "changed",
            "changed grades 01_double with files other than yours: ../../key-ada, oracle.py. Get the course's",
        ),
        ("without-it", "without-it does not have exercise 01_double, only 02_triple. Ask your instructor"),
        ("confused", "the result from confused cannot be used: Object missing required field"),
        ("broken", "grade serve did not start on broken: ls: cannot access"),
        ("shell", "shell does not answer like grade serve, but with 'Welcome to the cluster'. Ask"),
        ("stranger", "Permission denied (publickey).\nNext: give your instructor your public key"),
        ("nowhere.invalid", "Next: check the name, or add it to ~/.ssh/config"),
    ],
)
def test_what_goes_wrong_is_said_with_the_next_step(course: Course, host: str, said: str) -> None:
    with pytest.raises(GraderError) as raised:
        course.grade(host)
    assert said in str(raised.value)
    assert "leave out --host to grade here" in str(raised.value)


def test_a_machine_that_stops_halfway(course: Course) -> None:
    with pytest.raises(
        GraderError, match=r"to mute was lost. Run the same command again, with --seed 7: what was fin"
    ):
        course.grade("mute")


def test_a_file_that_is_none_is_not_sent(course: Course) -> None:
    result = course.grade("nowhere.invalid", b"x" * (submission.MAX_BYTES + 1))
    assert result.verdict is Verdict.FAILED
    assert result.checks[0].findings[0].message.startswith("mine.cu is larger than 1 MiB")


@pytest.mark.parametrize("name", ["", "-oProxyCommand=touch", "two words"])
def test_a_name_that_is_no_host(course: Course, name: str) -> None:
    with pytest.raises(UsageError):
        course.grade(name)

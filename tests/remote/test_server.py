"""grade serve, given what a client could send it: here over a pipe."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from grader import __version__, executors, machine
from grader.batch import cluster
from grader.batch.ledger import Ledger
from grader.batch.worker import Graded, Task, grade
from grader.exercise import submission
from grader.exercise.secret import Secret
from grader.model import codec
from grader.model.execution import Outcome
from grader.model.result import Result, Status, Verdict
from grader.remote import messages, server
from grader.remote.messages import Answer, Doing, Done, Hello, Refused, Request
from grader.remote.queue import Queue
from grader.remote.server import Place
from grader.sandbox import ChildDied, confine
from tests.fakes import SOURCE, Arrays, FakeExecutor, write_exercise

ASKED = Request(__version__, "01_double", 7, SOURCE)


class Machine:
    """A forced command's process, in this one."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.said: list[Answer] = []

    def hears(self, sent: bytes | Request, *, stays: bool = True) -> Answer:
        """Its last answer. A client that does not stay closes its end at once."""
        content = messages.line(sent) if isinstance(sent, Request) else sent
        incoming, outgoing = os.pipe()
        writer = threading.Thread(target=_write, args=(outgoing, content))
        writer.start()
        if not stays:
            writer.join()
            os.close(outgoing)
        server.serve(self.place, "ada", incoming, self._take)
        if stays:
            self._drain(incoming, outgoing, writer)
        return self.said[-1]

    @staticmethod
    def _drain(incoming: int, outgoing: int, writer: threading.Thread) -> None:
        """As when the process ends. Its end stays open: a thread of its own may still read there, until the end."""
        while writer.is_alive():
            if select.select([incoming], [], [], 0.01)[0]:
                os.read(incoming, 1 << 16)
        os.close(outgoing)

    def result(self, sent: Request = ASKED) -> Result:
        answer = self.hears(sent)
        assert isinstance(answer, Done), answer
        return codec.decode(answer.result)

    def refusal(self, sent: bytes | Request) -> str:
        answer = self.hears(sent)
        assert isinstance(answer, Refused), answer
        return answer.why

    def _take(self, line: bytes) -> None:
        self.said.append(messages.read(line, Answer))  # type: ignore[arg-type]


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    write_exercise(tmp_path / "exercises" / "01_double")
    monkeypatch.setattr(executors, "open_cpu", lambda *_, **__: FakeExecutor())
    monkeypatch.setattr(confine, "missing", lambda: ())
    yield Machine(Place(tmp_path / "queue", tmp_path / "exercises", device="cpu"))


def test_it_begins_by_saying_what_it_has(here: Machine) -> None:
    here.hears(b"\n")
    assert isinstance(here.said[0], Hello)
    assert here.said[0].grader == __version__
    assert set(here.said[0].exercises["01_double"]) == {"exercise.toml", "oracle.py"}


def test_what_was_graded_is_in_the_ledger_under_no_name(here: Machine) -> None:
    result = here.result()
    assert (result.seed, result.submission.path, result.verdict) == (7, "submission.cu", Verdict.INCOMPLETE)
    with Ledger(here.place.folder) as ledger:
        (event,) = ledger.history("ada")
    assert event.grading.result == result


def test_an_error_of_the_grader_is_no_result_and_not_kept_for_good(
    here: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(_: Arrays) -> Outcome:
        raise ChildDied("the machine is out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(executors, "open_cpu", lambda *_, **__: FakeExecutor(compute=dies))
        assert here.result().verdict is Verdict.ERROR
    assert here.result().verdict is Verdict.INCOMPLETE


def test_secret_cases_stay_redacted_and_progress_does_not_tell_how_far_they_got(here: Machine) -> None:
    here.place = msgspec.structs.replace(here.place, secret=Secret(({"M_sizes": [3, 0, 17]},)))
    result = here.result()
    (check,) = [check for check in result.checks if check.id == "correct[secret-1]"]
    assert check.status is Status.PASSED
    assert "17" not in check.message + str(check.measurements)
    doing = [answer for answer in here.said if isinstance(answer, Doing)]
    assert Doing("the instructor's secret cases") in doing
    assert not [step for step in doing if "secret-" in step.doing]


def test_what_is_wrong_with_a_secret_case_is_for_the_instructor_alone(here: Machine) -> None:
    here.place = msgspec.structs.replace(here.place, secret=Secret(({"sizes": [3, 0, 17]},)))
    assert here.refusal(ASKED).startswith("it could not grade this. Try again; if it happens again, tell your")
    with Ledger(here.place.folder) as ledger:
        (event,) = ledger.history("ada")
    assert "M_sizes is missing" in event.grading.problem


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.1\n", "the message is not a submission"),
        (b"\xff\xfe\n", "the message is not a submission"),
        (b"[" * 1_000_000 + b"\n", "the message is not a submission"),
        (b"x" * (messages.MAX_REQUEST_BYTES + 1), "the message is larger than 2 MiB"),
        (messages.line(ASKED)[:-2] + b', "command": "sh"}\n', "unknown field `command`"),
        (msgspec.structs.replace(ASKED, content=b"x" * (submission.MAX_BYTES + 1)), "Expected `bytes` of length"),
        (msgspec.structs.replace(ASKED, seed=-1), "Expected `int` >= 0"),
        (msgspec.structs.replace(ASKED, grader="9.9"), f"it runs version {__version__} of the grader, not 9.9"),
        (msgspec.structs.replace(ASKED, exercise="1"), "it has no exercise '1'"),
        (msgspec.structs.replace(ASKED, exercise="../exercises/01_double"), "it has no exercise"),
    ],
    ids=lambda value: None if isinstance(value, str) else "",
)
def test_what_is_no_request(here: Machine, sent: bytes | Request, said: str) -> None:
    assert said in here.refusal(sent)
    assert not list(here.place.folder.glob(".tickets/*"))


def test_a_client_that_says_nothing(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.05)
    assert here.refusal(b'{"half').startswith("no submission arrived within")


def test_who_leaves_while_waiting_is_not_graded(here: Machine) -> None:
    with Queue(here.place.folder).turn("bob", threading.Event(), print):
        here.hears(ASKED, stays=False)
    assert not [answer for answer in here.said if isinstance(answer, Done | Refused)]
    assert not list(here.place.folder.glob(".tickets/*"))
    with Ledger(here.place.folder) as ledger:
        assert ledger.history("ada") == []


def test_an_empty_file_is_a_failed_compile_as_with_grade_run(here: Machine) -> None:
    result = here.result(msgspec.structs.replace(ASKED, content=b""))
    assert result.checks[0].findings[0].message.startswith("submission.cu is empty")


def test_a_machine_without_a_gpu_or_a_sandbox_says_so(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 0)
    here.place = msgspec.structs.replace(here.place, device="cuda")
    assert here.refusal(ASKED).startswith("it has no GPU at the moment. Tell your instructor")
    monkeypatch.setattr(confine, "missing", lambda: ("no Landlock",))
    assert here.refusal(ASKED).startswith("it cannot confine submissions")


def test_an_exercise_that_is_broken_there(here: Machine) -> None:
    (here.place.exercises / "01_double" / "exercise.toml").write_text("title = 3")
    assert "exercise.toml" in here.refusal(ASKED)


def test_with_parsl_other_machines_grade(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def engine(config: Any, *, gpu: bool, stop: threading.Event) -> Any:
        assert (config, gpu, stop.is_set()) == ("nodes.py", True, False)
        return lambda tasks: ((task, elsewhere(task)) for task in tasks)

    def elsewhere(task: Task) -> Graded:
        return grade(msgspec.structs.replace(task, gpu=None))

    monkeypatch.setattr(machine, "gpus", lambda: 0)
    monkeypatch.setattr(cluster, "read", str)
    monkeypatch.setattr(cluster, "engine", engine)
    here.place = msgspec.structs.replace(here.place, device="cuda", config=Path("nodes.py"))
    assert here.result().verdict is Verdict.INCOMPLETE
    assert Doing("on the cluster") in here.said

"""The input of a batch: who submitted what, the conditions of grading, and what is refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from grader import files
from grader.batch import choice, class_list, identity, lanes, late, outputs, roster, who, worker
from grader.batch.entry import Submitted
from grader.batch.identity import Conditions
from grader.batch.ledger import FILE, Enrolled, Ledger
from grader.errors import UsageError
from grader.exercise.secret import Secret
from grader.exercise.submission import Source
from grader.model.exercise import Exercise
from grader.seeds import SEEDS

Note = Callable[[str], None]


class Batch(msgspec.Struct, frozen=True):
    """What was requested. For None, "auto" and (), the ledger of an existing batch decides; for a new one, chance and
    the machine do."""

    submissions: Path
    exercise: Exercise
    out: Path
    device: str = "auto"
    gpus: tuple[int, ...] = ()
    seed: int | None = None
    secret: Secret | None = None
    jobs: int | None = None
    replace: bool = False  # students in the ledger but not in `submissions` leave the batch
    trust: bool = False  # grade even if this machine cannot confine submissions
    real_names: bool | None = None  # on the leaderboards, instead of pseudonyms
    students: tuple[str, ...] = ()  # only these are graded now; by any identifier
    roster: Path | None = None  # the class as the platform lists it
    late: Path | None = None  # the rule for late work, which the ledger keeps


class Accepted(NamedTuple):
    """A batch that is ready to start."""

    settings: dict[str, str]  # for the ledger
    conditions: Conditions
    enrolled: list[Enrolled]  # everybody
    todo: dict[str, Source]  # not graded yet, each distinct content once, by key
    gpus: dict[int, int]  # GPUs of this machine for `todo`: number of lanes, by GPU number
    leaving: list[str]  # students in the batch so far
    waiting: frozenset[str]  # keys that are not graded now, because only some students are


def accept(batch: Batch, unpacked: Path, note: Note, *, here: bool) -> Accepted:
    """Writes only into `unpacked`. Raises UsageError if `out` holds a different batch; GraderError
    if something must be graded on a GPU and there is none `here`."""
    _apart(batch)
    settings, known = _begun(batch.out)
    _same_exercise(batch, settings)
    submitted = [_printable(one) for one in roster.read(batch.submissions, unpacked, batch.exercise.name)]
    if batch.roster is None:
        submitted = class_list.kept(submitted, known)
    else:
        submitted = class_list.apply(class_list.read(batch.roster), submitted)
    leaving = _leaving(batch, known, submitted)
    conditions = _conditions(batch, settings, here=here)
    enrolled, sources = _enrolled(submitted, conditions)
    todo = _not_settled(batch.out, sources)
    chosen = _chosen(batch, enrolled)
    waiting = frozenset(todo) - chosen
    todo = {key: source for key, source in todo.items() if key in chosen}
    gpus = lanes.usable(batch.gpus, required=True) if todo and here and conditions.device == "cuda" else {}
    for change in _changes(settings, conditions):
        note(change)
    kept = _settings(batch, conditions)
    if batch.late is not None:
        kept[outputs.LATE] = late.read(batch.late, [one.submitted for one in enrolled])
    return Accepted(kept, conditions, enrolled, todo, gpus, leaving, waiting)


def _chosen(batch: Batch, enrolled: Sequence[Enrolled]) -> frozenset[str]:
    """The keys of the students to be graded. Raises UsageError if there is no such student."""
    known = [one.submitted for one in enrolled]
    wanted = {who.find(name, known).student for name in batch.students}
    return frozenset(one.key for one in enrolled if not batch.students or one.submitted.student in wanted)


def _apart(batch: Batch) -> None:
    """The output of this batch would become students of the next. Raises UsageError."""
    if files.real(batch.submissions) == files.real(batch.out):
        raise UsageError(f"{batch.submissions} contains the submissions; choose another folder for --out")
    if (batch.submissions / FILE).exists():
        raise UsageError(
            f"{batch.submissions} is the output of a batch: it contains a {FILE}.\n"
            "Name the folder of the submissions. If they are in this one, move them to a separate folder"
        )


def _begun(out: Path) -> tuple[dict[str, str], list[Enrolled]]:
    """Settings and students of the batch in `out`; none if there is no batch yet."""
    if not (out / FILE).exists():
        return {}, []
    with Ledger(out) as ledger:
        return ledger.settings(), ledger.enrolled()


def _not_settled(out: Path, sources: dict[str, Source]) -> dict[str, Source]:
    if not (out / FILE).exists():
        return sources
    with Ledger(out) as ledger:
        settled = ledger.settled(sources)
    return {key: source for key, source in sources.items() if key not in settled}


def _enrolled(submitted: Sequence[Submitted], conditions: Conditions) -> tuple[list[Enrolled], dict[str, Source]]:
    enrolled: list[Enrolled] = []
    sources: dict[str, Source] = {}
    for one in submitted:
        if one.path is None:
            enrolled.append(Enrolled(one))
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
    """An id with bytes that are not text, as in a folder's name, stays unique."""
    return msgspec.structs.replace(one, student=one.student.encode(errors="backslashreplace").decode())


def _conditions(batch: Batch, settings: dict[str, str], *, here: bool) -> Conditions:
    """Whatever is not requested stays as recorded in the ledger."""
    recorded = int(settings["seed"]) if "seed" in settings else None
    seed = batch.seed if batch.seed is not None else recorded
    if seed is None:
        seed = secrets.randbelow(SEEDS)
    device = _device(batch, settings.get("device"), here=here)
    return identity.conditions(batch.exercise, seed=seed, device=device, secret=batch.secret)


def _changes(settings: dict[str, str], conditions: Conditions) -> Iterator[str]:
    """Requests that differ from the ledger."""
    seed, device = settings.get("seed"), settings.get("device")
    if seed is not None and int(seed) != conditions.seed:
        yield f"seed {conditions.seed} instead of {seed}: every submission is graded with different inputs"
    if device is not None and device != conditions.device:
        yield f"on {conditions.device} instead of {device}: every submission is graded again"


def _device(batch: Batch, recorded: str | None, *, here: bool) -> str:
    if batch.gpus:
        return "cuda"
    if batch.device != "auto":
        return batch.device
    if recorded is None and not here:
        raise UsageError("use --device cpu or --device cuda: this machine cannot tell whether the others have GPUs")
    return recorded or ("cuda" if lanes.usable((), required=False) else "cpu")


def _settings(batch: Batch, conditions: Conditions) -> dict[str, str]:
    return {
        "exercise": conditions.exercise,
        "exercises": str(batch.exercise.folder.absolute().parent).encode(errors="replace").decode(),
        "seed": str(conditions.seed),
        "device": conditions.device,
    } | ({} if batch.real_names is None else {"real_names": "yes" if batch.real_names else "no"})


def _same_exercise(batch: Batch, settings: dict[str, str]) -> None:
    known = settings.get("exercise", batch.exercise.name)
    if known != batch.exercise.name:
        raise UsageError(f"{batch.out} contains a batch of {known}; choose another --out for {batch.exercise.name}")


def _leaving(batch: Batch, known: Sequence[Enrolled], submitted: Sequence[Submitted]) -> list[str]:
    """Naming another class's folder by mistake must not drop this class from its gradebook. Raises UsageError."""
    handed_in = {one.student for one in submitted}
    seen = [one.submitted for one in known if one.submitted.problem != class_list.NOT_SUBMITTED]
    left_out = [one.student for one in seen if one.student not in handed_in]
    if left_out and not batch.replace:
        are = "1 student is" if len(left_out) == 1 else f"{len(left_out)} students are"
        raise UsageError(
            f"{are} in the batch in {batch.out} but not in {batch.submissions}: {choice.some(left_out)}.\n"
            "For another class, choose another --out; --replace removes these students from the batch"
        )
    return left_out

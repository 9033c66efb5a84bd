"""The folder of a batch: nothing there of a batch that was refused, and nothing of a student who left."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from grader.batch import archives, instructor, run, workplace
from grader.batch.entry import ManualPoints
from grader.batch.intake import Batch
from grader.batch.ledger import Ledger
from grader.cli.command import invoke
from grader.errors import GraderError, UsageError
from tests.batch.classroom import School, Watching
from tests.fakes import SOURCE


def zipped(school: School, students: Iterable[str], name: str = "class.zip") -> Path:
    file = school.folder / name
    with zipfile.ZipFile(file, "w") as archive:
        for student in students:
            archive.writestr(f"{student}/starter.cu", f"// right {student}\n".encode() + SOURCE)
    return file


def grade(school: School, submissions: Path, watch: Watching | None = None, *, replace: bool = False) -> None:
    run.run(Batch(submissions, school.exercise, school.out, "cpu", replace=replace), watch or Watching())


def files(folder: Path) -> dict[str, bytes]:
    """All there is, but for what comes and goes with SQLite's connections."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm")))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def traces(folder: Path, student: str) -> list[Path]:
    """But for the ledger: files and folders under the student's name, and files that hold it."""
    found = [path for path in folder.rglob("*") if not path.name.startswith("ledger.sqlite")]
    return [
        path for path in found if student in path.name or (path.is_file() and student.encode() in path.read_bytes())
    ]


def test_a_zip_that_is_refused_leaves_no_folder_behind(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    school.out = school.folder / "new" / "out"
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    with pytest.raises(UsageError, match="contains 2 files"):
        grade(school, zipped(school, ["ada", "bob"]))
    assert not (school.folder / "new").exists()


def test_what_was_there_stays_as_it_was(school: School) -> None:
    school.out.mkdir()
    (school.out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="does not exist"):
        grade(school, school.folder / "nowhere")
    assert files(school.out) == {"notes.txt": b"mine"}


def test_submissions_and_what_a_batch_writes_are_kept_apart(school: School) -> None:
    school.hand_in("ada")
    before = files(school.submissions)
    for out in (school.submissions, school.submissions / ".." / "submissions"):
        school.out = out
        with pytest.raises(UsageError, match="choose another folder for --out"):
            grade(school, school.submissions)
    assert files(school.submissions) == before
    school.out = school.submissions / "graded"
    grade(school, school.submissions)
    with pytest.raises(UsageError, match=r"it contains a ledger\.sqlite"):
        run.run(Batch(school.out, school.exercise, school.folder / "other", "cpu"), Watching())


def test_the_zip_of_another_class_changes_nothing(school: School) -> None:
    grade(school, zipped(school, ["ada", "bob"]))
    before = files(school.out)
    with pytest.raises(UsageError, match="--replace"):
        grade(school, zipped(school, ["ada", "eve"], "other.zip"))
    assert files(school.out) == before


def _without_a_gpu(school: School) -> None:
    run.run(Batch(school.submissions, school.exercise, school.out, "cuda"), Watching())


def _with_a_broken_oracle(school: School) -> None:
    (school.exercise.folder / "oracle.py").write_text("1 / 0\n")
    grade(school, school.submissions)


@pytest.mark.parametrize("refused", [_without_a_gpu, _with_a_broken_oracle])
def test_what_cannot_be_graded_here_changes_nothing(school: School, refused: Callable[[School], None]) -> None:
    school.hand_in("ada")
    grade(school, school.submissions)
    before = files(school.out)
    with pytest.raises(GraderError):
        refused(school)
    assert files(school.out) == before


def test_without_the_gpu_asked_for_nothing_is_begun(school: School) -> None:
    school.hand_in("ada")
    with pytest.raises(GraderError, match="no NVIDIA GPU"):
        _without_a_gpu(school)
    assert not school.out.exists()


def test_a_disk_that_is_full_while_unpacking_keeps_nothing(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_bytes(file: Path, content: bytes) -> int:
        if file.parent.name == "bob":
            raise OSError(28, "No space left on device")
        return file.write_text(content.decode())

    file = zipped(school, ["ada", "bob"])
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(GraderError, match=r"cannot unpack into .*: No space left"):
        grade(school, file)
    assert not school.out.exists()


def test_the_next_zip_takes_the_place_of_the_last(school: School) -> None:
    grade(school, zipped(school, ["ada", "bob"]))
    left_by_a_kill = school.out / f"{workplace.UNPACKED}0" / "zoe"
    left_by_a_kill.mkdir(parents=True)
    grade(school, zipped(school, ["ada", "bob", "cyd"]))
    with Ledger(school.out) as ledger:
        paths = [one.submitted.path for one in ledger.enrolled()]
    assert all(path and path.is_file() for path in paths)
    unpacked = {path for path in school.out.glob(f"{workplace.UNPACKED}*/*/*") if path.is_file()}
    assert unpacked == set(paths)
    assert not traces(school.out, "zoe")


def test_who_is_replaced_leaves_no_trace_but_in_the_ledger(school: School) -> None:
    grade(school, zipped(school, ["adelaide", "bob"]))
    with Ledger(school.out) as ledger:
        instructor.give(ledger, school.exercise, school.out, "adelaide", ManualPoints(5, "neat"))
    for to in ("gradescope", "canvas"):
        assert invoke(["export", str(school.out), "--to", to, "--so-far"]) == 0
    watch = Watching()
    grade(school, zipped(school, ["bob"]), watch, replace=True)
    assert [path.name for path in traces(school.out, "adelaide")] == ["canvas.csv"]
    assert any("canvas.csv was exported earlier and may still contain adelaide" in said for said in watch.said)
    assert {path.name for path in (school.out / "gradescope").iterdir()} == {"bob"}
    again = Watching()
    grade(school, zipped(school, ["adelaide", "bob"]), again)
    assert not again.heard
    assert "neat" in (school.out / "gradebook.csv").read_text()


def test_who_is_purged_leaves_no_trace_at_all(school: School) -> None:
    grade(school, zipped(school, ["adelaide", "bob"]))
    assert invoke(["export", str(school.out), "--to", "gradescope"]) == 0
    with Ledger(school.out) as ledger:
        removed = instructor.purge(ledger, school.exercise, school.out, "adelaide")
    assert [path.name for path in removed] == ["adelaide.json", "adelaide.html", "adelaide", "starter.cu"]
    assert not traces(school.out, "adelaide")
    assert not [name for name, content in files(school.out).items() if b"adelaide" in content]


def test_the_last_who_is_purged_leaves_no_empty_folder(school: School) -> None:
    grade(school, zipped(school, ["ada"]))
    with Ledger(school.out) as ledger:
        instructor.purge(ledger, school.exercise, school.out, "ada")
    assert [path for path in school.out.rglob("*") if path.is_dir()] == []

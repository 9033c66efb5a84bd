"""Feedback under the names that the platform gave, as each one's importer reads them."""

from __future__ import annotations

import io
import re
import zipfile

import msgspec
import pytest

from grader.batch import annotated, feedback, platforms
from grader.batch.entry import Entry, ManualPoints
from grader.batch.exports import gradescope
from grader.cli.command import invoke
from grader.model.result import Finding
from tests.batch.class_of import EXERCISE, RACE, WRONG, entry, not_timed, wrong
from tests.batch.classroom import School
from tests.fakes import SOURCE


def kernel(student: str, does: str = "right") -> bytes:
    return f"// {does} {student}\n".encode() + SOURCE


def graded_zip(school: School, files: dict[str, bytes]) -> dict[str, bytes]:
    """The feedback for what was handed in so: its files by name."""
    handed_in = school.folder / "download.zip"
    with zipfile.ZipFile(handed_in, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    exercises = ("--exercises", str(school.folder / "exercises"))
    assert (
        invoke(["batch", str(handed_in), "--exercise", "1", "--out", str(school.out), "--device", "cpu", *exercises])
        == 0
    )
    assert invoke(["export", str(school.out), "--to", "feedback", *exercises]) == 0
    return unzipped((school.out / "feedback.zip").read_bytes())


def unzipped(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def moodles_participant(path: str) -> str:
    """Whose feedback this file is for importziplib.php: four parts between underscores, the second a number."""
    for part in path.split("/"):
        pieces = part.split("_", 4)
        if len(pieces) >= 4 and pieces[1].isdigit() and pieces[2:4] == ["assignsubmission", "file"]:
            return pieces[1]
    return ""


def canvas_upload(path: str) -> tuple[str, str]:
    """User and upload for infer_comment_context_from_filename: the first two numbers between underscores."""
    pieces = [piece for piece in path.rpartition("/")[2].split("_") if piece != "LATE"]
    if pieces[0] == "anon":
        return pieces[1], pieces[2]
    user, upload, *_ = [piece for piece in pieces if re.fullmatch(r"\d+", piece)]
    return user, upload


@pytest.mark.parametrize("slash", ["/", "_/", "_"])
def test_moodle_takes_it_back(school: School, slash: str) -> None:
    students = {
        f"Jane O'Doe_7_assignsubmission_file{slash}starter.cu": kernel("jane", "wrong"),
        f"李 明_8_assignsubmission_file{slash}sub.cu": kernel("li"),
        f"No File_9_assignsubmission_file{slash}notes.pdf": b"%PDF",
    }
    made = graded_zip(school, students)
    assert sorted(made) == [
        f"{name}_assignsubmission_file{slash}feedback.html" for name in ("Jane O'Doe_7", "李 明_8")
    ]
    assert [moodles_participant(name) for name in sorted(made)] == ["7", "8"]
    assert b"Not correct yet" in made[min(made)]


def test_canvas_takes_it_back(school: School, capsys: pytest.CaptureFixture[str]) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("starter.cu", kernel("zoe"))
    students = {
        "doejane_101_9001_starter.cu": kernel("jane", "races"),
        "roe_LATE_102_9002_my_kernel-1.cu": kernel("roe"),
        "zoe_103_9003_k.zip": inner.getvalue(),
        "paul_104_text.html": f"<p>{kernel('paul').decode().replace('<', '&lt;')}</p>".encode(),
        "anon_x1Y_9005_starter.cu.txt": kernel("anon"),
    }
    made = graded_zip(school, students)
    assert set(made) == set(students) - {"paul_104_text.html"}
    assert {canvas_upload(name) for name in made} == {
        ("101", "9001"),
        ("102", "9002"),
        ("103", "9003"),
        ("x1Y", "9005"),
    }
    said = capsys.readouterr()
    assert "without feedback in it: 104" in said.err
    assert "Re-Upload Submissions" in said.out
    text = made["doejane_101_9001_starter.cu"].decode()
    assert text.startswith(
        "// Double every row: Not correct yet. 1 problem to fix: race between threads on line 7.\n"
    )
    assert "Next: Put a __syncthreads()" in text
    assert [line for line in text.splitlines() if line.endswith("// <-- 1")]
    assert set(unzipped(made["zoe_103_9003_k.zip"])) == {"starter.cu", "feedback.html"}


def test_plain_folders_get_a_folder_each(school: School) -> None:
    made = graded_zip(school, {"ada/starter.cu": kernel("ada"), "李 明/starter.cu": kernel("li")})
    assert len(made) == 2
    assert "ada/feedback.html" in made


def test_a_source_that_changed_since_is_not_sent_back_with_another_ones_lines(school: School) -> None:
    school.submissions.joinpath("doejane_101_9001_starter.cu").write_bytes(kernel("jane"))
    school.submissions.joinpath("roe_102_9002_starter.cu").write_bytes(kernel("roe"))
    exercises = ("--exercises", str(school.folder / "exercises"))
    where = (str(school.submissions), "--exercise", "1", "--out", str(school.out), "--device", "cpu")
    assert invoke(["batch", *where, *exercises]) == 0
    school.submissions.joinpath("roe_102_9002_starter.cu").write_bytes(kernel("other"))
    assert invoke(["export", str(school.out), "--to", "feedback", *exercises]) == 0
    assert set(unzipped((school.out / "feedback.zip").read_bytes())) == {"doejane_101_9001_starter.cu"}


def test_nothing_graded_is_no_feedback(school: School, capsys: pytest.CaptureFixture[str]) -> None:
    (school.submissions / "cyd").mkdir()
    exercises = ("--exercises", str(school.folder / "exercises"))
    where = (str(school.submissions), "--exercise", "1", "--out", str(school.out), "--device", "cpu")
    assert invoke(["batch", *where, *exercises]) == 0
    assert invoke(["export", str(school.out), "--to", "feedback", *exercises]) == 2
    assert "no submission has feedback yet" in capsys.readouterr().err


# The words


def test_a_comment_has_the_mistake_and_the_next_step() -> None:
    text = feedback.comment(WRONG, EXERCISE)
    assert text.startswith(
        "correctness 16 of 40; quality 12 of 20. Wrong result: rows of the last tile are never stored."
    )
    assert "Next: That mistake would produce exactly these numbers." in text
    assert text.endswith("See problem.md#ragged-tiles.")


def test_a_comment_of_what_is_right_has_no_advice() -> None:
    right = entry("bob", not_timed())
    assert feedback.comment(right, EXERCISE) == "correctness 40 of 40; quality 12 of 20."
    manual = msgspec.structs.replace(right, manual=ManualPoints(3, "Neat."))
    assert feedback.comment(manual, EXERCISE).endswith("; from your instructor 3. Neat.")


def annotated_source(finding: Finding, text: str) -> str:
    made = wrong(finding)
    return annotated.source(Entry(WRONG.submitted, made), made, EXERCISE, text)


def test_an_annotated_source_is_the_students_own_below_the_comments() -> None:
    text = "".join(f"line {n};\r\n" for n in range(1, 40))
    made = annotated_source(RACE, text).splitlines()
    below = made[next(at for at, line in enumerate(made) if line == "line 1;") :]
    assert all(line.startswith("//") for line in made[: len(made) - len(below)])
    assert below[32] == "line 33;  // <-- 1"
    assert [line.partition("  //")[0] for line in below] == text.splitlines()
    assert max(map(len, made)) <= 110


def test_a_macro_is_not_cut_by_a_mark() -> None:
    finding = msgspec.structs.replace(RACE, line=1)
    assert "#define X \\\n  1" in annotated_source(finding, "#define X \\\n  1\n")


def test_what_a_student_wrote_ends_no_comment_line() -> None:
    finding = msgspec.structs.replace(RACE, message="evil\nint x;\u2028int y;")
    for line in annotated_source(finding, "int z;\n").splitlines()[:-1]:
        assert line.startswith("//"), line


def test_platform_names_are_read_as_they_were_written() -> None:
    """The names above, read again by what reads downloads."""
    assert platforms.canvas("roe_LATE_102_9002_my_kernel-1.cu") == ("roe", "102", True, "my_kernel-1.cu", 9002)
    assert platforms.moodle("李 明_8_assignsubmission_file") == ("李 明", "8", "")
    assert "score" in gradescope.results(not_timed(), EXERCISE)

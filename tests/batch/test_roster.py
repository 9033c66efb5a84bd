"""Every layout that an instructor may have, and everything that may be wrong with one student's files."""

from __future__ import annotations

import errno
import os
import stat
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from grader.batch import archives, filenames, roster, unwrapping
from grader.batch.entry import Submitted
from grader.errors import UsageError
from grader.exercise import submission

KERNEL = "__global__ void k() {}\n"


def folder(root: Path, *names: str) -> Path:
    for name in names:
        file = root / name
        if name.endswith("/"):
            file.mkdir(parents=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content_of(name))
    return root


def content_of(name: str) -> str:
    """A kernel, or what stands beside one."""
    return f"{KERNEL}// {name}\n" if name.lower().endswith((".cu", ".cu.txt", ".cpp", ".cuh")) else f"see {name}\n"


def zipped(root: Path, *names: str, **contents: bytes) -> Path:
    file = root / "handed_in.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, "" if name.endswith("/") else content_of(name))
        for name, content in contents.items():
            archive.writestr(name, content)
    return file


def read(path: Path, unpacked: Path = Path("nowhere")) -> dict[str, Submitted]:
    submitted = roster.read(path, unpacked)
    assert len({one.student for one in submitted}) == len(submitted)
    for one in submitted:
        assert (one.path is None) == bool(one.problem), one
        assert one.path is None or one.path.is_file()
    return {one.student: one for one in submitted}


def graded(submitted: Submitted) -> str:
    """The name, in what was handed in, of the file that is graded."""
    assert submitted.path is not None, submitted.problem
    return submitted.path.read_text().splitlines()[1].removeprefix("// ")


# Plain layouts


def test_a_folder_for_each_student_and_flat_files(tmp_path: Path) -> None:
    students = read(folder(tmp_path, "alice/starter.cu", "bob.cu", "carol/src/kernel.CU", "grades.csv", "README.txt"))
    assert {name: graded(one) for name, one in students.items()} == {
        "alice": "alice/starter.cu",
        "bob": "bob.cu",
        "carol": "carol/src/kernel.CU",
    }


def test_what_is_no_submission_is_a_problem_and_not_forgotten(tmp_path: Path) -> None:
    students = read(folder(tmp_path, "alice.cu", "bob.zip", "carol/report.pdf", "carol/notes.txt", "dave/"))
    assert graded(students["alice"])
    assert "bob.zip is not a readable zip" in students["bob"].problem
    assert "ask for the starter.cu" in students["bob"].problem
    assert students["carol"].problem == "no .cu file, only notes.txt, report.pdf"
    assert students["dave"].problem == "the submission folder is empty"


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["starter.cu", "helper.cu"], "starter.cu"),
        (["old/kernel.cu", "SOLUTION.cu"], "SOLUTION.cu"),
        (["mine.cu"], "mine.cu"),
        (["starter.cu", "solution.cu"], None),
        (["a.cu", "b.cu"], None),
        (["starter.cu", "old/starter.cu"], None),
    ],
)
def test_of_several_files_the_one_named_as_the_exercise_does_it(
    tmp_path: Path, files: list[str], taken: str | None
) -> None:
    alice = read(folder(tmp_path, *(f"alice/{name}" for name in files), "bob.cu"))["alice"]
    if taken:
        assert graded(alice) == f"alice/{taken}"
    else:
        assert alice.problem.startswith("2 .cu files, ")
        assert "keep one, or name one of them starter.cu" in alice.problem


def test_a_student_with_a_folder_and_a_file_is_one_student_with_a_problem(tmp_path: Path) -> None:
    students = read(folder(tmp_path, "alice/starter.cu", "alice.cu", "bob.cu"))
    assert "submitted 2 times" in students["alice"].problem
    assert graded(students["bob"])


def test_what_systems_leave_behind_is_not_seen(tmp_path: Path) -> None:
    names = ["alice/starter.cu", "alice/._starter.cu", "__MACOSX/alice/x.cu", ".DS_Store", ".git/x.cu", "Thumbs.db"]
    assert list(read(folder(tmp_path, *names))) == ["alice"]
    assert list(read(zipped(tmp_path, *names), tmp_path / "out")) == ["alice"]


def test_the_batchs_own_folder_is_no_student(tmp_path: Path) -> None:
    folder(tmp_path, "alice/starter.cu", "graded/results/alice.json")
    assert list(read(tmp_path, tmp_path / "graded" / ".unpacked-1")) == ["alice"]


def test_names_in_any_script(tmp_path: Path) -> None:
    names = ["李 明", "Zoë O’Brien-Núñez", "محمد", "=cmd|calc", 'a, "b"\nc', "-rf"]
    students = read(folder(tmp_path, *(f"{name}/starter.cu" for name in names)))
    assert set(students) == set(names)
    decomposed = "Zoe\u0308 O’Brien-Nu\u0301n\u0303ez"  # as macOS writes it
    assert list(read(zipped(tmp_path, f"{decomposed}/starter.cu"), tmp_path / "out")) == [names[1]]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    jose = tmp_path / os.fsdecode(b"jos\xe9")
    jose.mkdir()
    (jose / "starter.cu").write_text(KERNEL)
    (one,) = roster.read(tmp_path, tmp_path / "out")
    assert one.path and one.path.read_text() == KERNEL
    one.student.encode()


# What may be wrong with a file


@pytest.mark.parametrize("content", [b"", b" \n\t\n"])
def test_an_empty_file_is_a_submission(tmp_path: Path, content: bytes) -> None:
    folder(tmp_path, "alice.cu", "bob.cu")
    (tmp_path / "alice.cu").write_bytes(content)
    assert read(tmp_path)["alice"].path == tmp_path / "alice.cu"
    (tmp_path / "list.csv").write_text("student,file\nalice,alice.cu\n")
    assert read(tmp_path / "list.csv")["alice"].path == tmp_path / "alice.cu"
    unpacked = read(zipped(tmp_path, "bob.cu", **{"carol.cu": content}), tmp_path / "out")["carol"].path
    assert unpacked and unpacked.read_bytes() == content


def test_a_file_that_is_too_large_is_a_submission(tmp_path: Path) -> None:
    folder(tmp_path, "alice.cu", "bob.cu")
    (tmp_path / "alice.cu").write_bytes(b"/" * (submission.MAX_BYTES + 1))
    students = read(tmp_path)
    assert students["alice"].path == tmp_path / "alice.cu"
    assert graded(students["bob"])


def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is made here."""
    folder(tmp_path, "alice.cu", "bob/starter.cu", "carol.cu")
    refused = {tmp_path / "alice.cu", tmp_path / "bob"}

    def refusing(function: Any) -> Any:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if Path(path) in refused:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return function(path, *arguments, **options)

        return call

    monkeypatch.setattr("grader.files.os.open", refusing(os.open))
    monkeypatch.setattr("grader.batch.found.os.scandir", refusing(os.scandir))
    students = read(tmp_path)
    assert students["alice"].problem == "alice.cu cannot be read: Permission denied"
    assert students["bob"].problem == "the folder bob cannot be read: Permission denied"
    assert graded(students["carol"])


def test_what_is_no_file(tmp_path: Path) -> None:
    folder(tmp_path, "bob.cu", "carol.cu/")
    os.mkfifo(tmp_path / "alice.cu")
    students = read(tmp_path)
    assert students["alice"].problem == "alice.cu is not a regular file"
    assert students["carol.cu"].problem


def test_links_that_lead_out_of_the_folder(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", "good/v2/mine.cu", "file/", "stolen/")
    outside = folder(tmp_path / "out", "secret/starter.cu")
    (root / "file" / "starter.cu").symlink_to(outside / "secret" / "starter.cu")
    (root / "whole").symlink_to(outside / "secret")
    (root / "flat.cu").symlink_to("/etc/passwd")
    (root / "broken.cu").symlink_to("nowhere")
    (root / "loop.cu").symlink_to("loop.cu")
    (root / "good" / "starter.cu").symlink_to("v2/mine.cu")
    (root / "stolen" / "starter.cu").symlink_to("../good/v2/mine.cu")
    students = read(root)
    assert students["file"].problem == "starter.cu is a link to a place outside the folder"
    assert students["stolen"].problem == students["file"].problem
    assert students["whole"].problem == "whole is a link to a place outside the folder"
    assert students["flat"].problem == "flat.cu is a link to a place outside the folder"
    assert students["broken"].problem == students["loop"].problem.replace("loop", "broken")
    assert graded(students["good"]) == "good/v2/mine.cu"


def test_a_folder_of_thousands_of_files_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grader.batch.found.MAX_FILES", 5)
    students = read(folder(tmp_path, *(f"alice/{n}.txt" for n in range(9)), "bob.cu"))
    assert "more than 5 files" in students["alice"].problem
    assert graded(students["bob"])
    monkeypatch.setattr("grader.batch.found.MAX_FILES", 50)
    deep = folder(tmp_path / "deep", "/".join("abcdefghijkl") + "/x.cu", "bob.cu")
    assert "nested" in read(deep)["a"].problem


# Zips


def test_a_zip_is_read_like_a_folder(tmp_path: Path) -> None:
    names = ["alice/starter.cu", "bob.cu", "carol/notes.txt", "dave/"]
    plain = read(folder(tmp_path / "in", *names))
    unpacked = read(zipped(tmp_path, *names), tmp_path / "out")
    assert {s: (one.problem, one.path and one.path.read_text()) for s, one in plain.items()} == {
        s: (one.problem, one.path and one.path.read_text()) for s, one in unpacked.items()
    }
    assert unpacked["alice"].path == tmp_path / "out" / "alice" / "starter.cu"


def test_one_folder_around_everything_is_no_student(tmp_path: Path) -> None:
    names = ("homework 1/", "homework 1/alice/starter.cu", "homework 1/bob.cu")
    assert list(read(zipped(tmp_path, *names), tmp_path / "out")) == ["alice", "bob"]
    assert list(read(zipped(tmp_path, "alice/starter.cu"), tmp_path / "out")) == ["alice"]


def test_a_zip_writes_nowhere_else(tmp_path: Path) -> None:
    names = ["../../evil.cu", "/abs.cu", "C:\\win.cu", "alice/../../sneaky/starter.cu", "good/starter.cu"]
    students = read(zipped(tmp_path, *names), tmp_path / "a" / "b" / "out")
    assert {student for student, one in students.items() if one.path} == {"good"}
    assert "leads out of the folder" in students["evil"].problem
    assert "leads out of the folder" in students["alice"].problem
    written = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert written == {"handed_in.zip", "a/b/out/good/starter.cu"}


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    file = zipped(tmp_path, "bob.cu")
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("alice/starter.cu")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    students = read(file, tmp_path / "out")
    assert students["alice"].problem == "starter.cu is a link"
    assert graded(students["bob"])


def test_a_zip_bomb_is_read_no_further_than_a_submission(tmp_path: Path) -> None:
    bomb = b"\0" * (64 << 20)
    students = read(zipped(tmp_path, "bob.cu", **{"alice/starter.cu": bomb}), tmp_path / "out")
    assert students["alice"].path and students["alice"].path.stat().st_size == submission.MAX_BYTES + 1
    assert graded(students["bob"])


def test_many_files_unpack_to_no_more_than_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED", 100)
    students = read(zipped(tmp_path, **{f"{name}.cu": b"/" * 60 for name in "ab"}), tmp_path / "out")
    assert students["a"].path and "unpacks to more" in students["b"].problem
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    with pytest.raises(UsageError, match="contains 2 files"):
        roster.read(tmp_path / "handed_in.zip", tmp_path / "out")


def test_a_damaged_member_is_its_students_problem(tmp_path: Path) -> None:
    file = tmp_path / "handed_in.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("alice/starter.cu", "AAAA" * 100)
        archive.writestr("bob.cu", f"{KERNEL}// bob.cu\n")
    file.write_bytes(file.read_bytes().replace(b"AAAA" * 100, b"AAAB" * 100))
    students = read(file, tmp_path / "out")
    assert "starter.cu cannot be read from the zip: Bad CRC" in students["alice"].problem
    assert graded(students["bob"])


def test_an_encrypted_member_is_its_students_problem(tmp_path: Path) -> None:
    file = zipped(tmp_path, "alice.cu", "bob.cu")
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flag of the first member
    file.write_bytes(content)
    students = read(file, tmp_path / "out")
    assert students["alice"].problem == "alice.cu is encrypted"
    assert graded(students["bob"])


def test_utf8_names_without_the_flag_that_says_so(tmp_path: Path) -> None:
    file = zipped(tmp_path, "bob.cu", "Jürgen/starter.cu")
    content = bytearray(file.read_bytes())
    for mark, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        at = content.rindex(mark)
        content[at + flags : at + flags + 2] = b"\0\0"
    file.write_bytes(content)
    assert set(read(file, tmp_path / "out")) == {"bob", "Jürgen"}


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_what_is_no_regular_file_in_a_zip(tmp_path: Path, kind: int) -> None:
    file = zipped(tmp_path, "bob.cu")
    with zipfile.ZipFile(file, "a") as archive:
        odd = zipfile.ZipInfo("alice/starter.cu")
        odd.external_attr = (kind | 0o644) << 16
        archive.writestr(odd, KERNEL)
    students = read(file, tmp_path / "out")
    assert students["alice"].problem == "starter.cu is not a regular file"
    assert students["bob"].path


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\3\4 and no more"])
def test_what_is_no_zip(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "submissions.zip"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"submissions.zip is not a readable zip.*download it again"):
        roster.read(file, tmp_path / "out")


# Canvas


CANVAS = (
    "doejane_12345_67890_starter.cu",
    "smithbob_LATE_12346_67891_my_kernel-1.cu",
    "李明_12347_67892_starter.cu",
    "obriennúñezzoë_12348_67893_notes.pdf",
    "roecarl_LATE_12349_text.html",
    "roedora_12350_link.html",
)


@pytest.mark.parametrize("kind", ["zip", "folder", "within a folder"])
def test_canvas(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        students = read(folder(tmp_path, *CANVAS))
    else:
        inside = "submissions/" if kind == "within a folder" else ""
        students = read(zipped(tmp_path, *(inside + name for name in CANVAS)), tmp_path / "out")
    shown = {s: (one.name, one.late, one.identifiers, one.problem) for s, one in students.items()}
    assert shown == {
        "12345": ("doejane", False, {"ID": "12345"}, ""),
        "12346": ("smithbob", True, {"ID": "12346"}, ""),
        "12347": ("李明", False, {"ID": "12347"}, ""),
        "12348": ("obriennúñezzoë", False, {"ID": "12348"}, "no .cu file, only notes.pdf"),
        "12349": ("roecarl", True, {"ID": "12349"}, "no .cu file, only roecarl_LATE_12349_text.html"),
        "12350": ("roedora", False, {"ID": "12350"}, "no .cu file, only roedora_12350_link.html"),
    }


def test_canvas_file_that_was_handed_in_again(tmp_path: Path) -> None:
    names = [f"doejane_1_{n}_{name}" for n, name in enumerate(["starter.cu", "starter-10.cu", "starter-2.cu"])]
    students = read(zipped(tmp_path, *names, "roe_2_7_kernel-1.cu", "roe_2_8_starter.cu"), tmp_path / "out")
    assert graded(students["1"]) == "doejane_1_1_starter-10.cu"
    assert students["1"].path == tmp_path / "out" / "1" / "starter.cu"
    assert graded(students["2"]) == "roe_2_8_starter.cu"


def test_canvas_anonymous(tmp_path: Path) -> None:
    students = read(zipped(tmp_path, "anon_a1B2c_5_starter.cu", "LATE_anon_9zzzz_6_starter.cu"), tmp_path / "out")
    assert {s: (one.name, one.late, one.identifiers) for s, one in students.items()} == {
        "anon_9zzzz": ("", True, {}),
        "anon_a1B2c": ("", False, {}),
    }


def test_names_that_only_look_like_canvas_stay_whole(tmp_path: Path) -> None:
    assert set(read(folder(tmp_path, "alice_1_2_final.cu", "bob.cu"))) == {"alice_1_2_final", "bob"}


def test_a_file_that_did_not_come_from_canvas_is_one_more_students(tmp_path: Path) -> None:
    """Late, IDs and names of all the others stay."""
    names = ("doejane_101_9001_starter.cu", "roerichard_LATE_102_9002_starter.cu", "moejo_104_9004_STARTER.CU")
    students = read(folder(tmp_path, *names, "ada_by_mail.cu"))
    assert {s: (one.name, one.late, one.identifiers) for s, one in students.items()} == {
        "101": ("doejane", False, {"ID": "101"}),
        "102": ("roerichard", True, {"ID": "102"}),
        "104": ("moejo", False, {"ID": "104"}),
        "ada_by_mail": ("", False, {}),
    }


def test_a_canvas_name_of_digits_is_nobody_elses_id(tmp_path: Path) -> None:
    names = ("12345_99999_222_starter.cu", "doejane_12345_111_my_kernel.cu", "77_LATE_88_99_starter.cu")
    students = read(folder(tmp_path, *names))
    assert {s: (one.name, one.late, graded(one)) for s, one in students.items()} == {
        "99999": ("12345", False, names[0]),
        "12345": ("doejane", False, names[1]),
        "88": ("77", True, names[2]),
    }


def test_one_canvas_id_under_two_names_is_a_problem(tmp_path: Path) -> None:
    """A student who is called x_12345_1 would be read as somebody else."""
    students = read(folder(tmp_path, "doejane_12345_111_starter.cu", "x_12345_1_99999_222_starter.cu"))
    assert "submitted 2 times" in students["12345"].problem


# Moodle


@pytest.mark.parametrize("slash", ["_/", "/", "_"])
def test_moodle(tmp_path: Path, slash: str) -> None:
    """Folders of older versions, of newer ones, and no folders."""
    names = [
        f"Jane O'Doe_1234567_assignsubmission_file{slash}starter.cu",
        f"Jane O'Doe_1234567_assignsubmission_onlinetext{slash}onlinetext.html",
        f"李 明_1234568_assignsubmission_file{slash}kernel.cu",
        f"Group A_12_assignsubmission_file{slash}report.pdf",
        f"Participant_99_assignsubmission_file{slash}starter.cu",
    ]
    for students in (read(zipped(tmp_path, *names), tmp_path / "out"), read(folder(tmp_path / "in", *names))):
        shown = {s: (one.name, one.identifiers, one.problem) for s, one in students.items()}
        assert shown == {
            "12": ("Group A", {"Identifier": "Participant 12"}, "no .cu file, only report.pdf"),
            "1234567": ("Jane O'Doe", {"Identifier": "Participant 1234567"}, ""),
            "1234568": ("李 明", {"Identifier": "Participant 1234568"}, ""),
            "99": ("", {"Identifier": "Participant 99"}, ""),
        }


def test_moodle_zip_of_one_student(tmp_path: Path) -> None:
    assert list(read(zipped(tmp_path, "Jane Doe_7_assignsubmission_file/starter.cu"), tmp_path / "out")) == ["7"]


def test_moodle_students_subfolders_are_kept_apart(tmp_path: Path) -> None:
    inside = "Jane Doe_7_assignsubmission_file/"
    students = read(zipped(tmp_path, inside + "a/x.cu", inside + "b/x.cu", "zoe/starter.cu"), tmp_path / "out")
    assert "2 .cu files" in students["7"].problem
    assert graded(students["zoe"]) == "zoe/starter.cu"  # added by hand; not lost


# Gradescope


METADATA = """\
---
submission_1001:
  :submitters:
  - :name: Jane Doe
    :sid: '0012345'
    :email: jane@example.edu
  :created_at: !ruby/object:ActiveSupport::TimeWithZone
    utc: 2026-09-17 03:00:17.246586000 Z
  :score: 12.0
  :results:
    tests:
    - output: |
        submission_6666:
          :submitters:
          - :name: Mallory
            :sid: '0012345'
submission_1002:
  :submitters:
  - :name: "Zo\\xEB \\"Z\\" Brien"
    :sid: ''
    :email: zoe@example.edu
  - :name: 'O''Hara, 明'
    :sid: '77'
    :email: ohara@example.edu
  :status: processed
submission_1003:
  :submitters:
  - :name: No Files
    :sid:
    :email: nofiles@example.edu
submission_1004:
  :submitters:
  - :name: Pdf Only
    :sid: '78'
"""


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_gradescope(tmp_path: Path, kind: str) -> None:
    root = folder(
        tmp_path / "assignment_9_export",
        "submission_1001/starter.cu",
        "submission_1002/mine.cu",
        "submission_1004/x.pdf",
        "submission_1005/starter.cu",
    )
    (root / "submission_metadata.yml").write_text(METADATA)
    path = root
    if kind == "zip":
        path = tmp_path / "export.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in root.rglob("*"):
                archive.write(file, file.relative_to(tmp_path))
    students = read(path, tmp_path / "out")
    assert {s: (one.name, one.problem) for s, one in students.items()} == {
        "0012345": ("Jane Doe", ""),
        "77": ("O'Hara, 明", ""),
        "zoe@example.edu": ('Zoë "Z" Brien', ""),
        "nofiles@example.edu": (
            "No Files",
            "submission_1003 is listed in submission_metadata.yml but does not exist",
        ),
        "78": ("Pdf Only", "no .cu file, only x.pdf"),
        "submission_1005": ("", ""),
    }
    assert graded(students["77"]) == graded(students["zoe@example.edu"]) == "submission_1002/mine.cu"
    assert students["0012345"].identifiers == {
        "Submission": "submission_1001",
        "SID": "0012345",
        "Email": "jane@example.edu",
    }


def test_a_students_own_metadata_speak_for_nobody(tmp_path: Path) -> None:
    root = folder(
        tmp_path, "mallory/starter.cu", "alice.cu", "submission_1001/starter.cu", "x/submission_metadata.yml/"
    )
    (root / "mallory" / "submission_metadata.yml").write_text(METADATA)
    assert set(read(root)) == {"alice", "mallory", "submission_1001", "x"}


@pytest.mark.parametrize("kind", ["zip", "folder"])
@pytest.mark.parametrize("more", ["starter.cu", "submission_1001/starter.cu"])
def test_a_lone_students_metadata_name_nobody_either(tmp_path: Path, kind: str, more: str) -> None:
    """The one folder that is there is Gradescope's export only if it is called as Gradescope calls it."""
    if kind == "zip":
        inside = {"mallory/submission_metadata.yml": METADATA.encode(), f"mallory/{more}": KERNEL.encode()}
        students = read(zipped(tmp_path, **inside), tmp_path / "out")
    else:
        root = folder(tmp_path / "class", f"mallory/{more}")
        (root / "mallory" / "submission_metadata.yml").write_text(METADATA)
        students = read(root)
    assert list(students) == ["mallory"]
    assert students["mallory"].path


# Repositories of several exercises


@pytest.mark.parametrize("kind", ["zip", "folder", "one"])
def test_of_a_repository_as_grade_start_makes_it_the_exercises_file_counts(tmp_path: Path, kind: str) -> None:
    inside = [f"exercises/0{n}_{name}/starter.cu" for n, name in enumerate(("one", "two", "three"), start=1)]
    repositories = ("kernels-ada", "kernels-bo") if kind != "one" else ("kernels-ada",)
    names = [f"{repository}/{name}" for repository in repositories for name in (*inside, "README.md")]
    path = folder(tmp_path / "class", *names) if kind == "folder" else zipped(tmp_path, *names)
    students = {one.student: one for one in roster.read(path, tmp_path / "out", "02_two")}
    assert {s: graded(one) for s, one in students.items()} == {
        r: f"{r}/exercises/02_two/starter.cu" for r in repositories
    }
    others = {one.student: one for one in roster.read(path, tmp_path / "out", "09_nine")}
    assert "3 .cu files" in others["kernels-ada"].problem


def test_a_kernel_beside_the_exercises_is_still_for_nobody_to_guess(tmp_path: Path) -> None:
    root = folder(tmp_path, "ada/exercises/01_one/starter.cu", "ada/starter.cu")
    (ada,) = roster.read(root, tmp_path / "out", "01_one")
    assert "2 .cu files" in ada.problem


def test_a_solution_beside_the_starter_of_a_repository_is_no_question(tmp_path: Path) -> None:
    root = folder(tmp_path, "ada/exercises/01_one/starter.cu", "ada/exercises/01_one/solution.cu")
    (ada,) = roster.read(root, tmp_path / "out", "01_one")
    assert graded(ada) == "ada/exercises/01_one/starter.cu"
    assert ada.note == ""


# A kernel in another form


@pytest.mark.parametrize("name", ["starter.cu.txt", "kernel.cpp", "kernel.cuh"])
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_kernel_under_another_name_is_taken_and_said(tmp_path: Path, name: str, kind: str) -> None:
    names = (f"ada/{name}", "ada/notes.txt", "bob.cu")
    path = folder(tmp_path / "in", *names) if kind == "folder" else zipped(tmp_path, *names)
    students = read(path, tmp_path / "out")
    assert graded(students["ada"]) == f"ada/{name}"
    assert students["ada"].note == f"{name} was graded as if it were called starter.cu"
    assert students["bob"].note == ""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_kernel_in_utf_16_is_read(tmp_path: Path, encoding: str) -> None:
    """As Windows programs save text that they call Unicode."""
    root = folder(tmp_path, "ada/starter.txt", "bob/notes.txt", "cyd.cu")
    text = f"// größer als 0\n{KERNEL}"
    for file in ("ada/starter.txt", "bob/notes.txt"):
        begins = "\ufeff" if encoding == "utf-16-be" else ""
        (root / file).write_bytes((begins + (text if "ada" in file else "My notes")).encode(encoding))
    students = read(root, tmp_path / "out")
    assert students["ada"].note == "UTF-16 text was graded: starter.txt"
    assert students["ada"].path and students["ada"].path.read_text() == text
    assert students["bob"].problem == "no .cu file, only notes.txt"


def test_a_report_that_quotes_a_kernel_is_none(tmp_path: Path) -> None:
    root = folder(tmp_path, "ada/notes.txt", "bob/a.cpp", "bob/b.cpp", "cyd.cu")
    (root / "ada" / "notes.txt").write_text(f"My kernel is\n{KERNEL}")
    students = read(root, tmp_path / "out")
    assert students["ada"].problem == "no .cu file, only notes.txt"
    assert students["bob"].problem == "2 files hold a kernel, bob/a.cpp, bob/b.cpp: keep one, as starter.cu"


# As Canvas wraps a text entry (text_entry_page.html.erb), and its editor the student's text.
PASTED = """<!DOCTYPE html><html><head><title>Exercise 1: Doe, Jane</title></head><body>
<h1>Exercise 1: Doe, Jane</h1>
<div style="padding: 20px;">
  <p>#include &lt;cmath&gt;</p>
<p>__global__ void k() {<br>&nbsp; &nbsp; if (1 &lt; 2 &amp;&amp; true) {}<br />}</p>
<p>&nbsp;</p>
<pre>// kept
    as it is</pre>
</div></body></html>"""
UNPASTED = """#include <cmath>
__global__ void k() {
    if (1 < 2 && true) {}
}

// kept
    as it is
"""


@pytest.mark.parametrize("name", ["doejane_1_text.html", "Jane Doe_1_assignsubmission_onlinetext/onlinetext.html"])
def test_pasted_text_is_a_kernel(tmp_path: Path, name: str) -> None:
    other = "Bo_2_assignsubmission_file/x.cu" if "/" in name else "roe_2_3_x.cu"
    one = read(zipped(tmp_path, other, **{name: PASTED.encode()}), tmp_path / "out")["1"]
    assert one.path and one.path.name == "pasted.cu"
    assert one.path.read_text() == UNPASTED
    assert one.note == f"pasted text was graded: {name.split('/')[-1]}"


HOSTILE = (
    "<",
    "<!",
    "<!--",
    "<![CDATA[",
    "<?",
    "<a ",
    "</",
    "&",
    "&#x",
    "<a",
    "<title>",
    "<p>",
    "<a/",
    '<a a="',
    "&#9",
)


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_page_takes_no_longer_than_its_length(piece: str) -> None:
    """html.parser needs minutes for some of these."""
    began = time.process_time()
    unwrapping.pasted(piece + piece[-1] * 5000 + piece * (submission.MAX_BYTES // len(piece)))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("inside", "taken"),
    [
        (("starter.cu", "notes.txt"), "starter.cu"),
        (("my-kernels/exercises/01_one/starter.cu", "my-kernels/exercises/02_two/starter.cu"), None),
    ],
)
@pytest.mark.parametrize("outside", ["doejane_1_2_my-kernels.zip", "1/my-kernels.zip", "1.zip"])
def test_a_students_own_zip(tmp_path: Path, inside: tuple[str, ...], taken: str | None, outside: str) -> None:
    content = zipped(tmp_path, *inside).read_bytes()
    students = {
        one.student: one
        for one in roster.read(
            zipped(tmp_path, "doebo_2_3_starter.cu", "bo/x.cu", **{outside: content}), tmp_path / "out", "01_one"
        )
    }
    taken = taken or "my-kernels/exercises/01_one/starter.cu"
    assert graded(students["1"]) == taken
    name = "1.zip" if outside == "1.zip" else "my-kernels.zip"
    assert students["1"].note == f"taken from {name}: {taken}"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.zip").write_bytes(content)
    (unpacked,) = roster.read(tmp_path / "in", tmp_path / "out", "01_one")
    assert unpacked.path and unpacked.path.is_relative_to(tmp_path / "out")


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        ({"a.cu": b"1", "b.cu": b"2"}, "in k.zip: 2 .cu files, a.cu, b.cu: keep one"),
        ({"k.zip": b"PK"}, "in k.zip: no .cu file, only k.zip"),
        ({}, "in k.zip: the submission folder is empty"),
    ],
)
def test_a_students_zip_without_a_kernel_says_what_is_in_it(
    tmp_path: Path, inside: dict[str, bytes], says: str
) -> None:
    content = zipped(tmp_path, **inside).read_bytes()
    students = read(zipped(tmp_path, "bo.cu", **{"ada/k.zip": content}), tmp_path / "out")
    assert students["ada"].problem.startswith(says)


def test_a_students_zip_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grader.batch.unwrapping.MAX_ZIP", 10)
    content = zipped(tmp_path, "starter.cu").read_bytes()
    students = read(zipped(tmp_path, "bo.cu", **{"ada/k.zip": content}), tmp_path / "out")
    assert "k.zip is larger than" in students["ada"].problem


def test_zips_alone_are_canvass_too(tmp_path: Path) -> None:
    """One .cu file that came another way does not make them anything else."""
    content = zipped(tmp_path, "starter.cu").read_bytes()
    names = {f"doe{name}_{n}_1{n}_k.zip": content for n, name in enumerate("abc", start=1)}
    students = read(zipped(tmp_path, "by_mail.cu", **names), tmp_path / "out")
    assert set(students) == {"1", "2", "3", "by_mail"}


# Which of several files


def test_what_is_not_graded_beside_the_starter_is_said(tmp_path: Path) -> None:
    names = ["doejane_1_5_starter.cu", "doejane_1_9_second.cu", "roe_2_7_kernel.cu", "roe_2_8_helper.cuh"]
    students = read(zipped(tmp_path, *names), tmp_path / "out")
    assert students["1"].note == f"only {names[0]} is graded, not {names[1]}; {names[1]} is newer"
    assert students["2"].note == f"only {names[2]} is graded, not {names[3]}"


@pytest.mark.parametrize("kind", ["zip", "folder", "canvas"])
def test_of_several_files_the_newest_is_named(tmp_path: Path, kind: str) -> None:
    if kind == "canvas":
        students = read(zipped(tmp_path, "doe_1_7_a.cu", "doe_1_9_b.cu", "doe_1_8_c.cu"), tmp_path / "out")
        assert "(the newest is doe_1_9_b.cu)" in students["1"].problem
        return
    root = folder(tmp_path / "in", "ada/a.cu", "ada/b.cu", "bo/a.cu", "bo/b.cu")
    for name in ("ada/a.cu", "bo/a.cu", "bo/b.cu"):
        os.utime(root / name, (1e9, 1e9))
    path = root
    if kind == "zip":
        path = tmp_path / "class.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in root.rglob("*.cu"):
                archive.write(file, file.relative_to(root))
    students = read(path, tmp_path / "out")
    assert "(the newest is ada/b.cu)" in students["ada"].problem
    assert "newest" not in students["bo"].problem


# Names that look alike


def test_folders_equal_but_for_their_unicode_form_are_not_one(tmp_path: Path) -> None:
    """Neither student's files go to the other: who is who is not for a program to guess."""
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    students = read(folder(tmp_path, f"{composed}/starter.cu", f"{decomposed}/starter.cu", "bob.cu"))
    assert set(students) == {composed, "bob"}
    assert "submitted 2 times, under names that differ only in their Unicode form" in students[composed].problem


def test_a_zip_with_names_in_the_old_code_page_of_dos(tmp_path: Path) -> None:
    file = zipped(tmp_path, "J1rgen/starter.cu", "ada/starter.cu")
    file.write_bytes(file.read_bytes().replace(b"J1rgen", "Jürgen".encode("cp437")))
    assert set(read(file, tmp_path / "out")) == {"Jürgen", "ada"}


def test_a_zip_of_shift_jis_names(tmp_path: Path) -> None:
    """The second byte of 能 is a backslash, and is no separator: there are three students."""
    file = zipped(tmp_path, "4444/starter.cu", "5555/starter.cu", "ada/starter.cu")
    content = file.read_bytes().replace(b"4444/", "能登/".encode("shift_jis"))
    file.write_bytes(content.replace(b"5555/", "能勢/".encode("shift_jis")))
    students = read(file, tmp_path / "out")
    assert {graded(one) for one in students.values()} == {f"{name}/starter.cu" for name in ("4444", "5555", "ada")}


# A list


def listed(root: Path, text: str, encoding: str = "utf-8") -> Path:
    file = root / "list.csv"
    file.write_bytes(text.encode(encoding))
    return file


def test_a_list(tmp_path: Path) -> None:
    folder(tmp_path, "a/kernel.cu", "b.cu")
    students = read(
        listed(
            tmp_path,
            "Student,Name,File,SIS User ID,Late\n"
            'alice,"Doe, ""Al"" Alice",a/kernel.cu,S1,\n'
            "bob,Bob,b.cu,S2,yes\n"
            "carol,Carol,c.cu,S3,no\n"
            "dave,Dave,,S4,\n"
            "erin,Erin,a,S5,\n"
            ",,b.cu,,\n"
            "\n",
            "utf-8-sig",
        )
    )
    assert students["alice"].name == 'Doe, "Al" Alice'
    assert graded(students["alice"]) == graded(students["erin"]) == "a/kernel.cu"
    assert students["alice"].identifiers == {"SIS User ID": "S1"}
    assert students["bob"].late
    assert not students["carol"].late
    assert students["carol"].problem == "c.cu does not exist"
    assert students["dave"].problem == "nothing submitted: the list names no file"
    assert students["(no student) b.cu"].problem == "list.csv names no student for b.cu"


def test_a_list_with_semicolons_and_a_student_twice(tmp_path: Path) -> None:
    folder(tmp_path, "a.cu", "b.cu")
    students = read(listed(tmp_path, "login;path\nalice;a.cu\nalice;b.cu\nbob;b.cu\n"))
    assert "submitted 2 times" in students["alice"].problem
    assert graded(students["bob"]) == "b.cu"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "there is no column 'student'; the first line has nothing"),
        (b"name,file\nx,y\n", "there is no column 'student'; the first line has name, file"),
        (b"student,file\n", "no line has a student"),
        ("student,file\nJosé,x\n".encode("latin-1"), "is not UTF-8; save it as CSV"),
    ],
)
def test_what_is_no_list(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(UsageError, match=says):
        roster.read(tmp_path / "list.csv", tmp_path / "out")


# What is no roster at all


def test_what_holds_no_submissions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        roster.read(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UsageError, match="no submissions in"):
        roster.read(tmp_path, tmp_path / "out")
    with pytest.raises(UsageError, match="grade run"):
        roster.read(folder(tmp_path, "alice.cu") / "alice.cu", tmp_path / "out")


def test_ids_as_names_of_files() -> None:
    ids = [
        "alice",
        "../../etc/passwd",
        "a/b",
        "a_b",
        "",
        ".",
        "..",
        "-rf",
        "李 明",
        "x" * 300,
        "x" * 301,
        "a.b@c.edu",
    ]
    stems = [filenames.stem(one) for one in ids]
    assert len(set(stems)) == len(ids)
    assert stems[0] == "alice"
    assert stems[-1] == "a.b@c.edu"
    for stem in stems:
        assert "/" not in stem
        assert not stem.startswith((".", "-"))
        assert 0 < len(stem.encode()) < 200

"""A class of twelve, as Canvas, Moodle and Gradescope export it: whatever students really upload, one of each.

    python -m tests.batch.class_of_twelve FOLDER      # with kernels of exercise 01

writes canvas.zip, canvas.csv, moodle.zip, moodle.csv, gradescope.zip, gradescope.csv (class lists and worksheets),
points.csv and late.toml.
"""

from __future__ import annotations

import html
import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Student(NamedTuple):
    number: int
    first: str
    last: str
    form: str  # of what is uploaded
    kernel: str = ""
    late: bool = False

    @property
    def login(self) -> str:
        return f"{self.first[0]}{self.last}".lower()

    @property
    def email(self) -> str:
        return f"{self.login}@example.edu"

    @property
    def sortable(self) -> str:
        return f"{self.last}, {self.first}"


CLASS = (
    Student(101, "Ada", "Lovelace", "starter.cu", "right"),
    Student(102, "Charles", "Babbage", "starter.cu", "race", late=True),
    Student(103, "Grace", "Hopper", "starter.cu.txt", "right-too"),
    Student(104, "Alan", "Turing", "kernel.zip", "wrong"),
    Student(105, "Edsger", "Dijkstra", "pasted", "out-of-bounds"),
    Student(106, "Barbara", "Liskov", "repository.zip", "right"),
    Student(107, "Donald", "Knuth", "two files", "right"),
    Student(108, "John", "Backus", "starter.cu", "no-compile"),
    Student(109, "Zoë", "O'Brien-Núñez", "latin-1", "right-three", late=True),
    Student(110, "Niklaus", "Wirth", "notes.pdf"),
    Student(111, "Tony", "Hoare", "starter.cu", "untouched"),
    Student(112, "Frances", "Allen", "nothing"),
)
SUBMITTED = CLASS[:-1]
GRADED = tuple(one for one in CLASS if one.kernel)


def uploads(one: Student, kernels: Mapping[str, bytes]) -> dict[str, bytes]:
    """What the student uploaded, by file name."""
    source = kernels.get(one.kernel, b"")
    match one.form:
        case "kernel.zip":
            return {"kernel.zip": zipped({"kernel.cu": source, "notes.txt": b"see kernel.cu"})}
        case "repository.zip":
            starters = {f"my-kernels/exercises/{name}/starter.cu": source for name in ("01_double", "02_other")}
            real = "my-kernels/exercises/01_simple_grouped_gemm/starter.cu"
            return {"my-kernels.zip": zipped({**starters, real: source, "my-kernels/README.md": b"# mine"})}
        case "two files":
            return {"starter.cu": source, "old.cu": kernels["wrong"]}
        case "latin-1":
            return {"starter.cu": source + "// von Zoë, für Übung 1\n".encode("latin-1")}
        case "notes.pdf":
            return {"notes.pdf": b"%PDF-1.7"}
        case "nothing":
            return {}
        case name:
            return {"starter.cu" if name == "pasted" else name: source}


def pasted(source: bytes) -> bytes:
    """As the platforms' editors keep pasted code."""
    lines = [html.escape(line, quote=False).replace("  ", "&nbsp; ") for line in source.decode().split("\n")]
    body = "".join(f"<p>{line or '&nbsp;'}</p>\n" for line in lines)
    title = "<head><title>Exercise 1</title></head>"
    return f"<html>{title}<body><h1>Exercise 1</h1><div>{body}</div></body></html>".encode()


def canvas(folder: Path, kernels: Mapping[str, bytes]) -> Path:
    files = {}
    for one in SUBMITTED:
        slug = "".join(letter for letter in f"{one.last}{one.first}".lower() if letter.isalnum())
        start = f"{slug}_{'LATE_' if one.late else ''}{one.number}"
        for at, (name, content) in enumerate(uploads(one, kernels).items()):
            if one.form == "pasted":
                files[f"{start}_text.html"] = pasted(content)
            else:
                files[f"{start}_{9000 + one.number * 10 - at}_{name}"] = content
    lines = ["Student,ID,SIS User ID,SIS Login ID,Section,Simple grouped GEMM (4711),Final Score"]
    lines += ["    Points Possible,,,,,100.00,(read only)"]
    lines += [f'"{one.sortable}",{one.number},S{one.number},{one.login},CS 5,,90.0' for one in CLASS]
    (folder / "canvas.csv").write_text("\n".join([*lines, '"Student, Test",199,,f00d,CS 5,,90.0']) + "\n")
    return write(folder / "canvas.zip", files)


def moodle(folder: Path, kernels: Mapping[str, bytes]) -> Path:
    files = {}
    for one in SUBMITTED:
        plugin = "onlinetext" if one.form == "pasted" else "file"
        top = f"{one.first} {one.last}_{1_230_000 + one.number}_assignsubmission_{plugin}"
        for name, content in uploads(one, kernels).items():
            files[f"{top}/{name if plugin == 'file' else 'onlinetext.html'}"] = (
                content if plugin == "file" else pasted(content)
            )
    head = "Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,"
    lines = [head + "Last modified (submission),Last modified (grade),Feedback comments"]
    for one in CLASS:
        when = "Wednesday, 23 September 2026, 10:05 AM" if one.late else "Monday, 21 September 2026, 8:30 PM"
        when = "-" if one.form == "nothing" else when
        status = "No submission - " if one.form == "nothing" else "Submitted for grading - "
        about = f"Participant {1_230_000 + one.number},{one.first} {one.last},{one.email},{status}"
        lines.append(f'{about},,100.00,Yes,"{when}",-,')
    (folder / "moodle.csv").write_text("\ufeff" + "\n".join(lines) + "\n")
    return write(folder / "moodle.zip", files)


def gradescope(folder: Path, kernels: Mapping[str, bytes]) -> Path:
    top, files, metadata = "assignment_77_export", {}, ["---"]
    for one in SUBMITTED:
        when = "2026-09-23 08:05:00.1 Z" if one.late else "2026-09-21 18:30:00.1 Z"
        metadata += [
            f"submission_{one.number}:",
            "  :submitters:",
            f'  - :name: "{one.first} {one.last}"',
            f"    :sid: 'S{one.number}'",
            f"    :email: {one.email}",
            "  :created_at: !ruby/object:ActiveSupport::TimeWithZone",
            f"    utc: {when}",
        ]
        for name, content in uploads(one, kernels).items():
            files[f"{top}/submission_{one.number}/{name}"] = content
    files[f"{top}/submission_metadata.yml"] = "\n".join(metadata).encode()
    lines = [
        "First Name,Last Name,SID,Email,Role",
        *(f"{o.first},{o.last},S{o.number},{o.email},Student" for o in CLASS),
    ]
    (folder / "gradescope.csv").write_text("\n".join(lines) + "\n")
    return write(folder / "gradescope.zip", files)


PLATFORMS = {"canvas": canvas, "moodle": moodle, "gradescope": gradescope}

POINTS = """name,comments,naming,comment
Ada Lovelace,4,4,"Clear, and well named."
"Knuth, Donald",4,3,
Grace Hopper,2,2,Say why; not what.
"""
LATE = """due = 2026-09-21T23:59:00+02:00
percent_per_day = 10
at_most_percent = 50
grace_minutes = 15

[extensions]
"Charles Babbage" = 1
"""


def zipped(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def write(file: Path, files: Mapping[str, bytes]) -> Path:
    file.write_bytes(zipped(files))
    return file


def of_exercise_01() -> dict[str, bytes]:
    folder = ROOT / "exercises" / "01_simple_grouped_gemm"
    correct = ROOT / "tests" / "kernels" / "correct"
    files = {
        "right": folder / "solution.cu",
        "right-too": correct / "tile16.cu",
        "right-three": correct / "transposed_padded.cu",
        "race": folder / "wrong" / "no_barrier_after_load.cu",
        "wrong": folder / "wrong" / "offset_ignored.cu",
        "out-of-bounds": folder / "wrong" / "row_bound_off_by_one.cu",
        "no-compile": folder / "wrong" / "syntax_error.cu",
        "untouched": folder / "starter.cu",
    }
    return {name: file.read_bytes() for name, file in files.items()}


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True)
    for make in PLATFORMS.values():
        make(out, of_exercise_01())
    (out / "points.csv").write_text(POINTS)
    (out / "late.toml").write_text(LATE)

"""Which submissions look like copies of each other, and who is told."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from grader.batch import alike
from grader.batch.alike import ALIKE, IDENTICAL, RENAMED
from grader.cli.command import invoke
from tests.batch.classroom import School
from tests.fakes import SOURCE

ROOT = Path(__file__).parents[2]
EXERCISE = ROOT / "exercises" / "01_simple_grouped_gemm"
STARTER = (EXERCISE / "starter.cu").read_text()
SOLUTION = (EXERCISE / "solution.cu").read_text()
HONEST = {file.stem: file.read_text() for file in (ROOT / "tests" / "kernels" / "correct").rglob("*.cu")}


def disguised(text: str) -> str:
    """Other names, numbers, comments and layout; the same code."""
    text = re.sub(r"//[^\n]*", "", text)
    for name in ("sum", "row", "col", "group", "k0"):
        text = re.sub(rf"\b{name}\b", f"my_{name}", text)
    return "/* all mine */\n" + text.replace("    ", "\t").replace(" = ", "=").replace("16", "32")


def shuffled(text: str) -> str:
    """With some code of their own around half of it."""
    mine = "\n".join(f"__device__ float f{n}(float a) {{ return a * {n}.0f + threadIdx.x; }}" for n in range(3))
    return f"{mine}\n{text}\n__device__ int g(int a) {{ for (int i = 0; i < a; ++i) a ^= i; return a; }}\n"


def of(**sources: str) -> list[tuple[tuple[str, ...], str]]:
    return [(group.students, group.how) for group in alike.groups(sources, STARTER)]


def test_copies_are_seen_whatever_they_are_called() -> None:
    found = of(ada=SOLUTION, bob=SOLUTION, cyd=disguised(SOLUTION))
    assert found == [(("ada", "bob"), IDENTICAL), (("ada", "bob", "cyd"), RENAMED)]


def test_a_copy_inside_other_code_is_seen() -> None:
    ((students, how),) = of(ada=SOLUTION, bob=shuffled(disguised(SOLUTION)), honest=HONEST["tile16"])
    assert students == ("ada", "bob")
    assert how.endswith("% of the shorter one's own code")


def test_honest_kernels_are_not_alike() -> None:
    """They solve the same exercise, and one author wrote them all."""
    assert len(HONEST) > 30
    assert of(**HONEST) == []
    assert ALIKE < 1


def test_whoever_left_the_starter_as_it_was_copied_from_nobody() -> None:
    assert of(ada=STARTER, bob=STARTER, cyd="// mine\n" + STARTER) == []


def test_the_exercises_own_solution_is_named() -> None:
    found = alike.groups({"ada": disguised(SOLUTION), "bob": shuffled(SOLUTION), **HONEST}, STARTER, SOLUTION)
    own = [group for group in found if "solution" in group.how]
    assert [group.students for group in own] == [("ada",), ("bob",)]
    assert own[0].how == "100% of the exercise's own solution"


def test_what_many_have_is_not_a_sign() -> None:
    """A passage that the lecture showed, in code that is otherwise everybody's own."""
    shown = SOLUTION.partition('extern "C" __global__ void grouped')[0]
    assert of(**{f"s{n}": shown + text for n, text in enumerate(list(HONEST.values())[:9])}) == []


def test_short_or_odd_files_end() -> None:
    assert of(a="", b="", c="/* never ends", d="'\"", e="x" * 100_000, f="int a;", g="int b;") == [
        (("f", "g"), RENAMED)
    ]


@pytest.mark.parametrize("piece", ['"', '\\"', "'", "\\'", "/*", "//\\\n", "a ", "1'", ".5e+", "{"])
def test_a_hostile_source_takes_no_longer_than_its_length(piece: str) -> None:
    began = time.process_time()
    assert of(a=piece * 500_000, b="int a;") == []
    assert time.process_time() - began < 10


def test_only_the_instructor_is_told(school: School, capsys: pytest.CaptureFixture[str]) -> None:
    for student, text in (("ada", b"// right a\n"), ("bob", b"// right b\n")):
        school.hand_in(student).write_bytes(text + SOURCE.replace(b"2 * x", b"x[0] + x[1] * x[2] + 2 * x"))
    exercises = ("--exercises", str(school.folder / "exercises"))
    where = (str(school.submissions), "--exercise", "1", "--out", str(school.out), "--device", "cpu")
    assert invoke(["batch", *where, *exercises]) == 0
    page = (school.out / "class.html").read_text()
    assert "Submissions that look alike" in page
    assert RENAMED in page
    others = [
        file
        for file in school.out.rglob("*")
        if file.suffix in (".html", ".json", ".csv") and file.name != "class.html"
    ]
    assert len(others) == 6
    for file in others:
        assert "alike" not in file.read_text(), file
        assert "identical" not in file.read_text(), file
    capsys.readouterr()
    assert invoke(["ledger", str(school.out), "alike"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"ada, bob: {RENAMED}",
        "1 group of submissions that look alike; a hint, not proof: compare the files yourself",
    ]

from __future__ import annotations

import io
from itertools import takewhile
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from grader.cli.terminal import WIDTH, console, print_result
from grader.exercise import catalog, submission
from grader.exercise.secret import Secret
from grader.grading import pipeline
from grader.model.execution import Outcome
from grader.model.exercise import Exercise, Kernel, Parameter
from grader.model.result import Check, Finding, Related, Result, Status, Submission
from tests.fakes import SOURCE, Arrays, FakeExecutor, right, write_exercise
from tests.ptx.test_findings import run
from tests.reports import samples

SCREEN = 23  # rows
LONG = "x_tile[3] is read by thread (4, 0, 0) of block (1, 2, 0) while thread (3, 0, 0) writes it " * 2


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    return catalog.read(write_exercise(tmp_path / "01_double"))


def shown(exercise: Exercise, executor: FakeExecutor, *, verbose: bool = False, terminal: bool = False) -> str:
    result = graded(exercise, executor)
    out = Console(file=io.StringIO(), width=WIDTH, force_terminal=terminal, highlight=False, markup=False)
    print_result(out, result, exercise, SOURCE.decode(), verbose=verbose)
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    return text


def graded(exercise: Exercise, executor: FakeExecutor) -> Result:
    return pipeline.grade(
        exercise,
        submission.read(exercise.starter),
        seed=7,
        open_executor=executor.open,
        secret=Secret(({"M_sizes": [3]}, {"M_sizes": [4]})),
    )


def finding(kind: str, line: int, message: str = LONG) -> Finding:
    return Finding(kind, "starter.cu", line, message, notes=(f"the other access: {LONG}",) * 4, hint=kind)


def many(arrays: Arrays) -> Outcome:
    return Outcome(findings=tuple(finding("race", line) for line in range(1, 12)))


def test_every_line_fits_in_80_columns_and_ends_in_no_blank(exercise: Exercise) -> None:
    for verbose in (False, True):
        lines = shown(exercise, FakeExecutor(compute=many), verbose=verbose).splitlines()
        repeat = next(line for line in lines if "--seed" in line)  # to be copied: never broken
        assert all(len(line) <= 80 for line in lines if line != repeat)
        assert all(line == line.rstrip() for line in lines)


def test_it_fits_on_a_screen_unless_asked(exercise: Exercise) -> None:
    executor = FakeExecutor(compute=many)
    assert len(shown(exercise, executor).splitlines()) <= SCREEN
    assert len(shown(exercise, executor, verbose=True).splitlines()) > SCREEN


@pytest.mark.parametrize("name", samples.SITUATIONS)
def test_every_situation_fits_on_a_screen(name: str) -> None:
    for since in (None, samples.SITUATIONS["borderline"]):
        lines = printed(samples.SITUATIONS[name], since)
        assert len(lines) <= SCREEN
        assert all(len(line) <= 80 for line in lines if not line.startswith("  grade run"))
        assert all(line == line.rstrip() for line in lines)
        assert any(line.startswith("Points: ") for line in lines)


def printed(result: Result, since: Result | None = None) -> list[str]:
    out = Console(file=io.StringIO(), width=WIDTH, highlight=False, markup=False)
    print_result(out, result, samples.EXERCISE, samples.SOURCE, since=since)
    return out.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def test_a_taller_terminal_shows_more() -> None:
    out = Console(file=io.StringIO(), width=WIDTH, height=50, force_terminal=True, color_system=None)
    print_result(out, samples.SITUATIONS["race"], samples.EXERCISE, samples.SOURCE)
    tall = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(printed(samples.SITUATIONS["race"])) <= SCREEN < len(tall) <= 49


def narrow(columns: int, name: str) -> list[str]:
    out = Console(file=io.StringIO(), width=columns, highlight=False, markup=False)
    print_result(out, samples.SITUATIONS[name], samples.EXERCISE, samples.SOURCE)
    return out.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("name", ["race", "wrong-tile", "no-gpu", "too-slow"])
def test_half_a_terminal_still_shows_every_result(name: str) -> None:
    lines = narrow(40, name)
    at = next(number for number, line in enumerate(lines) if line.startswith("  case"))
    header, *rows = takewhile(lambda line: line.startswith("  "), lines[at:])
    assert header.split()[:3] == ["case", "memory", "result"]
    column = header.index("result")
    assert {row[column:].split()[0] for row in rows} <= {"right", "wrong", "-"}
    assert all(len(line) <= 40 for line in lines if not line.startswith(("  grade run", "  Hint: ")))


def test_what_is_to_be_copied_is_never_broken() -> None:
    hint = next(line for line in narrow(40, "race") if "Hint: " in line)
    assert hint.startswith("  Hint: 01_simple_grouped_gemm/problem.md#") and len(hint) > 40


def test_two_races_at_one_line_are_told_apart_by_their_arrays() -> None:
    ran = run(
        "__shared__ int As[64]; __shared__ short Bs[64]; As[t] = t;\nBs[t] = t;\nout[t] = As[63 - t] + Bs[63 - t];"
    )
    assert {r.kind for r in ran.findings} == {"race"}
    races = [
        Finding(r.kind, "starter.cu", r.line, r.message, array=r.array, related=(Related(one.role, one.line),))
        for r in ran.findings
        for one in r.related
    ]
    lines = printed(msgspec.structs.replace(samples.SITUATIONS["race"], checks=(samples.memory("small", *races),)))
    (also,) = (line for line in lines if line.startswith("also: "))
    first = next(line for line in lines if line.startswith("starter.cu:"))
    assert also.removeprefix("also: ").split(" on ")[0] == first.split(" (")[0]
    assert also.endswith((" on As (small)", " on Bs (small)"))


def with_errors(*at: int) -> list[str]:
    """The lines about a file with compile errors in these lines."""
    errors = tuple(Finding("compile-error", "starter.cu", line, f"error {line}") for line in at)
    check = Check("compile", Status.FAILED, errors[0].message, findings=errors)
    return printed(msgspec.structs.replace(samples.SITUATIONS["race"], checks=(check,)))


def test_further_compile_errors_say_what_they_are() -> None:
    lines = with_errors(3, 8)
    assert "2 errors; the first on line 3." in lines
    assert "also: starter.cu:8: compile-error: error 8" in lines


def test_only_of_several_compile_errors_may_the_later_ones_follow_from_the_first() -> None:
    assert any("later errors are often caused" in line for line in with_errors(3, 8))
    assert any("later errors are often caused" in line for line in with_errors(3, 3))
    for alone in (with_errors(3), with_errors(0)):
        assert not any("Next:" in line for line in alone)
    assert "1 error on line 3." in with_errors(3)
    assert "1 error, below." in with_errors(0)


def test_many_errors_and_reasons_fit_too() -> None:
    unjudged = [
        Check(f"memory[c{n}]", Status.NOT_JUDGED, reason=f"reason {n} {LONG}", case=f"c{n}") for n in range(9)
    ]
    errors = [Check(f"correct[c{n}]", Status.ERROR, LONG, case=f"c{n}") for n in range(9)]
    bad = samples.memory("small", finding("race", 33))
    result = msgspec.structs.replace(samples.SITUATIONS["race"], checks=(bad, *unjudged, *errors))
    lines = printed(result)
    assert len(lines) <= SCREEN
    assert sum("more; -v shows all" in line for line in lines) == 2


def test_a_case_that_only_speed_has_is_a_row_of_its_own() -> None:
    exercise = msgspec.structs.replace(samples.EXERCISE, speed_cases=("large",))
    check = msgspec.structs.replace(samples.speed("large"), required=True)
    result = msgspec.structs.replace(samples.right(), checks=(*samples.right().checks, check))
    out = Console(file=io.StringIO(), width=WIDTH)
    print_result(out, result, exercise, None)
    assert "large - - not judged" in " ".join(out.file.getvalue().split())  # type: ignore[attr-defined]


def test_what_is_too_slow_says_by_how_much_and_where_to_begin() -> None:
    text = " ".join(" ".join(printed(samples.SITUATIONS["too-slow"])).split())
    assert "imbalanced clean right too slow, 0.29" in text
    assert "imbalanced: 311 µs; at most 149 µs is allowed. cuBLAS takes 89.4 µs" in text
    assert "Next: The FP32 units are 11% busy" in text


def test_what_changed_is_told_below_the_verdict() -> None:
    text = " ".join(printed(samples.SITUATIONS["passed"], samples.SITUATIONS["too-slow"]))
    assert "Since the last attempt: failed, now passed; points 72 to 92; fixed: speed[variable]" in text


def test_an_earlier_result_is_called_what_it_is_called() -> None:
    out = Console(file=io.StringIO(), width=WIDTH)
    now, before = samples.SITUATIONS["passed"], samples.SITUATIONS["too-slow"]
    print_result(out, now, samples.EXERCISE, None, since=before, since_name="classmate.json")
    said = out.file.getvalue()  # type: ignore[attr-defined]
    assert "Since classmate.json: failed, now passed" in said
    assert "attempt" not in said


def kernel(name: str) -> Kernel:
    key = f"y_of_{name}"
    return Kernel(name, (Parameter("x", "const float*"), Parameter("y", "unsigned char*", argument=key)), ())


SEVERAL = msgspec.structs.replace(samples.EXERCISE, kernels=tuple(map(kernel, ("encode_kernel", "decode_kernel"))))


def values(line: int, kernel: str = "", cause: str = "", hint: str = "") -> Finding:
    message = f"{cause}: y of {kernel}: expected 0x38 (1), got 0x00 (0)"
    return Finding("wrong-values", "starter.cu", line, message, hint=hint, kernel=kernel, cause=cause)


def of_several(*checks: Check) -> list[str]:
    result = msgspec.structs.replace(samples.fp8(), checks=(samples.COMPILED, *checks))
    out = Console(file=io.StringIO(), width=WIDTH)
    print_result(out, result, SEVERAL, samples.SOURCE)
    return out.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def test_wrong_values_of_several_kernels_can_be_told_apart() -> None:
    encoded, decoded = values(6, "encode_kernel"), values(9, "decode_kernel", "zero")
    lines = of_several(
        samples.correct("uniform", 1.0, 3, encoded, decoded), samples.correct("small", 1.0, 3, encoded)
    )
    assert "starter.cu, decode_kernel: wrong-values (uniform)" in lines  # its mistake is known
    assert "also: starter.cu, encode_kernel: wrong-values (uniform and 1 more)" in lines
    assert not any("right in every case" in line for line in lines)


def test_one_mistake_in_several_kernels_says_in_how_many() -> None:
    found = [values(6, "encode_kernel", "all zero"), values(9, "decode_kernel", "all zero")]
    lines = of_several(samples.correct("uniform", 1.0, 3, *found))
    assert "starter.cu, encode_kernel and 1 more: wrong-values (uniform)" in lines


def test_an_unnamed_kernel_of_several_has_its_line() -> None:
    lines = of_several(samples.correct("uniform", 1.0, 3, values(6)))
    assert "starter.cu, kernel on line 6: wrong-values (uniform)" in lines


WRONG_ENCODE = values(6, "encode_kernel")
REDACTED = Finding("wrong-values", "", 0, "a secret case")


def test_what_is_right_already_is_told() -> None:
    lines = of_several(samples.memory("uniform"), samples.correct("uniform", 1.0, 3, WRONG_ENCODE))
    assert "  right in every case: decode_kernel" in lines


@pytest.mark.parametrize(
    "unknown",
    [
        samples.skipped("correct", "small", "memory[small]"),
        samples.memory("small", finding("race", 6)),
        samples.correct("secret-1", 1.0, 3, REDACTED),
    ],
)
def test_what_nobody_knows_is_not_called_right(unknown: Check) -> None:
    lines = of_several(samples.correct("uniform", 1.0, 3, WRONG_ENCODE), unknown)
    assert not any("right in every case" in line for line in lines)


@pytest.mark.parametrize(("hint", "end"), [("bias", "code; the hint explains it."), ("", "code.")])
def test_a_hint_is_spoken_of_only_where_there_is_one(hint: str, end: str) -> None:
    found = values(6, "encode_kernel", "the bias is wrong", hint)
    text = " ".join(" ".join(of_several(samples.correct("uniform", 1.0, 3, found))).split())
    assert f"Find it in your {end}" in text


def test_the_hint_of_another_mistake_is_not_given() -> None:
    zero = values(6, "encode_kernel", "every wrong element is 0x00")
    chance = values(6, "encode_kernel", "the bias is wrong", "bias")
    lines = of_several(samples.correct("uniform", 1.0, 3, zero), samples.correct("one", 1.0, 1, chance))
    assert not any("Hint:" in line for line in lines)


def test_quality_that_cost_points_is_told_where_nothing_else_is_wrong() -> None:
    lost = Check(
        "quality",
        Status.FAILED,
        required=False,
        findings=(
            Finding("formatted", "starter.cu", 31, "longer than 110 columns"),
            Finding("commented", "starter.cu", 6, "no comment"),
        ),
    )
    right_but = msgspec.structs.replace(samples.right(), checks=(*samples.right().checks[:-1], lost))
    lines = printed(right_but)
    at = lines.index("Quality: line 31: longer than 110 columns")
    assert lines[at + 1] == "and 1 more; -v shows all"
    assert len(lines) <= SCREEN
    assert not any(line.startswith("Quality") for line in printed(samples.SITUATIONS["wrong-tile"]))


def test_why_quality_has_no_points_is_told_until_a_required_case_is_right(exercise: Exercise) -> None:
    def points(right_for: tuple[int, ...]) -> str:
        def compute(arrays: Arrays) -> Outcome:
            good = len(arrays["x"]) in right_for
            return right(arrays) if good else Outcome(outputs={"y": 0 * arrays["x"]})

        return " ".join(shown(exercise, FakeExecutor(compute=compute)).split("Points: ")[1].split())

    even, ragged, extra = 8, 6, 1  # rows
    assert "quality 0/12 until a required case is right" in points(())
    assert "quality 0/12 until a required case is right" in points((extra,))
    assert "until" not in points((even,))
    assert "until" not in points((even, ragged, extra))


def test_a_command_to_copy_is_never_broken() -> None:
    result = samples.SITUATIONS["no-gpu"]
    path = "/home/someone/" + "a-long-folder/" * 8 + "starter.cu"
    lines = printed(msgspec.structs.replace(result, submission=Submission(path, "0" * 64)))
    assert lines[-1] == f"  grade run 1 {path} --seed 1234567"


def test_the_verdict_comes_first_then_cases_then_what_is_wrong(exercise: Exercise) -> None:
    text = shown(exercise, FakeExecutor(compute=many))
    places = [text.index(part) for part in ("FAILED: ", "even", "starter.cu:1: race", "Next: ", "Points: ", "Seed 7")]
    assert places == sorted(places)


def test_one_cause_is_one_red_line(exercise: Exercise) -> None:
    text = shown(exercise, FakeExecutor(compute=lambda _: Outcome(findings=(finding("race", 6),))), terminal=True)
    red = [line for line in text.splitlines() if "\x1b[1;31m" in line]
    assert len(red) == 2  # the verdict, and the cause
    assert "starter.cu:6: race (even and 2 more)" in red[1]


def test_the_source_is_shown_around_the_line(exercise: Exercise) -> None:
    text = shown(
        exercise, FakeExecutor(compute=lambda _: Outcome(findings=(Finding("race", "starter.cu", 6, "short"),)))
    )
    assert "    5 | {\n  > 6 |     y[threadIdx.x] = 2 * x[threadIdx.x];\n    7 | }\n" in text


def test_the_line_of_the_call_is_shown_too(exercise: Exercise) -> None:
    found = Finding("race", "starter.cu", 6, "short", related=(Related("call", 2), Related("call", 9, "other.cuh")))
    text = shown(exercise, FakeExecutor(compute=lambda _: Outcome(findings=(found,))))
    code = SOURCE.decode().splitlines()
    assert f"  > 2 | {code[1]}".rstrip() in text
    assert text.count("  > ") == 2


@pytest.mark.parametrize("line", [0, 9999])
def test_a_line_that_is_not_there_is_not_shown(exercise: Exercise, line: int) -> None:
    text = shown(exercise, FakeExecutor(compute=lambda _: Outcome(findings=(finding("race", line),))))
    assert " | " not in text


def test_verbose_names_every_case_and_what_was_measured(exercise: Exercise) -> None:
    text = shown(exercise, FakeExecutor(compute=lambda a: Outcome(outputs={"y": a["x"] * 0})), verbose=True)
    assert "ragged: First wrong element: " in text
    assert "compile: passed  0.10 s" in text


def test_what_a_kernel_printed_is_counted_and_shown_in_full_when_asked(exercise: Exercise) -> None:
    def talkative(arrays: Arrays) -> Outcome:
        return msgspec.structs.replace(right(arrays), printed="row 0\nrow 1\n" if len(arrays["x"]) == 8 else "")

    executor = FakeExecutor(compute=talkative)
    assert "Your kernel printed 2 lines; -v shows them." in shown(exercise, executor).splitlines()
    assert "Your kernel printed" not in shown(exercise, FakeExecutor())
    lines = shown(exercise, executor, verbose=True).splitlines()
    at = lines.index("  Your kernel printed:")
    assert lines[at - 1].startswith("memory[even]")
    assert lines[at + 1 : at + 3] == ["    row 0", "    row 1"]


def test_extra_and_secret_cases_are_a_row_each(exercise: Exercise) -> None:
    def compute(arrays: Arrays) -> Outcome:
        return many(arrays) if arrays["x"].shape[0] in (1, 3) else right(arrays)

    rows = [line.split() for line in shown(exercise, FakeExecutor(compute=compute)).splitlines()]
    assert ["1", "extra", "case", "faulty", "-", "-"] in rows
    assert ["2", "secret", "cases", "faulty", "-", "-"] in rows  # one of them is: they are shown alike


def test_nothing_that_ran_is_no_table(exercise: Exercise) -> None:
    exercise.starter.write_bytes(b"")
    assert "even" not in shown(exercise, FakeExecutor())


def test_control_characters_of_a_submission_do_not_reach_the_terminal(exercise: Exercise) -> None:
    hostile = "\x1b[2J\x1b]0;title\x07\u202eevil"

    def compute(arrays: Arrays) -> Outcome:
        return Outcome(findings=(finding("race", 6, hostile),), printed=hostile)

    text = shown(exercise, FakeExecutor(compute=compute), verbose=True)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text


def test_markup_is_shown_as_it_is(exercise: Exercise) -> None:
    text = shown(exercise, FakeExecutor(compute=lambda _: Outcome(findings=(finding("race", 6, "[red]x[/]"),))))
    assert "[red]x[/]" in text


def test_no_colour_where_piped(capsys: pytest.CaptureFixture[str], exercise: Exercise) -> None:
    print_result(console(), graded(exercise, FakeExecutor()), exercise, None)
    assert "\x1b" not in capsys.readouterr().out


def test_verbose_says_a_mistake_once_and_each_case_its_own_numbers() -> None:
    one, two = (
        msgspec.structs.replace(
            values(6, "encode_kernel", "ties round up"), message=f"ties round up. First: {number}"
        )
        for number in (1, 2)
    )
    result = msgspec.structs.replace(
        samples.fp8(),
        checks=(samples.COMPILED, samples.correct("uniform", 1.0, 3, one), samples.correct("small", 1.0, 3, two)),
    )
    out = Console(file=io.StringIO(), width=WIDTH)
    print_result(out, result, SEVERAL, samples.SOURCE, verbose=True)
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    at = lines.index("  ties round up.")
    assert lines[at + 1 : at + 3] == ["  uniform: First: 1", "  small: First: 2"]

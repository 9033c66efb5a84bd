"""compare_counters.py: ncu's source page, and how lines are compared. What needs ncu itself is not run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from benchmarks import compare_counters

FILE = Path("/somewhere/kernel.cu")
HEAD = ["Line No", "Source", "Address", "Source", *compare_counters.COLUMNS.values()]


def page(*rows: tuple[str, ...], file: str = str(FILE)) -> list[str]:
    text = io.StringIO()
    out = csv.writer(text, quoting=csv.QUOTE_ALL)
    out.writerows([["File Path", file], ["Function Name", "k"], HEAD, *rows])
    return text.getvalue().splitlines()


def test_an_instruction_counts_for_the_first_line_that_has_it() -> None:
    output = page(
        ("3", "y[t] = x[t];", "-", "-", "12", "0"),
        ("", "", "0x10", "LDG", "8", "0"),
        ("", "", "0x20", "STG", "4", "0"),
        ("5", "s[t] = 1;", "-", "-", "0", "2"),
        ("", "", "0x30", "STS", "0", "2"),
        ("", "", "0x20", "STG", "4", "0"),
    )
    lines = compare_counters.of_lines(["==PROF== Connected", *output], FILE)
    assert {key: value for key, value in lines.items() if value} == {(3, "global"): 12, (5, "shared"): 2}


def test_what_lies_in_headers_is_left_out() -> None:
    assert not compare_counters.of_lines(page(("9", "", "0x10", "LDG", "8", "0"), file="/usr/include/mma.h"), FILE)


def test_lines_that_differ_are_told(tmp_path: Path) -> None:
    file = tmp_path / "kernel.cu"
    file.write_text("\n\ny[t] = x[t];  // a comment\n")
    ours, ncus = {(3, "global"): 1000, (5, "shared"): 3}, {(3, "global"): 1005, (5, "shared"): 2}
    total, near, others = compare_counters.report(file, ours, ncus)
    assert (total, near) == (2, 1)
    assert others == ["kernel, line 5, shared: 3 here, 2 by ncu | "]


def test_the_access_patterns_are_counted_as_their_comments_say() -> None:
    file = compare_counters.ROOT / "tests/kernels/counted/diverging.cu"
    lines = compare_counters.counted(compare_counters.prepare(file, "small"))
    assert lines[16, "shared"] == 31

from __future__ import annotations

import pytest

from grader.launching.launch_source import line_of

SOURCE = """extern "C" __global__ void launch_double(int n, Launch* launch)
{
    launch->grid = dim3(1);
    // launch->block = dim3(1);
    if (launch->variant == 2) { launch->grid.y = 2; }
    (*launch).shared_bytes=48;
    launch->grid_size = 4;
    TensorMap& tiles = launch->tensor_map[0];
    tiles.stride[0] = 4 * n;
}

void other(Launch* launch)
{
    launch->block = dim3(64);
}"""


@pytest.mark.parametrize(
    ("member", "line"),
    [
        ("grid", 5),  # the last assignment, a component's too
        ("shared_bytes", 6),
        ("variant", 6),  # compared, not assigned: beside the others, then
        ("block", 6),  # in a comment, and in another function
        ("stride", 9),  # of a tensor map, whatever it is called
    ],
)
def test_the_line_that_assigns_a_member(member: str, line: int) -> None:
    assert line_of(SOURCE, 1, member) == line


def test_lines_end_where_the_compiler_ends_them() -> None:
    assert line_of("// a page\fends\r\n" + SOURCE, 2, "grid") == 6


def test_a_function_that_assigns_nothing_is_named_itself() -> None:
    assert line_of("\nvoid launch_x(Launch* launch) {\n    fill(launch);\n}\n", 2, "grid") == 2


@pytest.mark.parametrize("line", [0, 99])
def test_a_line_that_is_not_there_stays(line: int) -> None:
    assert line_of(SOURCE, line, "grid") == line

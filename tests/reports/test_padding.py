"""What the report says about padding groups to the longest."""

from __future__ import annotations

import re

import msgspec
import pytest

from grader.model.measurements import read
from grader.model.result import Result
from grader.reports import padding, render
from tests.reports import samples


def skewed(**rows: tuple[int, ...]) -> Result:
    """A right kernel's Result, in which these cases state their groups."""
    result = samples.right()
    checks = (
        c.measured(group_rows=rows[c.case]) if c.family == "correct" and c.case in rows else c for c in result.checks
    )
    return msgspec.structs.replace(result, checks=tuple(checks))


def test_waste_is_what_is_computed_beyond_what_is_needed() -> None:
    (row,) = padding.by_case(skewed(imbalanced=(1, 10, 100, 1000)))
    assert (row.case, row.needed, row.padded) == ("imbalanced", 1111, 4000)
    assert row.waste == pytest.approx(2889 / 4000)
    assert row.heights == (0.1, 1.0, 10.0, 100.0)


def test_equal_groups_waste_nothing() -> None:
    (row,) = padding.by_case(skewed(uniform=(128,) * 4))
    assert row.waste == 0


def test_only_cases_whose_speed_is_judged_are_shown() -> None:
    assert padding.by_case(skewed(**{"one-row": (0, 7)})) == ()


@pytest.mark.parametrize("rows", [[], [0, 0], [-1, 5], "x", [1.5]])
def test_rows_that_no_grader_wrote_are_not_shown(rows: object) -> None:
    result = samples.right()
    checks = [msgspec.structs.replace(c, measurements=read({"group_rows": rows})) for c in result.checks]
    assert padding.by_case(msgspec.structs.replace(result, checks=tuple(checks))) == ()


def test_the_page_draws_each_group_in_its_place() -> None:
    html = render(skewed(small=(4, 0, 2)))
    row = html.split('id="padding"')[1].split("</section>")[0]
    assert '<td data-title="Rows computed">12</td>' in row
    assert "50%" in row
    assert re.findall(r'<rect x="(\d)" y="([\d.]+)"', row) == [("0", "0.0"), ("2", "50.0")]


def test_an_exercise_that_is_not_about_padding_has_no_such_section() -> None:
    assert "What padding would cost" not in render(samples.right())

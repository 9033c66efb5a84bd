"""The picture of a wrong output, as shapes."""

from __future__ import annotations

from typing import Any

import pytest

from grader.model.measurements import plain, read
from grader.reports.picture import draw
from tests.reports import samples

PICTURE = plain(samples.with_picture(samples.correct("variable"), "variable").measurements)["picture"]


def test_equal_neighbours_are_one_shape() -> None:
    drawn = draw(read({"picture": PICTURE}))
    assert drawn is not None
    group = next(group for group in drawn.groups if group.name == "group 3")
    shapes = {shape.css_class: shape.path for shape in group.grid.shapes}
    assert shapes["unwritten"] == "M0 14h32v1h-32zM0 15h32v1h-32z"
    assert (group.grid.columns, group.grid.rows, group.grid.width) == (32, 16, 288)


def test_only_what_is_wrong_is_drawn() -> None:
    drawn = draw(read({"picture": PICTURE}))
    assert drawn is not None
    assert [group.name for group in drawn.groups] == ["group 0", "group 1", "group 3"]
    assert drawn.others == "Right: group 2, group 4, group 5, group 6, group 7."


def test_many_groups_are_not_all_drawn() -> None:
    regions = [{"name": f"group {g}", "rows": 16, "marks": ["4" if g % 2 else "."]} for g in range(64)]
    drawn = draw(read({"picture": PICTURE | {"regions": regions, "omitted": 9}}))
    assert drawn is not None
    assert len(drawn.groups) == 16
    assert "and 16 more. 16 further wrong ones not drawn. 9 further groups not drawn." in drawn.others


@pytest.mark.parametrize(
    "kept",
    [
        None,
        {},
        [],
        PICTURE | {"regions": [{"name": "g", "rows": 1, "marks": ["<"]}]},
        PICTURE | {"regions": [{"name": "g", "rows": 1, "marks": ["4" * 30_000]}]},
        PICTURE | {"first": PICTURE["first"] | {"marks": []}},
        PICTURE | {"first": PICTURE["first"] | {"marks": ["4" * 17]}},
        PICTURE | {"first": PICTURE["first"] | {"got": ["1 " * 20_000]}},
        PICTURE | {"tile": "16"},
    ],
)
def test_what_the_grader_does_not_make_is_not_drawn(kept: Any) -> None:
    assert draw(read({"picture": kept})) is None

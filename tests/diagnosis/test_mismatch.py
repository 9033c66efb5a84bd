from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from grader.diagnosis.mismatch import Region, describe, first

COLUMNS = 256


def groups(*sizes: int) -> list[Region]:
    ends = np.cumsum(sizes).tolist()
    return [Region(f"group {g}", end - size, end) for g, (size, end) in enumerate(zip(sizes, ends, strict=True))]


def wrong(regions: list[Region], mark: Callable[[np.ndarray, list[np.ndarray]], None]) -> np.ndarray:
    """A mask; `mark` gets it whole, and as one view for each region."""
    mask = np.zeros((regions[-1].stop, COLUMNS), bool)
    mark(mask, [mask[r.start : r.stop] for r in regions])
    return mask


IMBALANCED = groups(1, 10, 100, 1000)
UNIFORM = groups(128, 128, 128, 128)


def last_rows(parts: list[np.ndarray], tile: int) -> None:
    for part in parts:
        part[part.shape[0] - part.shape[0] % tile :] = True


@pytest.mark.parametrize(
    ("regions", "mark", "says"),
    [
        (UNIFORM, lambda m, g: m.fill(True), "every element"),
        (UNIFORM, lambda m, g: g[1].fill(True), "every element of group 1"),
        (UNIFORM, lambda m, g: (g[1].fill(True), g[3].fill(True)), "every element of groups 1 and 3"),
        (UNIFORM, lambda m, g: m[:, 240:].fill(True), "columns 240 to 255 of every group"),
        (UNIFORM, lambda m, g: g[2][:, 0].fill(True), "column 0 of group 2"),
        (UNIFORM, lambda m, g: g[2][5, :].fill(True), "row 5 of group 2"),
        (UNIFORM, lambda m, g: g[0][16:32, 32:64].fill(True), "rows 16 to 31, columns 32 to 63 of group 0"),
        (UNIFORM, lambda m, g: m[15::16].fill(True), "every 16th row from row 15 of every group"),
        (UNIFORM, lambda m, g: m[:, 1::2].fill(True), "every other column from column 1 of every group"),
        (UNIFORM, lambda m, g: g[3][127:].fill(True), "the last row (row 127) of group 3"),
        (UNIFORM, lambda m, g: g[3][120:].fill(True), "the last 8 rows of group 3"),
        (
            UNIFORM,
            lambda m, g: g[0].__setitem__((7, 9), True),
            "row 7, column 9 of group 0",
        ),
        (
            IMBALANCED,
            lambda m, g: last_rows(g, 16),
            "the last partial tile of every group (the rows that full tiles of 16 or 32 leave over)",
        ),
        (
            IMBALANCED,
            lambda m, g: last_rows(g, 128),
            "the last partial tile of every group (the rows that full tiles of 128 leave over)",
        ),
        (
            groups(128, 100, 64, 7),
            lambda m, g: last_rows(g, 32),
            "the last partial tile of groups 1 and 3 (the rows that full tiles of 8 or 16 or 32 leave over)",
        ),
        (
            groups(128, 104, 64, 7),
            lambda m, g: [part[:, :16].fill(True) for part in (g[1][96:], g[3])],
            "columns 0 to 15 in the last partial tile of groups 1 and 3 "
            "(the rows that full tiles of 16 or 32 leave over)",
        ),
        (
            groups(*[16] * 64),
            lambda m, g: [part.fill(True) for part in g[10:20]],
            "every element of 10 of 64 groups (the first: group 10)",
        ),
        (
            groups(128, 0, 128, 0),
            lambda m, g: m.fill(True),
            "every element",
        ),
    ],
)
def test_says_where_the_wrong_elements_lie(
    regions: list[Region], mark: Callable[[np.ndarray, list[np.ndarray]], None], says: str
) -> None:
    assert describe(wrong(regions, mark), regions) == says


def test_elements_that_are_right_by_luck_do_not_spoil_the_picture() -> None:
    luck = np.random.default_rng(1).random((512, COLUMNS)) < 0.001
    mask = wrong(UNIFORM, lambda m, g: g[1].fill(True)) & ~luck
    assert describe(mask, UNIFORM) == "nearly every element of group 1"


def test_noise_is_called_scattered() -> None:
    mask = np.random.default_rng(2).random((512, COLUMNS)) < 0.1
    assert describe(mask, UNIFORM).startswith("scattered elements")


def test_the_first_wrong_element_is_counted_within_its_group() -> None:
    mask = wrong(IMBALANCED, lambda m, g: (g[2][99:, 3:].fill(True), g[3].fill(True)))
    assert first(mask, IMBALANCED) == (IMBALANCED[2], 99, 3)


def test_an_empty_group_holds_no_first_element() -> None:
    regions = groups(0, 0, 4)
    mask = wrong(regions, lambda m, g: m[0].fill(True))
    assert first(mask, regions) == (regions[2], 0, 0)

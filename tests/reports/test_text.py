"""Numbers as a person writes them, text that cannot act."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.reports.text import as_ratio, inert, link_lines, number, readable


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.001, "0.001"),
        (3.1e-5, "3.1e-05"),
        (0.6049, "0.605"),
        (12.345, "12.3"),
        (1234.5, "1,234"),
        (262144, "262,144"),
        (math.nan, "NaN"),
        (-math.inf, "infinite"),
        (None, ""),
    ],
)
def test_readable(value: float | None, text: str) -> None:
    assert readable(value) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.0, "0"), (0.00071, "0.00071"), (0.0368, "0.037"), (0.287, "0.29"), (0.5961, "0.596"), (3.4, "3.40")],
)
def test_a_ratio_says_how_slow_and_on_which_side(ratio: float, text: str) -> None:
    assert as_ratio(ratio, threshold=0.6) == text


@pytest.mark.parametrize(
    ("value", "expected"), [("Infinity", math.inf), (3, 3.0), ("text", None), (True, None), ([], None)]
)
def test_number_reads_what_json_carries(value: object, expected: float | None) -> None:
    assert number(value) == expected


def test_inert_shows_what_would_hide() -> None:
    assert inert("a\x00b\u202ec\td\n") == "a␀b⟨U+202E⟩c\td\n"


@given(st.text())
def test_inert_text_is_printable_and_stays_inert(text: str) -> None:
    once = inert(text)
    assert inert(once) == once
    once.encode()


@given(st.text(alphabet="line 123<&>"))
def test_only_lines_that_exist_are_linked(text: str) -> None:
    linked = link_lines(text, range(1, 13))
    assert linked.striptags() == " ".join(text.split())
    assert linked.count("<") == 2 * linked.count("<a href=")


def test_link_lines() -> None:
    assert link_lines("line 7 & line 13", {7, 12}) == '<a href="#L7">line 7</a> &amp; line 13'

"""Highlighting keeps every line and every character, and no submission makes it slow."""

from __future__ import annotations

import html
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grader.reports import highlight
from grader.reports.text import inert


def plain(lines: tuple[str, ...]) -> str:
    return html.unescape(re.sub("<[^>]*>", "", "\n".join(lines)))


def test_tokens_have_classes() -> None:
    keyword, comment = highlight.lines("__shared__ float x;\n// note\n")
    assert '<span class="k">__shared__</span>' in keyword
    assert comment == '<span class="c">// note</span>'


def test_a_comment_over_lines_is_closed_on_each() -> None:
    assert highlight.lines("/* a\nb */ int x;")[0] == '<span class="c">/* a</span>'


@example("\n\n")
@given(st.text(alphabet=st.sampled_from("ab1 \n\t\r\"'/*#\\<>&{}();\x0c\u2028"), max_size=60))
def test_nothing_is_lost(source: str) -> None:
    expected = inert(source.replace("\r\n", "\n")).removesuffix("\n")
    lines = highlight.lines(source)
    assert plain(lines) == expected
    assert len(lines) == expected.count("\n") + 1


@pytest.mark.parametrize(
    "teaser",
    [
        "\n",
        " \n",
        "//\\\n",
        "/*",
        "(",
        '"',
        "\\\n",
        "#if 0\n",
        "#include <",
        "a b ",
        "a::",
        "f(",
        "/* */\n",
        "<",
        "'",
    ],
)
def test_no_text_makes_it_slow(teaser: str) -> None:
    """Expressions backtrack on some texts; here they may not do so for long."""
    start = time.process_time()
    highlight.lines("void f(int a)" + teaser * (highlight.HIGHLIGHTED_CHARACTERS // len(teaser) - 14) + "!")
    assert time.process_time() - start < 5


def test_a_very_long_line_is_cut_and_says_so() -> None:
    (line,) = highlight.lines("x" * 5_000)
    assert len(line) < 2_200
    assert plain((line,)).endswith("(3,000 more characters)")

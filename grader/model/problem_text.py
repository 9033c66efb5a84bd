"""Parses an exercise's problem.md: its sections by anchor, and the questions under "Hints"."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_QUESTION = re.compile(r'<details( class="speed")?>\s*<summary>(.*?)</summary>(.*?)</details>', re.DOTALL)
_NUMBER = re.compile(r"^\d+\. *")


class Section(msgspec.Struct, frozen=True):
    """The text below a heading, up to the next. The anchor is GitHub's: "Endless loop!" is endless-loop."""

    title: str
    anchor: str
    text: str


class Question(msgspec.Struct, frozen=True):
    """A hint that is opened one at a time."""

    title: str
    text: str
    about_speed: bool


def sections(markdown: str) -> tuple[Section, ...]:
    """In order; each ends at the next heading of any level."""
    lines = markdown.splitlines()
    tokens = _parser().parse(markdown)
    found: list[tuple[str, int, int]] = []  # title, the heading's first line, the first below it
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.level == 0 and opening.map:
            found.append((inline.content, opening.map[0], opening.map[1]))
    ends = [start for _, start, _ in found[1:]] + [len(lines)]
    return tuple(
        Section(title, _anchor(title), "\n".join(lines[start:end]).strip())
        for (title, _, start), end in zip(found, ends, strict=False)
    )


def questions(markdown: str) -> tuple[Question, ...]:
    """The hints under "Hints": <details> or <details class="speed">, each with its question as <summary>."""
    text = next((section.text for section in sections(markdown) if section.anchor == "hints"), "")
    return tuple(
        Question(_NUMBER.sub("", title.strip()), answer.strip(), about_speed=bool(speed))
        for speed, title, answer in _QUESTION.findall(text)
    )


@cache
def _parser() -> MarkdownIt:
    """Loaded when a text is first taken apart. A heading right below </details> is meant as one."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").disable("html_block")


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")

"""An exercise's problem.md, taken apart: its sections by anchor, and the questions under "Hints"."""

from __future__ import annotations

import re

import msgspec

_HEADING = re.compile(r"#+ +(.+?) *#*")
_QUESTION = re.compile(r'<details( class="speed")?>\s*<summary>(.*?)</summary>(.*?)</details>', re.DOTALL)
_NUMBER = re.compile(r"^\d+\. *")


class Section(msgspec.Struct, frozen=True):
    """What stands below a heading, up to the next. The anchor is GitHub's: "Endless loop!" is endless-loop."""

    title: str
    anchor: str
    text: str


class Question(msgspec.Struct, frozen=True):
    """A hint that is opened one at a time."""

    title: str
    text: str
    about_speed: bool


def sections(markdown: str) -> tuple[Section, ...]:
    """In their order. A # in a block of code begins none."""
    found: list[tuple[str, list[str]]] = []
    fenced = False
    for line in markdown.splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else _HEADING.fullmatch(line)
        if heading:
            found.append((heading[1], []))
        elif found:
            found[-1][1].append(line)
    return tuple(Section(title, _anchor(title), "\n".join(lines).strip()) for title, lines in found)


def questions(markdown: str) -> tuple[Question, ...]:
    """The hints of the section "Hints": <details>, or <details class="speed">, each with its question as <summary>."""
    text = next((section.text for section in sections(markdown) if section.anchor == "hints"), "")
    return tuple(
        Question(_NUMBER.sub("", title.strip()), answer.strip(), about_speed=bool(speed))
        for speed, title, answer in _QUESTION.findall(text)
    )


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")

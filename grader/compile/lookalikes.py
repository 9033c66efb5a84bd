"""Characters that look like one of C++'s, or are invisible, but are not part of the language."""

from __future__ import annotations

import unicodedata

# What Unicode's own compatibility forms (NFKC) do not say.
LOOKS_LIKE = (
    dict.fromkeys("“”„‟″«»", '"')
    | dict.fromkeys("‘’‚‛′´", "'")
    | dict.fromkeys("‐‑‒–—―−", "-")
    | {"×": "*", "∗": "*"}
)


def first(line: str) -> str:
    """The first such character of a line; "" if there is none."""
    return next((c for c in line if not c.isascii() and (_means(c) or not c.isidentifier())), "")


def describe(character: str) -> str:
    """ "U+037E (Greek question mark) is not a character of C++"."""
    name = unicodedata.name(character, "a control character").capitalize()
    return f"U+{ord(character):04X} ({name}) is not a character of C++"


def instead(character: str) -> str:
    means = _means(character)
    if means.strip():
        return f"it looks like {means}"
    return "it looks like a space" if unicodedata.category(character) == "Zs" else "it may be invisible here"


def _means(character: str) -> str:
    """The ASCII character that it looks like; "" for none."""
    same = LOOKS_LIKE.get(character) or unicodedata.normalize("NFKC", character)
    return same if same.isascii() and not same.isalnum() else ""

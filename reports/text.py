"""Making text and numbers fit to be read: nothing that a submission prints may steer the page."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Container
from typing import Any

from markupsafe import Markup, escape

_LINE = re.compile(r"\bline (\d{1,6})\b")
_UNUSUAL = re.compile(r"[^\n\t\x20-\x7e]")  # each of these is looked at
_LINE_CONTROLS = {ord(control): 0x2400 + ord(control) for control in "\n\t"}
_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")

NEAR = 0.01  # a ratio this near to its threshold is given to one digit more


def inert(text: str) -> str:
    """The text with every control, bidirectional and invisible character made visible.

    Jinja's autoescape keeps markup out; this keeps out what reorders, hides or breaks a line, and lone
    surrogates, which UTF-8 cannot hold.
    """
    return _UNUSUAL.sub(lambda found: _visible(found[0]), text)


def in_line(text: str) -> str:
    """The same for a name within a line, which must not begin another."""
    return inert(text).translate(_LINE_CONTROLS)


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE_CATEGORIES:
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's pictures of the control characters
    return f"⟨U+{code:04X}⟩"


def finalize(value: Any) -> Any:
    """Jinja's last word on every `{{ }}`: text becomes inert, markup was made by us."""
    return inert(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def link_lines(text: str, lines: Container[int]) -> Markup:
    """The text, its mentions of "line N" turned into links to the listing; only `lines`, which the findings name."""
    parts: list[Markup] = []
    end = 0
    text = inert(text)
    for match in _LINE.finditer(text):
        number = int(match[1])
        if number in lines:
            link = Markup('<a href="#L{}">{}</a>').format(number, match[0])
            parts += [escape(text[end : match.start()]), link]
            end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


def as_ratio(ratio: float, threshold: float | None = None) -> str:
    """Two decimals; three where two would hide on which side of the threshold it lies; two digits if it is small."""
    if abs(ratio) < 0.1:
        return f"{ratio:.2g}"
    near = threshold is not None and abs(ratio - threshold) < NEAR
    return f"{ratio:.3f}" if near else f"{ratio:.2f}"


def number(value: Any) -> float | None:
    """A measurement as a float: JSON carries NaN and infinities by name. None if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def readable(value: float | None) -> str:
    """Three significant digits, and no exponent where a person would write none."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinite"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.2g}"


def us(value: float) -> str:
    """A time to three digits, so that a column of them lines up: 8.45, 13.0, 311."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def exact(value: float | None) -> str:
    """A small float in full, as FP8 values are written: 0.001953125, 448, NaN."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Inf" if value > 0 else "-Inf"
    return f"{value:.10g}"


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"

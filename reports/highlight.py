"""CUDA source as highlighted lines of HTML."""

from __future__ import annotations

from markupsafe import Markup, escape
from pygments.lexer import include
from pygments.lexers.c_like import CudaLexer
from pygments.token import Comment, Keyword, Literal, Name, Number, Punctuation, String, Token

from reports.text import inert

# The lexer is a pile of regular expressions, and a submission may tease them: what is larger than any
# kernel that a student writes is shown plain.
HIGHLIGHTED_CHARACTERS = 100_000

# A line of code that is longer than this is data, or a trick.
SHOWN_COLUMNS = 2_000



class _Lexer(CudaLexer):
    """Without the rules for whole function heads: on some comments they take exponential time."""

    tokens = {"root": [include("whitespace"), include("statements"), (r"[{};]", Punctuation)]}  # noqa: RUF012


# Innermost token type first: the first that holds the token names its class.
_CLASSES = (
    (Comment.Preproc, "p"),
    (Comment.PreprocFile, "s"),
    (Comment, "c"),
    (Keyword, "k"),
    (Name.Builtin, "k"),
    (Number, "n"),
    (String, "s"),
    (Literal, "n"),
    (Name.Function, "f"),
    (Token, ""),
)


def lines(source: str) -> tuple[Markup, ...]:
    """One entry for each line that the compiler counts; without markup of the source's own."""
    source = inert(source.replace("\r\n", "\n")).removesuffix("\n")
    source = "\n".join(_shortened(line) for line in source.split("\n"))
    if len(source) > HIGHLIGHTED_CHARACTERS:
        return tuple(escape(line) for line in source.split("\n"))
    done: list[Markup] = []
    line = Markup("")
    for kind, text in _Lexer(stripnl=False).get_tokens(source):
        css_class = next(name for parent, name in _CLASSES if kind in parent)
        first, *rest = text.split("\n")
        line += _span(css_class, first)
        for part in rest:
            done.append(line)
            line = _span(css_class, part)
    return tuple(done)  # the lexer ends the last line too


def _span(css_class: str, text: str) -> Markup:
    if not text or not css_class or text.isspace():
        return escape(text)
    return Markup('<span class="{}">{}</span>').format(css_class, text)


def _shortened(line: str) -> str:
    if len(line) <= SHOWN_COLUMNS:
        return line
    return f"{line[:SHOWN_COLUMNS]} … ({len(line) - SHOWN_COLUMNS:,} more characters)"

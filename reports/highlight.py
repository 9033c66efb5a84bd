"""CUDA source as highlighted lines of HTML."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from markupsafe import Markup, escape
from pygments.lexer import RegexLexer, bygroups, words
from pygments.lexers.c_like import CudaLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Text, Token

from grader.reports.text import inert

# What is larger than any kernel that a student writes is shown plain.
HIGHLIGHTED_CHARACTERS = 100_000

# A line of code that is longer than this is data, or a trick.
SHOWN_COLUMNS = 2_000

_KEYWORDS = frozenset(
    """
    alignas alignof asm auto bool break case catch char class const const_cast constexpr continue decltype
    default delete do double dynamic_cast else enum explicit export extern false float for friend goto if
    inline int long mutable namespace new noexcept nullptr operator private protected public register
    reinterpret_cast return short signed sizeof static static_assert static_cast struct switch template this
    throw true try typedef typeid typename union unsigned using virtual void volatile while
    __launch_bounds__ __cluster_dims__ __grid_constant__
    """.split()
).union(CudaLexer.function_qualifiers, CudaLexer.variable_qualifiers, CudaLexer.vector_types)


class _Lexer(RegexLexer):  # type: ignore[misc]  # Pygments has no types
    """A handful of rules, each linear in what it reads.

    Pygments' own CUDA lexer looks for whole function heads, and a run of comments or of blank lines can
    make it take exponential or quadratic time: a submission may hold either.
    """

    tokens: ClassVar = {
        "root": [
            (r"\s+", Text),
            (r"//(?:[^\\\n]|\\[\w\W])*", Comment),
            (r"/\*(?:[^*]|\*(?!/))*(?:\*/)?", Comment),
            (r'(#[^\S\n]*include\b[^\S\n]*)("[^"\n]*"|<[^>\n]*>)', bygroups(Comment.Preproc, String)),
            (r"#", Comment.Preproc, "directive"),
            (r'"(?:[^"\\\n]|\\[\w\W])*"?', String),
            (r"'(?:[^'\\\n]|\\[\w\W])*'?", String),
            (r"\.?\d(?:[eEpP][+-]|'\w|[\w.])*", Number),
            (words(sorted(_KEYWORDS), suffix=r"\b"), Keyword),
            (words(sorted(CudaLexer.variables), suffix=r"\b"), Name.Builtin),
            (r"__\w+(?=\()", Name.Function),
            (r"\w+", Name),
            (r"[^\w\s]", Operator),
        ],
        "directive": [
            (r"\n", Text, "#pop"),
            (r"(?=//|/\*)", Text, "#pop"),
            (r"[^\\\n/]+|\\[\w\W]?|/", Comment.Preproc),
        ],
    }


# The first that holds the token names its class (report.css).
_CLASSES = (
    (Comment.Preproc, "p"),
    (Comment, "c"),
    (Keyword, "k"),
    (Name.Builtin, "k"),
    (Name.Function, "f"),
    (Number, "n"),
    (String, "s"),
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
    for kind, text in _Lexer(stripnl=False, ensurenl=False).get_tokens(source + "\n"):
        css_class = _css_class(kind)
        first, *rest = text.split("\n")
        line += _span(css_class, first)
        for part in rest:
            done.append(line)
            line = _span(css_class, part)
    return tuple(done)


@cache
def _css_class(kind: Any) -> str:
    """`kind` is a token's, of which there are few."""
    return next(name for parent, name in _CLASSES if kind in parent)


def _span(css_class: str, text: str) -> Markup:
    if not text or not css_class or text.isspace():
        return escape(text)
    return Markup('<span class="{}">{}</span>').format(css_class, text)


def _shortened(line: str) -> str:
    if len(line) <= SHOWN_COLUMNS:
        return line
    return f"{line[:SHOWN_COLUMNS]} … ({len(line) - SHOWN_COLUMNS:,} more characters)"

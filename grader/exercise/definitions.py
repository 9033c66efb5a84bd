"""A CUDA source as its top-level definitions: which use which, and which a starter's TODOs ask for.

No compiler: it reads text that may not compile. What it cannot make out is left out, and nothing is said about it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice, pairwise

import msgspec

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<directive>^[ \t]*\#(?:[^\n]*\\\n)*[^\n]*)
    |(?P<string>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n]){1,10}')
    |(?P<word>\w+)
    |(?P<other>\S)""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_DEFINED = re.compile(r"[ \t]*#[ \t]*define[ \t]+(\w+)")
_TODO = re.compile(r"/[/*]+[ \t]*TODO\b[ \t]*(\d*)[ \t]*:")
_TYPES = ("struct", "class", "union", "enum")
# Words before a "(" that name no function.
_ATTRIBUTES = ("__launch_bounds__", "__cluster_dims__", "__align__", "alignas", "__attribute__", "decltype")


class Todo(msgspec.Struct, frozen=True):
    """A step that the starter's comments ask for. `after`: the code from there to the next step."""

    number: str  # "" where the comment gives none
    line: int
    after: tuple[str, ...]
    inside: bool  # the definition, and not above it

    @property
    def name(self) -> str:
        return f"TODO {self.number}".rstrip()


class Definition(msgspec.Struct, frozen=True):
    """A function, type, variable or macro, comments aside. `line` is that of its name."""

    name: str
    line: int
    last_line: int
    tokens: tuple[str, ...]
    todos: tuple[Todo, ...] = ()


class Definitions:
    def __init__(self, text: str) -> None:
        self.all = tuple(_definitions(text))

    @cached_property
    def by_name(self) -> dict[str, list[Definition]]:
        found: dict[str, list[Definition]] = {}
        for definition in self.all:
            found.setdefault(definition.name, []).append(definition)
        return found

    def tokens(self, name: str) -> tuple[str, ...]:
        """Of all that goes by this name: overloads, declarations."""
        return tuple(token for one in self.by_name.get(name, ()) for token in one.tokens)

    def reach(self, name: str) -> frozenset[str]:
        """`name` and, as far as they stand in this source, all that it uses, and what these use."""
        found: set[str] = set()
        todo = [name]
        while todo:
            one = todo.pop()
            if one in self.by_name and one not in found:
                found.add(one)
                todo += self.tokens(one)
        return frozenset(found)

    def reaches(self, names: Iterable[str], line: int) -> frozenset[str]:
        """Those of the names that use the definition at this line."""
        at = {one.name for one in self.all if one.line <= line <= one.last_line}
        return frozenset(name for name in names if at & self.reach(name))


def same(one: Definitions, other: Definitions, name: str) -> bool:
    """Whether it is the same in both, with all that it uses."""
    reach = one.reach(name)
    return reach == other.reach(name) and all(one.tokens(each) == other.tokens(each) for each in reach)


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str
    line: int


def _tokens(text: str) -> list[_Token]:
    newlines = [match.start() for match in re.finditer("\n", text)]
    return [
        _Token(match.lastgroup or "", match.group(), 1 + bisect_right(newlines, match.start() - 1))
        for match in _TOKEN.finditer(text)
    ]


def _definitions(text: str) -> Iterator[Definition]:
    chunk: list[_Token] = []
    depth = wrapped = 0  # in brackets of any kind; in namespaces and extern "C" blocks
    function: bool | None = None  # whether the chunk is one; its first "{" tells
    for token in _tokens(text):
        if token.kind == "directive":
            if depth:  # it may change the code around it
                chunk.append(msgspec.structs.replace(token, text=_directive(token.text)))
            else:
                yield from _macro(token)
            continue
        if token.text in ("}", ")", "]") and token.kind == "other":
            if not depth:  # the end of a namespace
                wrapped, chunk, function = max(wrapped - 1, 0), [], None
                continue
            depth -= 1
        chunk.append(token)
        if token.kind != "other":
            continue
        if token.text in "{([":
            if token.text == "{" and not depth and function is None:
                if _wraps(chunk):
                    wrapped, chunk = wrapped + 1, []
                    continue
                function = _function_name(chunk) is not None
            depth += 1
        if not depth and (token.text == ";" or (token.text == "}" and function)):
            if definition := _definition(chunk):
                yield definition
            chunk, function = [], None


def _macro(token: _Token) -> Iterator[Definition]:
    if name := _DEFINED.match(token.text):
        yield Definition(name[1], token.line, token.line, tuple(token.text.split()))


def _directive(text: str) -> str:
    return " ".join(text.partition("//")[0].split())


def _code(chunk: Iterable[_Token]) -> Iterator[_Token]:
    return (token for token in chunk if token.kind != "comment")


def _wraps(chunk: list[_Token]) -> bool:
    """Whether this is the "{" of a namespace or an extern "C" block."""
    words = [token.text for token in islice(_code(chunk), 3)]
    return words == ["extern", '"C"', "{"] or words[:1] == ["namespace"] or words[:2] == ["inline", "namespace"]


def _function_name(chunk: list[_Token]) -> _Token | None:
    """The word before its parameters, which come before any "=" or "{"."""
    skipping = 0
    for before, token in pairwise(_code(chunk)):
        if skipping:
            skipping += (token.text == "(") - (token.text == ")")
        elif token.text == "(" and before.text in _ATTRIBUTES:
            skipping = 1
        elif token.text == "(" and before.kind == "word":
            return before
        elif token.text in ("=", "{", ";"):
            return None
    return None


def _definition(chunk: list[_Token]) -> Definition | None:
    name = _function_name(chunk) or _type_name(chunk) or _variable_name(chunk)
    if name is None:
        return None
    code = list(_code(chunk))
    return Definition(name.text, name.line, code[-1].line, tuple(token.text for token in code), tuple(_todos(chunk)))


def _type_name(chunk: list[_Token]) -> _Token | None:
    before = ""
    for token, named in pairwise(_code(chunk)):
        if token.text in _TYPES and before not in ("<", ",") and named.kind == "word":
            return named
        if token.text == "{":
            return None
        before = token.text
    return None


def _variable_name(chunk: list[_Token]) -> _Token | None:
    """The last word before the value, the size or the end."""
    name = None
    for token in _code(chunk):
        if token.text in ("=", "[", ";", "{"):
            break
        if token.kind == "word":
            name = token
    return name


def _todos(chunk: list[_Token]) -> Iterator[Todo]:
    """A comment over several lines begins a step only where it says TODO."""
    comments = ((at, token.text) for at, token in enumerate(chunk) if token.kind == "comment")
    starts = [(at, match[1]) for at, text in comments if (match := _TODO.match(text))]
    begins = next((at for at, token in enumerate(chunk) if token.kind != "comment"), len(chunk))
    ends = [at for at, _ in starts[1:]] + [len(chunk)]
    for (at, number), end in zip(starts, ends, strict=False):
        after = tuple(token.text for token in _code(chunk[at:end]))
        yield Todo(number, chunk[at].line, after, begins < at)

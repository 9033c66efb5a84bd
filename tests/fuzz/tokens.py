"""Texts as tokens, and what can go wrong with some of them.

A mutation is a function from tokens and a source of chance to tokens. Blanks and comments are tokens too, so that
joining the tokens of a text returns it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

Tokens = list[str]
Mutation = Callable[[Tokens, Random], Tokens]

BLANK = re.compile(r"\s+|//|/\*")  # what begins a token that means nothing


def meaningful(tokens: Tokens) -> list[int]:
    """The places of all tokens but blanks and comments."""
    return [place for place, token in enumerate(tokens) if not BLANK.match(token)]


def mutated(text: str, split: re.Pattern[str], mutations: Sequence[Mutation], rng: Random) -> str:
    """With one to three mutations; one is likeliest."""
    tokens = split.findall(text)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3))):
        tokens = rng.choice(mutations)(tokens, rng)
    return "".join(tokens)


def delete(tokens: Tokens, rng: Random) -> Tokens:
    first, last = _run(tokens, rng)
    return tokens[:first] + tokens[last + 1 :]


def duplicate(tokens: Tokens, rng: Random) -> Tokens:
    first, last = _run(tokens, rng)
    return [*tokens[: last + 1], " ", *tokens[first:]]


def swap(tokens: Tokens, rng: Random) -> Tokens:
    """Two tokens, neighbours or far from each other."""
    places = meaningful(tokens)
    at = rng.randrange(len(places))
    other = at + 1 if rng.random() < 0.5 else rng.randrange(len(places))
    return _exchanged(tokens, places[at], places[other % len(places)])


def replace(tokens: Tokens, rng: Random) -> Tokens:
    """A token by another of the same text."""
    places = meaningful(tokens)
    return _put(tokens, rng.choice(places), tokens[rng.choice(places)])


def cut(tokens: Tokens, rng: Random) -> Tokens:
    """The text ends early."""
    return tokens[: rng.randrange(len(tokens))]


def character(tokens: Tokens, rng: Random) -> Tokens:
    """One character by any other."""
    at = rng.choice(meaningful(tokens))
    token = tokens[at]
    where = rng.randrange(len(token))
    other = rng.choice("\0\x01\x1b\t\\\"'`#@$%&{}()[]<>;:,.?!~^|+-*/=09azAZ_\x7f\u202e\ufeffé漢\U0001f600")
    return _put(tokens, at, token[:where] + other + token[where + 1 :])


def same_kind(kind: re.Pattern[str]) -> Mutation:
    """A token that matches as a whole, by another of the text that does."""

    def mutation(tokens: Tokens, rng: Random) -> Tokens:
        places = [place for place, token in enumerate(tokens) if kind.fullmatch(token)]
        if not places:
            return tokens
        others = sorted({tokens[place] for place in places})
        return _put(tokens, rng.choice(places), rng.choice(others))

    return mutation


def one_of(kind: re.Pattern[str], others: Sequence[str]) -> Mutation:
    """A token that matches as a whole, by one of a list."""

    def mutation(tokens: Tokens, rng: Random) -> Tokens:
        places = [place for place, token in enumerate(tokens) if kind.fullmatch(token)]
        return _put(tokens, rng.choice(places), rng.choice(others)) if places else tokens

    return mutation


def insert(texts: Sequence[str], end: str = ";", near: str = "") -> Mutation:
    """One of the texts at the end of a line that ends in `end` and, if so wanted, holds `near`."""

    def mutation(tokens: Tokens, rng: Random) -> Tokens:
        places = [place for place, token in enumerate(tokens) if "\n" in token and tokens[place - 1].endswith(end)]
        places = [place for place in places if not near or near in tokens[max(0, place - 12) : place]]
        if not places:
            return tokens
        at = rng.choice(places)
        return [*tokens[:at], "\n", rng.choice(texts), *tokens[at:]]

    return mutation


def statement(end: re.Pattern[str]) -> Mutation:
    """What lies between two tokens that match: deleted, doubled, or moved elsewhere."""

    def mutation(tokens: Tokens, rng: Random) -> Tokens:
        ends = [place for place, token in enumerate(tokens) if end.fullmatch(token)]
        if len(ends) < 2:
            return tokens
        which = rng.randrange(len(ends) - 1)
        first, last = ends[which] + 1, ends[which + 1] + 1
        piece, rest = tokens[first:last], tokens[:first] + tokens[last:]
        act = rng.randrange(3)
        if act == 0:
            return rest
        source = rest if act == 1 else tokens
        places = [place for place, token in enumerate(source) if end.fullmatch(token)]
        at = rng.choice(places) + 1 if places else 0
        return source[:at] + piece + source[at:]

    return mutation


def _run(tokens: Tokens, rng: Random) -> tuple[int, int]:
    """The first and the last of a few tokens in a row."""
    places = meaningful(tokens)
    at = rng.randrange(len(places))
    return places[at], places[min(at + rng.choice((0, 0, 0, 1, 2, 5)), len(places) - 1)]


def _put(tokens: Tokens, at: int, token: str) -> Tokens:
    return [*tokens[:at], token, *tokens[at + 1 :]]


def _exchanged(tokens: Tokens, a: int, b: int) -> Tokens:
    return _put(_put(tokens, a, tokens[b]), b, tokens[a])

"""What `grade run --host` and `grade serve` say to each other: one JSON object a line, on stdin and stdout.

The server begins with Hello, the client answers with one Request, and everything after that comes from the server. A
client that closes its end has left.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from grader.exercise import submission
from grader.seeds import SEEDS

# JSON carries bytes as base64, a third longer.
MAX_REQUEST_BYTES = 2 * submission.MAX_BYTES
MAX_ANSWER_BYTES = 64 << 20  # a Result of a megabyte is a large one

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """`exercises`: by name, the SHA-256 of every file that a grade depends on, by its path in the exercise."""

    grader: str
    exercises: dict[str, dict[str, str]] = {}


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One submission. Its file name stays with the student."""

    grader: _Name
    exercise: _Name
    seed: Annotated[int, msgspec.Meta(ge=0, lt=SEEDS)]
    content: Annotated[bytes, msgspec.Meta(max_length=submission.MAX_BYTES)]


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """`before`: gradings that are running or come first."""

    before: int


class Doing(msgspec.Struct, frozen=True, tag="doing"):
    """Progress of pipeline.grade, without its checks."""

    doing: str
    done: int = 0
    of: int = 0


class Done(msgspec.Struct, frozen=True, tag="done"):
    """`result`: a Result as codec.encode writes it."""

    result: bytes


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Nothing was graded. `why` is a line for the student, with the next step."""

    why: str


Answer = Hello | Waiting | Doing | Done | Refused

T = TypeVar("T")


def line(message: Answer | Request) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def read(text: bytes, kind: type[T]) -> T:
    """Raises ValueError if it is no such message."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None

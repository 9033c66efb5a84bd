"""GitHub's account of what happened, as far as the base depends on it.

https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from grader import files

MAX_BYTES = 64 << 20  # GitHub's own limit is 25 MB


class _Commit(msgspec.Struct, frozen=True):
    sha: str = ""


class _PullRequest(msgspec.Struct, frozen=True):
    base: _Commit = _Commit()


class _Repository(msgspec.Struct, frozen=True):
    default_branch: str = ""


class Event(msgspec.Struct, frozen=True):
    """Every part may be missing: which are there depends on the kind of event."""

    pull_request: _PullRequest = _PullRequest()
    repository: _Repository = _Repository()
    before: str | None = ""
    ref: str | None = ""


def read(path: str) -> Event:
    """An empty one if none can be read: then it names no base, which is reported."""
    if not path:
        return Event()
    try:
        return msgspec.json.decode(files.read(Path(path), MAX_BYTES), type=Event)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Event()

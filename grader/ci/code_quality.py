"""Annotations as GitLab's code quality report, which it shows in the diff of a merge request."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from grader.ci.annotations import Annotation
from grader.reports.text import inert

SEVERITIES = {"error": "major", "warning": "minor", "notice": "info"}


def document(annotations: Sequence[Annotation]) -> bytes:
    """Of those that belong to a file: GitLab takes no others."""
    entries = [_entry(annotation) for annotation in annotations if annotation.file]
    return msgspec.json.format(msgspec.json.encode(entries), indent=2) + b"\n"


def _entry(annotation: Annotation) -> dict[str, object]:
    file, message = inert(annotation.file), inert(annotation.message)
    identity = f"{file}:{annotation.line}:{annotation.title}:{message}"
    return {
        "description": f"{inert(annotation.title)}: {message}",
        "check_name": inert(annotation.title),
        "fingerprint": hashlib.sha256(identity.encode()).hexdigest(),
        "severity": SEVERITIES[annotation.level],
        "location": {"path": file, "lines": {"begin": max(1, annotation.line)}},
    }

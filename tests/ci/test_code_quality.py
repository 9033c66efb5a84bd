from __future__ import annotations

import json

from grader.ci import annotations, code_quality
from tests.ci.samples import COMPILED, EVIL, RACY, UNTIMED, failing, graded


def test_entries_as_gitlab_reads_them() -> None:
    found = annotations.of([graded(COMPILED, RACY, UNTIMED), graded(failing(EVIL), path="students/eve/1.cu")])
    entries = json.loads(code_quality.document(found))
    first = entries[0]
    assert set(first) == {"description", "check_name", "fingerprint", "severity", "location"}
    assert first["location"] == {"path": "exercises/01_double/starter.cu", "lines": {"begin": 6}}
    assert {entry["severity"] for entry in entries} == {"major", "info"}
    assert len({entry["fingerprint"] for entry in entries}) == len(entries) == 3


def test_nothing_found_is_an_empty_list() -> None:
    assert json.loads(code_quality.document(annotations.of([graded(COMPILED)]))) == []

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.classroom import School


@pytest.fixture
def school(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> School:
    made = School(tmp_path)
    monkeypatch.setattr("grader.executors.open_cpu", made.open)
    monkeypatch.setattr("grader.machine.gpus", lambda: 0)
    return made

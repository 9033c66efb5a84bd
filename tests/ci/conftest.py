from __future__ import annotations

from pathlib import Path

import pytest

from tests.ci.course import Course


@pytest.fixture
def course(tmp_path: Path) -> Course:
    return Course.with_exercise(tmp_path / "course")

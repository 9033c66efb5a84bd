from __future__ import annotations

from pathlib import Path

import pytest

from grader.errors import UsageError
from grader.exercise import secret
from grader.model.measurements import read
from grader.model.result import Check, Finding, Status

TOML = """
seed = 7

[[cases]]
name = "the trap"
M_sizes = [3, 0, 17]
K = 48

[[cases]]
M_sizes = [1]
"""
JSON = '{"cases": [{"M_sizes": [1]}]}'


def written(tmp_path: Path, text: str, name: str = "secret.toml") -> Path:
    file = tmp_path / name
    file.write_text(text)
    return file


def test_reads_toml_and_json_by_the_ending(tmp_path: Path) -> None:
    assert secret.read(written(tmp_path, TOML)).seed == 7
    assert secret.read(written(tmp_path, JSON, "secret.json")).seed is None


def test_names_are_the_graders_own(tmp_path: Path) -> None:
    specs = secret.specs(secret.read(written(tmp_path, TOML)))
    assert specs == [("secret-1", {"M_sizes": [3, 0, 17], "K": 48}), ("secret-2", {"M_sizes": [1]})]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cases = []", "contains no cases"),
        ("", "cases"),
        ("seed = -1\n[[cases]]\nK = 1", "negative"),
        ("[[cases]]\nK = 1\n[grading]\nx = 1", "grading"),
        ("cases = 3", "array"),
        ("not toml at all", "secret.toml"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        secret.read(written(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "secret.toml"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml: No such file"):
        secret.read(tmp_path / "nowhere.toml")


def test_redacting_leaves_the_rule_that_was_broken() -> None:
    finding = Finding("race", "starter.cu", 31, "C[77] by thread 3", count=5, notes=("thread 4",), hint="races")
    check = Check(
        "memory[secret-1]",
        Status.FAILED,
        message="C[77]",
        case="secret-1",
        device="cpu",
        findings=(finding, finding),
        measurements=read({"seconds": 3.0, "printed": "M is 77"}),
    )
    redacted = secret.redact(check)
    assert (redacted.id, redacted.status, redacted.case) == ("memory[secret-1]", Status.FAILED, "secret-1")
    assert [(f.kind, f.line, f.count, f.hint) for f in redacted.findings] == [(secret.KIND, 0, 1, "")]
    assert not any(told in str(redacted) for told in ("77", "31", "3.0", "thread", "race"))


def test_redacting_keeps_why_a_check_was_skipped_but_not_why_it_was_not_judged() -> None:
    skipped = Check("correct[secret-1]", Status.SKIPPED, reason="memory[secret-1] failed")
    not_judged = Check("memory[secret-1]", Status.NOT_JUDGED, reason="mma at starter.cu:9")
    assert secret.redact(skipped).reason == "memory[secret-1] failed"
    assert secret.redact(not_judged).reason == secret.REDACTED

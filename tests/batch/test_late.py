"""The rule for late work: who is how late, what it costs, and what a rule that is wrong says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from grader.batch import feedback, gradebook, late, outcomes, platforms, run
from grader.batch.entry import Lateness
from grader.batch.exports import canvas, gradescope
from grader.batch.intake import Batch
from grader.batch.ledger import Ledger
from grader.cli.command import invoke
from grader.errors import UsageError
from tests.batch.class_of import CLASS, EXERCISE, OPEN, not_timed, rows_of, submitted
from tests.batch.classroom import School, Watching
from tests.batch.test_roster import METADATA

DUE = datetime(2026, 9, 21, 21, 59, tzinfo=UTC)
RULE = "due = 2026-09-21T23:59:00+02:00\npercent_per_day = 10\nat_most_percent = 50\ngrace_minutes = 15\n"


def of(rule: str = RULE, student: str = "ada", **what: object) -> Lateness:
    one = submitted(student, **what)
    return late.lateness(rule, [one]).get(student, Lateness())


@pytest.mark.parametrize(
    ("after", "days", "percent"),
    [
        (timedelta(days=-3), 0, 0),
        (timedelta(0), 0, 0),
        (timedelta(minutes=15), 0, 0),
        (timedelta(minutes=15, seconds=1), 1, 10),
        (timedelta(days=1, minutes=15), 1, 10),
        (timedelta(days=1, minutes=16), 2, 20),
        (timedelta(days=30), 30, 50),
    ],
)
def test_each_day_that_began_costs(after: timedelta, days: int, percent: float) -> None:
    found = of(at=DUE + after)
    assert (found.days, found.percent, found.known) == (days, percent, True)
    local = (DUE + after + timedelta(hours=2)).replace(tzinfo=None)  # without a zone, it is the due time's
    assert of(at=local) == found


def test_an_extension_covers_the_first_days() -> None:
    rule = RULE + '[extensions]\n"ada@example.edu" = 2\n'
    who = {"identifiers": {"Email": "Ada@Example.edu"}}
    assert of(rule, at=DUE + timedelta(days=2), **who).days == 0
    assert of(rule, at=DUE + timedelta(days=2, hours=1), **who).days == 1
    assert of(rule, at=DUE + timedelta(days=2, hours=1)).days == 3


def test_where_the_platform_only_says_late_it_is_a_day_unless_the_instructor_knows() -> None:
    assert of(late=True) == Lateness(1, 10, 0, known=False)
    assert of() == Lateness()
    assert of(RULE + "[days_late]\nada = 3\n", late=True) == Lateness(3, 30, 0)
    assert of(RULE + "[extensions]\nada = 1\n", late=True) == Lateness(0, 0, 1)
    assert of("percent_per_day = 10\n", at=DUE + timedelta(days=5)).days == 0  # without a due date


def test_the_points_stay_and_what_is_lost_is_subtracted_everywhere(tmp_path: Path) -> None:
    entry = msgspec.structs.replace(OPEN, lateness=Lateness(2, 20))
    assert (outcomes.total(entry), outcomes.final(entry)) == (52.0, 41.6)
    row = dict(zip(*rows_of(gradebook.write((entry,), EXERCISE, tmp_path).read_bytes()), strict=True))
    assert [row[name] for name in ("total", "days late", "percent lost", "final")] == ["52", "2", "20", "41.6"]
    assert rows_of(canvas.new((entry,), EXERCISE, so_far=True).content)[2][-1] == "41.6"
    assert "2 days late: -20%, so 41.6." in feedback.comment(entry, EXERCISE)
    nothing = msgspec.structs.replace(OPEN, lateness=Lateness(10, 100))
    assert "10 days late: -100%, so 0." in feedback.comment(nothing, EXERCISE)
    read = gradescope.results(not_timed(), EXERCISE, "", entry.lateness)
    assert read["score"] == 41.6
    assert sum(test.get("score", 0) for test in read["tests"]) == pytest.approx(41.6)
    assert read["extra_data"]["points"]["total"] == 52.0


def test_nobody_who_is_on_time_loses_anything() -> None:
    for entry in CLASS:
        assert outcomes.final(entry) == outcomes.total(entry)


def test_gradescope_says_when() -> None:
    found = platforms.gradescope(METADATA)
    assert found["submission_1001"].at == datetime(2026, 9, 17, 3, 0, 17, tzinfo=UTC)
    assert found["submission_1002"].at is None
    one_line = "submission_1:\n  :created_at: 2026-09-17 03:00:17.246586000 Z\n  :submitters: []\n"
    assert platforms.gradescope(one_line)["submission_1"] == ((), datetime(2026, 9, 17, 3, 0, 17, tzinfo=UTC))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("percent_per_day = \n", r"late.toml:1: Invalid value"),
        ("due = 2026-09-21T23:59:00Z\npercent_per_day = ten\n", r"late.toml:2: "),
        ("# no\n\npercent_per_day = 'ten'\n", r"late.toml:3: Expected `float`, got `str` - at `\$.percent_per_day`"),
        ("percent_per_day = 10\nper_week = 2\n", r"late.toml:2: Object contains unknown field `per_week`"),
        ("", "missing required field `percent_per_day`"),
        ("percent_per_day = " + "[" * 9999, "late.toml is nested too deeply"),
        ("percent_per_day = " + "9" * 9999, "late.toml holds a number that is too long"),
        ("percent_per_day = 1\n[extensions]\nada = 1\nADA = 2\n", "late.toml:4: ADA and ada are the same student"),
        ('percent_per_day = 1\n[extensions]\n"\\u0061x" = 1\n', "late.toml:2: there is no student"),
        ("percent_per_day = 110\n", "late.toml:1: percent_per_day must be from 0 to 100"),
        ("percent_per_day = nan\n", "late.toml:1: percent_per_day must be from 0 to 100"),
        ("percent_per_day = 1\nat_most_percent = -1\n", "late.toml:2: at_most_percent must be from 0 to 100"),
        ("percent_per_day = 1\ngrace_minutes = -1\n", "late.toml:2: grace_minutes must be 0 or more"),
        (
            "percent_per_day = 1\ndue = 2026-09-21T23:59:00\n",
            r"late.toml:2: due must be a time with its zone, such as 2026.*\+02",
        ),
        ("percent_per_day = 1\ndue = 2026-09-21\n", "late.toml:2: due must be a time"),
        (
            "percent_per_day = 1\n[extensions]\nada = 1\nadda = 2\n",
            "late.toml:4: there is no student 'adda'.*similar: ada",
        ),
        ("percent_per_day = 1\n[days_late]\nada = -1\n", "late.toml:3: ada has -1 days; expected 0 or more"),
        ("percent_per_day = 1\n[extensions]\nada = 'a week'\n", "late.toml:.*Expected `float`, got `str`"),
    ],
)
def test_a_rule_that_is_wrong_names_its_line(
    tmp_path: Path, rule: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("late.toml").write_text(rule)
    with pytest.raises(UsageError, match=says):
        late.read(Path("late.toml"), [submitted("ada")])


def test_a_rule_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.toml: No such file"):
        late.read(tmp_path / "nowhere.toml", [])


# With a batch


@pytest.fixture
def listed(school: School) -> School:
    school.hand_in_all(["ada", "bob", "cyd"])
    rows = ("ada,ada/ada.cu,2026-09-21 20:00,", "bob,bob/bob.cu,2026-09-23 10:00,", "cyd,cyd/cyd.cu,,yes")
    (school.submissions / "list.csv").write_text("\n".join(["student,file,submitted,late", *rows]) + "\n")
    return school


def batch(school: School, *more: str | Path) -> int:
    where = (school.submissions / "list.csv", "--exercise", "1", "--out", school.out, "--device", "cpu")
    return invoke(["batch", *map(str, (*where, "--exercises", school.folder / "exercises", *more))])


def final(school: School) -> dict[str, str]:
    header, *rows = rows_of((school.out / "gradebook.csv").read_bytes())
    return {row[0]: row[header.index("final")] for row in rows}


def test_a_batch_keeps_the_rule_and_grades_nothing_again_for_it(
    listed: School, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(listed) == 0
    assert final(listed) == {"ada": "52", "bob": "52", "cyd": "52"}
    (listed.folder / "late.toml").write_text(RULE)
    assert batch(listed, "--late", listed.folder / "late.toml") == 0
    assert listed.gradings() == 3
    assert final(listed) == {"ada": "52", "bob": "41.6", "cyd": "46.8"}
    assert "Late by at least a day: cyd." in capsys.readouterr().out
    page = listed.out / "reports" / "bob.html"
    assert "2 days late: -20%. Of 52 points, 41.6 count." in page.read_text()
    assert json.loads((listed.out / "results" / "bob.json").read_text())["points"]["total"] == 52.0
    (listed.folder / "late.toml").unlink()
    assert batch(listed) == 0
    assert final(listed)["bob"] == "41.6"
    assert "2 days late" in page.read_text()
    (listed.folder / "other.toml").write_text(RULE + "[extensions]\nbob = 5\n[days_late]\ncyd = 0\n")
    assert batch(listed, "--late", listed.folder / "other.toml") == 0
    assert final(listed) == {"ada": "52", "bob": "52", "cyd": "52"}
    assert "days late" not in page.read_text()


def test_who_is_purged_is_in_no_rule_any_more(listed: School) -> None:
    (listed.folder / "late.toml").write_text(RULE + '[extensions]\nada = 1\n"bob" = 5\n')
    assert batch(listed, "--late", listed.folder / "late.toml") == 0
    assert invoke(["ledger", str(listed.out), "purge", "bob", "--yes"]) == 0
    with Ledger(listed.out) as ledger:
        assert ledger.settings()["late"] == RULE + "[extensions]\nada = 1\n"
    assert b"bob" not in (listed.out / "ledger.sqlite").read_bytes()


def test_a_rule_that_is_wrong_changes_nothing(listed: School, capsys: pytest.CaptureFixture[str]) -> None:
    (listed.folder / "late.toml").write_text(RULE + "[extensions]\nnobody = 5\n")
    assert batch(listed, "--late", listed.folder / "late.toml") == 2
    assert "late.toml:6: there is no student 'nobody'" in " ".join(capsys.readouterr().err.split())
    assert not listed.out.exists()


def test_a_time_that_is_none_is_refused(listed: School) -> None:
    (listed.submissions / "list.csv").write_text("student,file,submitted\nada,ada/ada.cu,yesterday\n")
    with pytest.raises(UsageError, match="submitted at 'yesterday'; expected a time"):
        run.run(Batch(listed.submissions / "list.csv", listed.exercise, listed.out, "cpu"), Watching())

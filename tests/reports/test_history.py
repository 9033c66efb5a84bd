"""What changed since an earlier attempt."""

from __future__ import annotations

import msgspec

from grader.model.result import Result, Status
from grader.reports.history import changes
from tests.reports import samples


def test_faster_and_fixed() -> None:
    found = changes(samples.on_h200("solution"), samples.on_h200("tile16"))
    assert found.verdict == ("failed", "passed")
    assert [(t.check, t.before, t.now) for t in found.fixed] == [
        ("speed[variable]", "too slow", "fast enough"),
        ("speed[imbalanced]", "too slow", "fast enough"),
    ]
    assert found.broken == ()
    assert [(m.what, m.before, m.now) for m in found.points] == [("total", 72, 92), ("performance", 20, 40)]
    assert [m.what for m in found.ratios] == list(samples.CASES)
    assert found.sentence.startswith("failed, now passed; points 72 to 92; fixed: speed[variable], speed[imbalanced]")


def test_a_ratio_is_a_share_of_what_it_was_timed_against() -> None:
    slow, fast = samples.on_h200("tile16"), samples.on_h200("solution")
    assert "of cuBLAS" in changes(fast, slow).sentence
    assert "of cuBLASLt" in changes(timed_against(fast, "cuBLASLt"), timed_against(slow, "cuBLASLt")).sentence
    assert "of the device copy" in changes(timed_against(fast, "the device copy"), slow).sentence


def timed_against(result: Result, baseline: str) -> Result:
    checks = tuple(
        msgspec.structs.replace(c, measurements=msgspec.structs.replace(c.measurements, against=baseline))
        for c in result.checks
    )
    return msgspec.structs.replace(result, checks=checks)


def test_the_other_way_round_it_is_worse() -> None:
    found = changes(samples.on_h200("tile16"), samples.on_h200("solution"))
    assert found.fixed == ()
    assert len(found.broken) == 2
    assert not any(moved.better for moved in found.points + found.ratios)


def test_what_is_skipped_behind_a_red_check_is_not_told_twice() -> None:
    found = changes(samples.right(), samples.faulty())
    assert {t.check for t in found.fixed} == {f"memory[{case}]" for case in samples.CASES}


def test_what_was_not_judged_is_not_compared() -> None:
    found = changes(samples.right(), samples.on_h200("solution"))
    assert found.broken == ()
    assert found.ratios == ()


def test_the_same_is_no_change() -> None:
    result = samples.right()
    found = changes(result, result)
    assert (found.verdict, found.turned, found.points, found.ratios) == (None, (), (), ())
    assert found.sentence == "the same file, the same outcome"
    assert changes(other_file(result), result).sentence == "no check has a different outcome"


def test_a_long_list_of_checks_is_shortened() -> None:
    worse = tuple(msgspec.structs.replace(c, status=Status.FAILED) for c in samples.right().checks)
    found = changes(msgspec.structs.replace(samples.right(), checks=worse), samples.right())
    assert "new: compile, launch and 17 more" in found.sentence


def other_file(result: Result) -> Result:
    return msgspec.structs.replace(result, submission=msgspec.structs.replace(result.submission, sha256="0" * 64))

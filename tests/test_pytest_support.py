from __future__ import annotations

from pathlib import Path

import pytest

from grader.pytest_support import check_tests

pytest_plugins = ["pytester"]

EXERCISES = Path(__file__).parents[1] / "exercises"


def test_without_the_plugin_the_test_says_what_to_do() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"(?s)01_double was not graded: .* -p grader\.pytest_plugin"):
        check_tests("/course/01_double/test.py")()


def test_it_is_one_failing_test_where_the_plugin_is_switched_off(pytester: pytest.Pytester) -> None:
    file = pytester.makepyfile(
        "from grader.pytest_support import check_tests\n\ntest_check = check_tests(__file__)\n"
    )
    result = pytester.runpytest("-p", "no:grader", file)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was not graded: pytest is running without the grader's plugin."])


@pytest.mark.parametrize("folder", [pytest.param(f.parent, id=f.parent.name) for f in EXERCISES.glob("*/test.py")])
def test_every_exercise_has_the_same_two_lines(folder: Path) -> None:
    lines = (folder / "test.py").read_text().splitlines()
    assert "from grader.pytest_support import check_tests" in lines
    assert "test_check = check_tests(__file__)" in lines

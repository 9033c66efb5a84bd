"""What an exercise's test.py calls, so that `pytest exercises/NN_name` grades. grader.pytest_plugin does the work.

An exercise's test.py holds no more than

    from grader.pytest_support import check_tests

    test_check = check_tests(__file__)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def check_tests(test_file: str) -> Callable[[], None]:
    """The one test that runs where the plugin does not: it says so. The plugin collects the checks in its place."""

    def test_check() -> None:
        import pytest

        pytest.fail(
            f"{Path(test_file).parent.name} was not graded: pytest runs without the grader's plugin.\n"
            "Install the grader again (pip install -e . in its folder), or add: -p grader.pytest_plugin",
            pytrace=False,
        )

    return test_check

"""Called by an exercise's test.py, so that `pytest exercises/NN_name` grades; grader.pytest_plugin does the work.

An exercise's test.py contains only

    from grader.pytest_support import check_tests

    test_check = check_tests(__file__)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def check_tests(test_file: str) -> Callable[[], None]:
    """The test that runs if the plugin does not, and says so. Otherwise the plugin collects the checks instead."""

    def test_check() -> None:
        import pytest

        pytest.fail(
            f"{Path(test_file).parent.name} was not graded: pytest is running without the grader's plugin.\n"
            "Install the grader again (pip install -e . in its folder), or add: -p grader.pytest_plugin",
            pytrace=False,
        )

    return test_check

"""Which tests this machine can run."""

from __future__ import annotations

import pytest

from grader import machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if machine.gpus():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))

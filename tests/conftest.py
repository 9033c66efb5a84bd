"""Which tests this machine can run."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from grader import machine
from tests.kept_children import KeptChildren

# A shell starts what runs in its background with SIGINT ignored, and so would everything that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _progress_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test touches the progress of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if machine.gpus():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))


@pytest.fixture(scope="session")
def kept_children() -> Iterator[KeptChildren]:
    children = KeptChildren()
    yield children
    children.close()

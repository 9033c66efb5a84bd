"""Which tests this machine can run; which of them run together, and in what order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader import machine
from tests.kept_children import KeptChildren

HERE = Path(__file__).parent
MOST_WORKERS = 8  # each has children, with a gigabyte between them

# What takes longest begins first, so that no worker is left alone with it at the end.
LONGEST = ("authoring/test_verify.py",)

# A shell starts what runs in its background with SIGINT ignored, and so would everything that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _progress_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test touches the progress of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Of `-n auto`. What is timed on a GPU wants the machine to itself."""
    return 0 if machine.gpus() else min(machine.cores(), MOST_WORKERS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_gpu = pytest.mark.skip(reason="no NVIDIA GPU on this machine")
    gpus = machine.gpus()
    for item in items:
        if not gpus and item.get_closest_marker("gpu"):
            item.add_marker(no_gpu)
        if not item.get_closest_marker("xdist_group"):  # a file shares its fixtures
            item.add_marker(pytest.mark.xdist_group(_file(item)))
    items.sort(key=lambda item: LONGEST.index(_file(item)) if _file(item) in LONGEST else len(LONGEST))


def _file(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else str(item.path)


@pytest.fixture(scope="module")
def kept_children() -> Iterator[KeptChildren]:
    children = KeptChildren()
    yield children
    children.close()


@pytest.fixture
def children_stay_up(kept_children: KeptChildren, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever grades in this process gets kept children."""
    monkeypatch.setattr("grader.executors.open_cpu", lambda *_, **__: kept_children.open())

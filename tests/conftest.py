"""Which tests this machine can run, how many at a time, and in what order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader import machine
from tests.kept_children import KeptChildren

HERE = Path(__file__).parent
MOST_WORKERS = 8  # each has children, with a gigabyte between them

# Files of ten seconds and more begin first, so that no worker is left alone with one of them at the end.
LONGEST = (
    "authoring/test_verify.py",
    "test_docs.py",
    "ptx/test_findings.py",
    "kernels/test_correct.py",
    "batch/test_slurm.py",
    "remote/test_host.py",
    "reports/test_browser.py",
    "kernels/test_fp8_correct.py",
    "kernels/test_moe_correct.py",
    "ptx/test_mbarrier_kernels.py",
    "ci/test_action.py",
    "cli/test_watch.py",
    "batch/test_batch_for_real.py",
    "authoring/test_mutants.py",
    "fuzz/test_fuzz.py",
    "exercises/test_fp8_conversion_oracle.py",
)

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first = {HERE / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))
    if machine.gpus():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))


@pytest.fixture(scope="module")
def kept_children() -> Iterator[KeptChildren]:
    children = KeptChildren()
    yield children
    children.close()


@pytest.fixture
def children_stay_up(kept_children: KeptChildren, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever grades in this process gets kept children."""
    monkeypatch.setattr("grader.executors.open_cpu", lambda *_, **__: kept_children.open())

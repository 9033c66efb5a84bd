"""ladder.py without a GPU, and with one that is pretended: NumPy in its place, and a clock that counts."""

from __future__ import annotations

import dataclasses
import json
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from grader.reference_kernels import device, fast_quantization, ladder

FEW = dataclasses.replace(fast_quantization.ROWS_FP32, shape=(6, 256), small=((3, 48),))


def test_without_a_gpu_the_steps_and_predictions_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ladder, "_gpu", lambda: "")
    assert ladder.main(["reference_kernels/fast_quantization.cu", "--only", "1×128, FP32"]) == 0
    printed = capsys.readouterr().out
    assert "1. a thread takes a block and reads it twice: 700 µs predicted" in printed
    assert "Not measured: this needs an NVIDIA GPU." in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_such_file"], "there is no no_such_file.cu with its steps beside it"),
        (["quantization"], "has no ladders"),
        (["fast_quantization", "--output", "out.txt"], "must end in .json or .md"),
        (["fast_quantization", "--only", "nothing"], "known are 1×128, FP32;"),
    ],
)
def test_what_is_not_there_is_a_usage_error(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        ladder.main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


class Pretended(np.ndarray):
    """An array on the GPU."""

    def get(self) -> np.ndarray:
        return np.array(self)


def uploaded(x: np.ndarray) -> Any:
    return x.copy().view(Pretended)


class Kernels:
    """They write what NumPy computes, but for the kernel named `wrong`, which leaves a byte as it is."""

    def __init__(self, wrong: str = "") -> None:
        self._wrong = wrong

    def get_function(self, name: str) -> Any:
        def launch(_grid: tuple[int], _block: tuple[int], arguments: tuple[Any, ...], _shared: int) -> None:
            if name.startswith("quantize_rows"):
                x, q, scale, *_ = arguments
                q[...], scale[...] = fast_quantization.quantize(np.asarray(x), fast_quantization.FINE_GRAINED)
                q.flat[-1] ^= name == self._wrong

        return launch


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count()
    stream = SimpleNamespace(launch=lambda _: None, synchronize=lambda: None, begin_capture=lambda: None)
    graph = SimpleNamespace(launch=lambda _: None)

    class Stream:
        def __init__(self, **_: Any) -> None:
            vars(self).update(vars(stream))

        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...
        def end_capture(self) -> Any:
            return graph

    class Event:
        def record(self, _: Any) -> None:
            self.time = next(clock)

        def synchronize(self) -> None: ...

    cupy = SimpleNamespace(
        ndarray=type("ndarray", (), {}),  # Pretended counts as NumPy's
        asarray=uploaded,
        tile=lambda x, times: uploaded(np.tile(x, times)),
        cuda=SimpleNamespace(
            Stream=Stream,
            Event=Event,
            get_elapsed_time=lambda begin, end: float(end.time - begin.time),
            Device=lambda: SimpleNamespace(synchronize=lambda: None),
            runtime=SimpleNamespace(getDeviceProperties=lambda _: {"l2CacheSize": 4096}),
        ),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(ladder, "_gpu", lambda: "pretended")
    monkeypatch.setattr(fast_quantization, "LADDERS", (FEW,))


@pytest.mark.usefixtures("pretended")
def test_steps_are_checked_and_timed_next_to_the_copy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(device, "load", lambda _: Kernels())
    monkeypatch.setattr(ladder, "_runner", lambda *_: lambda _: None)
    monkeypatch.setattr(ladder, "_captured", lambda *_: SimpleNamespace(launch=lambda _: None))
    file = tmp_path / "out.json"
    assert ladder.main(["fast_quantization", "--rounds", "9", "--output", str(file)]) == 0
    assert "every step gives what the definition does" in capsys.readouterr().out
    times = json.loads(file.read_text(encoding="utf-8"))["ladders"][FEW.title]
    assert [time["title"] for time in times] == [
        ladder.COPY,
        *(step.title for step in (*FEW.steps, *FEW.beside)),
    ]
    assert {time["of_copy"] for time in times} == {1.0}
    assert times[1]["predicted"] == FEW.steps[0].microseconds
    page = tmp_path / "out.md"
    assert ladder.main(["fast_quantization", "--rounds", "9", "--output", str(page)]) == 0
    rows = page.read_text(encoding="utf-8").splitlines()
    assert "| a thread takes a block and reads it twice | 700 | 500.00 (500.00 to 500.00) | 1.000" in "\n".join(rows)


@pytest.mark.usefixtures("pretended")
def test_a_wrong_step_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(device, "load", lambda _: Kernels(wrong="quantize_rows_step3"))
    assert ladder.main(["fast_quantization", "--check"]) == 1
    assert "step 3 is wrong at (3, 48): 1 elements" in capsys.readouterr().out


@pytest.mark.gpu
def test_on_a_gpu_every_step_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert ladder.main(["fast_quantization", "--check"]) == 0

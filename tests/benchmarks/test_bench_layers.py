"""bench_fp8.py and bench_grouped.py: what they say without a GPU, their files, and what they would time on one."""

from __future__ import annotations

import csv
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_fp8, bench_grouped, measured, on_gpu
from benchmarks.on_gpu import Microseconds

Main = Callable[[list[str]], int]

FP8 = (bench_fp8.main, ["--sizes", "128,256"])
GROUPED = (bench_grouped.main, ["--experts", "4,8", "--hidden", "128", "--tokens", "300"])
both = pytest.mark.parametrize(("main", "options"), [FP8, GROUPED], ids=["fp8", "grouped"])


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "missing", lambda: "needs an NVIDIA GPU")


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def rows_of(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".json":
        found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["rows"]
        return found
    with file.open(encoding="utf-8", newline="") as opened:
        return [{name: value or None for name, value in row.items()} for row in csv.DictReader(opened)]


@both
@pytest.mark.parametrize("suffix", [".csv", ".json"])
@pytest.mark.usefixtures("no_gpu", "no_matplotlib")
def test_without_a_gpu_no_time_is_invented(
    main: Main, options: list[str], suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"out{suffix}"
    assert main([*options, "--output", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "not measured: needs an NVIDIA GPU" in printed
    assert "no plot: matplotlib is not installed" in printed
    rows = rows_of(file)
    timed = [row for row in rows if row["quantity"].startswith(("time", "speed", "throughput"))]
    assert timed
    assert {row["value"] for row in timed} == {None}
    assert {row["note"] for row in timed} == {"not measured: needs an NVIDIA GPU"}
    counted = [row for row in rows if row not in timed]
    assert counted
    assert all(float(row["value"]) >= 0 for row in counted)
    assert any(row["chapter"] for row in timed)
    assert any(row["chapter"] for row in counted)


@pytest.mark.usefixtures("no_gpu")
def test_padding_is_counted_from_the_sizes(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    bench_grouped.main(["--experts", "16", "--hidden", "256", "--tokens", "999", "--output", str(file)])
    content = json.loads(file.read_text(encoding="utf-8"))
    sizes = content["M_sizes"]["16, zipf"]
    assert (len(sizes), sum(sizes)) == (16, 999)
    value = {(r["quantity"], r["method"]): r["value"] for r in content["rows"] if r["case"] == "16, zipf"}
    waste = value[bench_grouped.WASTE, bench_grouped.PADDED]
    assert waste == pytest.approx(100 * (1 - 999 / (16 * max(sizes))))
    assert value[bench_grouped.IMBALANCE, ""] == pytest.approx(max(sizes) / statistics.fmean(sizes))
    assert "bench_grouped.py --experts 16 --hidden 256 --tokens 999 --seed 0" in content["command"]


@pytest.mark.usefixtures("no_gpu")
def test_accuracy_is_measured_on_any_machine(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    bench_fp8.main(["--sizes", "256", "--output", str(file)])
    value = {row["method"]: float(row["value"]) for row in rows_of(file) if row["value"]}
    assert 0.009 < value["fine-grained 1×128, uniform"] < 0.012  # the chapter's 0.003 is out of E4M3's reach
    assert 0.03 < value["FP8, 1x128 and 128x128"] < 0.045
    assert value["BF16"] < 0.004


@pytest.mark.parametrize(
    ("main", "options", "said"),
    [
        (bench_fp8.main, ["--output", "out.txt"], "must end in .csv or .json"),
        (bench_fp8.main, ["--output", "no/such/folder/out.csv"], "No such file or directory"),
        (bench_fp8.main, ["--sizes", "1024,x"], "must be whole numbers separated by commas"),
        (bench_fp8.main, ["--sizes", "100"], "100 is not a multiple of 128"),
        (bench_grouped.main, ["--output", "/"], "must end in .csv or .json"),
        (bench_grouped.main, ["--experts", "0"], "each must be at least 1"),
        (bench_grouped.main, ["--experts", "5000"], "at most 1024"),
        (bench_grouped.main, ["--hidden", "200"], "must be a multiple of 128"),
        (bench_grouped.main, ["--tokens", "0"], "must be from 1 to"),
    ],
)
def test_bad_input_is_a_usage_error(
    main: Main, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(options)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("no_gpu")
def test_a_file_that_is_there_is_kept_until_there_is_something_to_write(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_text("earlier")
    with pytest.raises(SystemExit):
        bench_fp8.main(["--sizes", "100", "--output", str(file)])
    assert file.read_text() == "earlier"


@pytest.mark.usefixtures("no_gpu")
def test_the_plot_shows_what_was_measured(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    file = tmp_path / "out.csv"
    bench_grouped.main([*GROUPED[1], "--output", str(file)])
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


# ---- with a GPU, here pretended


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU in place of the GPU, and a clock that tells nothing of it."""
    pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(on_gpu, "missing", lambda: "")
    monkeypatch.setattr(on_gpu, "describe", lambda: {"gpu": "none"})
    monkeypatch.setattr(on_gpu, "sets", lambda _: 2)
    monkeypatch.setattr(on_gpu, "microseconds", lambda run, sets: [run(s) for s in sets] and Microseconds(10, 9, 12))
    for bench in (bench_fp8, bench_grouped):
        made = bench.inputs
        monkeypatch.setattr(bench, "inputs", lambda size, seed, made=made: made(size, seed, "cpu"))


@both
@pytest.mark.usefixtures("pretended")
def test_on_a_gpu_every_contender_is_right_and_timed(main: Main, options: list[str], tmp_path: Path) -> None:
    """cuBLASLt's block scales need a GPU: they are said to be missing."""
    file = tmp_path / "out.json"
    assert main([*options, "--output", str(file)]) == 0
    rows = [row for row in rows_of(file) if row["quantity"] in (bench_fp8.THROUGHPUT, bench_grouped.TIME)]
    refused = {row["method"] for row in rows if row["value"] is None}
    assert refused <= {"FP8 block scales, cuBLASLt"}
    assert {row["method"] for row in rows} - refused >= {bench_fp8.OURS} or main is not bench_fp8.main
    speedups = [row for row in rows_of(file) if row["quantity"].startswith("speed")]
    assert {row["value"] for row in speedups} == {1.0}


@pytest.mark.usefixtures("pretended")
def test_a_wrong_result_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    every = {bench_fp8.BASELINE: bench_fp8.bf16, bench_fp8.OURS: lambda s: 2 * bench_fp8.bf16(s)}
    monkeypatch.setattr(bench_fp8, "contenders", lambda: every)
    file = tmp_path / "out.csv"
    assert bench_fp8.main(["--sizes", "128", "--output", str(file)]) == 1
    (row,) = (row for row in rows_of(file) if row["method"] == bench_fp8.OURS)
    assert row["value"] is None
    assert row["note"].startswith("not measured: wrong result: it differs from BF16's by 1")


@pytest.mark.gpu
@both
def test_on_a_real_gpu_everything_is_timed(main: Main, options: list[str], tmp_path: Path) -> None:
    if on_gpu.missing():
        pytest.skip(on_gpu.missing())
    file = tmp_path / "out.json"
    larger = ["--sizes", "1024"] if main is bench_fp8.main else ["--experts", "8", "--hidden", "512"]
    assert main([*larger, "--output", str(file)]) == 0
    assert [row["note"] for row in rows_of(file) if row["value"] is None] == []


def test_a_table_without_values_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    measured.show([measured.Row("speed", "8", "ours", None, "", chapter="2.0", note="not measured")], {})
    assert "The chapter expects: ours: 2.0." in capsys.readouterr().out

"""The first inputs of one seed. The long run is `python -m tests.fuzz` (CONTRIBUTING.md)."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from random import Random

import pytest

from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.grading import pipeline
from tests.fuzz import cuda, ptx
from tests.fuzz.campaign import Campaign

SEED = 1
COUNTS = {"source": 8, "ptx": 8}  # some seconds of processor time each


@pytest.mark.parametrize("kind", COUNTS)
def test_every_input_ends_in_a_verdict_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    with Campaign(SEED, tmp_path) as campaign:
        for number in range(COUNTS[kind]):
            campaign.one(kind, number)
    assert campaign.offences == [], [file.read_text() for file in tmp_path.glob("*.txt")]
    assert campaign.counts[kind].total() == COUNTS[kind]
    assert len(campaign.counts[kind]) > 1


def test_an_input_follows_from_its_seed_and_number(tmp_path: Path) -> None:
    with Campaign(SEED, tmp_path) as one, Campaign(SEED, tmp_path) as again, Campaign(SEED + 1, tmp_path) as other:
        assert one.input("source", 5) == again.input("source", 5)
        assert one.input("source", 5) != one.input("source", 6)
        assert one.input("source", 5) != other.input("source", 5)


def test_an_offence_is_kept_with_its_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(pipeline, "grade", broken)
    with Campaign(SEED, tmp_path) as campaign:
        assert "on purpose" in campaign.one("source", 3).offence
        given = campaign.input("source", 3)
    assert (tmp_path / "source-1-3.cu").read_text(encoding="utf-8") == given.text
    assert "--seed 1 --kind source --first 3" in (tmp_path / "source-1-3.txt").read_text()
    assert len(campaign.offences) == 1


def test_what_is_left_behind_is_an_offence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grade = pipeline.grade
    started: list[subprocess.Popen[bytes]] = []

    def untidy(*arguments: object, **options: object) -> object:
        started.append(subprocess.Popen(["sleep", "60"]))
        Path(tempfile.gettempdir(), "forgotten").touch()
        return grade(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "grade", untidy)
    try:
        with Campaign(SEED, tmp_path) as campaign:
            said = campaign.one("source", 0).offence
    finally:
        started[0].kill()
        started[0].wait()
    assert f"process {started[0].pid}, file forgotten" in said


def test_tokens_of_a_text_are_the_text() -> None:
    for _, file in cuda.bases()[:20]:
        text = file.read_text(encoding="utf-8")
        assert "".join(cuda.TOKEN.findall(text)) == text


def test_every_mutation_changes_something_sooner_or_later() -> None:
    source = (cuda.ROOT / "exercises/01_simple_grouped_gemm/solution.cu").read_text(encoding="utf-8")
    compiled = compile_text(source, PTX_ARCH).ptx
    for text, split, mutations in ((source, cuda.TOKEN, cuda.MUTATIONS), (compiled, ptx.TOKEN, ptx.MUTATIONS)):
        own = split.findall(text)
        for place, mutation in enumerate(mutations):
            assert any(mutation(list(own), Random(seed)) != own for seed in range(20)), place

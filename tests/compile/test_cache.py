"""Compilations kept on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grader.compile import recipe
from grader.compile.cache import Cache, default_folder
from grader.compile.compiled import Compiled
from grader.model.execution import Compilation, CompiledKernel, Resources
from grader.model.result import Finding

COMPILED = Compiled(
    Compilation(
        True,
        (CompiledKernel("kernel", (8, 4), 3, Resources(16, 0, 0, 0)),),
        (Finding("compile-warning", "submission.cu", 4, "unused", notes=("a note",)),),
        "log",
        0.25,
    ),
    ptx=".version 9.0\n",
)


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "compile").iterdir())


def test_what_was_put_is_got(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new" / "folder")
    assert cache.get("key") is None
    cache.put("key", COMPILED)
    assert cache.get("key") == COMPILED
    assert cache.get("other") is None
    assert len(entries(tmp_path / "new" / "folder")) == 1


def test_a_corrupt_entry_is_no_entry(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("key", COMPILED)
    (path,) = entries(tmp_path)
    good = path.read_bytes()
    for bad in (b"", good[:-1], good[:40] + bytes([good[40] ^ 1]) + good[41:], b"nonsense" * 100):
        path.write_bytes(bad)
        assert cache.get("key") is None
    cache.put("key", COMPILED)
    assert cache.get("key") == COMPILED


def test_the_oldest_used_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("size", COMPILED)
    size = entries(tmp_path)[0].stat().st_size
    entries(tmp_path)[0].unlink()
    cache = Cache(tmp_path, limit_bytes=3 * size)
    for age, key in enumerate(["a", "b", "c"]):
        cache.put(key, COMPILED)
        os.utime(tmp_path / "compile" / f"{key}.compiled", (1000 + age, 1000 + age))
    assert cache.get("a") == COMPILED  # now the last used
    cache.put("d", COMPILED)
    assert [path.stem for path in entries(tmp_path)] == ["a", "c", "d"]


def test_a_folder_that_cannot_be_made_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file")
    cache.put("key", COMPILED)
    assert cache.get("key") is None


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    cache = Cache(tmp_path)
    cache.put("key", COMPILED)
    assert entries(tmp_path) == []
    assert cache.get("key") is None


def test_no_folder_is_no_cache() -> None:
    cache = Cache(None)
    cache.put("key", COMPILED)
    assert cache.get("key") is None


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/student")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("GRADER_CACHE_DIR", raising=False)
    assert default_folder() == Path("/home/student/.cache/grader")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert default_folder() == Path("/var/cache/grader")
    monkeypatch.setenv("GRADER_CACHE_DIR", "/elsewhere")
    assert default_folder() == Path("/elsewhere")
    monkeypatch.setenv("GRADER_CACHE_DIR", "")
    assert default_folder() is None


def test_the_key_depends_on_source_and_architecture() -> None:
    keys = {recipe.cache_key("a"), recipe.cache_key("b"), recipe.cache_key("a", "sm_80")}
    assert len(keys) == 3
    assert recipe.cache_key("a") == recipe.cache_key("a")

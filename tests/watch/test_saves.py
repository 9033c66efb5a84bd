"""Editors save in different ways; each is one save, told once it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.watch.saves import GONE_SECONDS, SETTLED_SECONDS, Saved, Saves, UnreadableSave

FIRST, SECOND = "// first\n", "// second\n"


class Watched:
    """A file, and time that passes only here."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "starter.cu"
        self.told: list[Saved | UnreadableSave] = []
        self._saves = Saves(self.file, self.told.append)
        self._now = 100.0

    def after(self, seconds: float) -> list[str]:
        """Looks all the time; the texts that were told since the last call."""
        self.told.clear()
        until = self._now + seconds
        while self._now < until:
            self._saves.step(self._now)
            self._now += 0.01
        return [event.source.text if isinstance(event, Saved) else "unreadable" for event in self.told]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    watched = Watched(tmp_path)
    watched.file.write_text(FIRST)
    assert watched.after(1) == [FIRST]
    return watched


def test_what_is_there_at_the_start_is_told_once(watched: Watched) -> None:
    assert watched.after(3) == []


def test_a_save_by_rename(watched: Watched) -> None:
    fresh = watched.file.with_name("4913~")
    fresh.write_text(SECOND)
    fresh.rename(watched.file)
    assert watched.after(1) == [SECOND]


def test_a_save_that_moves_the_old_file_away_first(watched: Watched) -> None:
    watched.file.rename(watched.file.with_name("starter.cu~"))
    assert watched.after(0.3) == []
    watched.file.write_text(SECOND)
    assert watched.after(1) == [SECOND]


def test_a_save_that_empties_the_file_first(watched: Watched) -> None:
    watched.file.write_text("")
    assert watched.after(0.3) == []
    watched.file.write_text(SECOND)
    assert watched.after(1) == [SECOND]


def test_a_save_in_pieces_is_told_when_it_has_settled(watched: Watched) -> None:
    with watched.file.open("w") as stream:
        for piece in ("// se", "co", "nd\n"):
            stream.write(piece)
            stream.flush()
            assert watched.after(SETTLED_SECONDS / 2) == []
    assert watched.after(SETTLED_SECONDS * 2) == [SECOND]


def test_a_file_that_stays_empty_is_told_as_such(watched: Watched) -> None:
    watched.file.write_text("")
    assert watched.after(GONE_SECONDS + 0.5) == [""]
    (event,) = watched.told
    assert isinstance(event, Saved)
    assert event.source.problem is not None


def test_a_file_that_is_deleted_and_comes_back_as_it_was(watched: Watched) -> None:
    watched.file.unlink()
    assert watched.after(GONE_SECONDS + 0.5) == ["unreadable"]
    assert isinstance(watched.told[0], UnreadableSave)
    assert "does not exist" in watched.told[0].why
    watched.file.write_text(FIRST)
    assert watched.after(1) == [FIRST]


def test_a_touch_is_no_save(watched: Watched) -> None:
    watched.file.touch()
    watched.file.write_text(FIRST)
    assert watched.after(1) == []


def test_a_save_of_the_same_length_is_a_save(watched: Watched) -> None:
    watched.file.write_text(FIRST.upper())
    assert watched.after(1) == [FIRST.upper()]


def test_a_folder_in_its_place_is_said(watched: Watched) -> None:
    watched.file.unlink()
    watched.file.mkdir()
    assert watched.after(GONE_SECONDS + 0.5) == ["unreadable"]


def test_a_file_that_is_not_there_at_the_start_is_waited_for(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert watched.after(GONE_SECONDS + 0.5) == ["unreadable"]
    watched.file.write_text(SECOND)
    assert watched.after(1) == [SECOND]


def test_what_was_saved_through_a_link(watched: Watched) -> None:
    target = watched.file.with_name("elsewhere.cu")
    watched.file.rename(target)
    watched.file.symlink_to(target)
    watched.after(1)
    target.write_text(SECOND)
    assert watched.after(1) == [SECOND]

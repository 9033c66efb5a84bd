"""The README's images are made of kernels that are there."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.reports import samples, screenshots


def test_the_kernels_shown_are_there() -> None:
    shown = [(exercise, kernel) for exercise, kernel, *_ in screenshots.OF_WRONG_KERNELS.values()]
    for exercise, kernel in (*shown, screenshots.OF_THE_TERMINAL):
        assert (screenshots.EXERCISES / exercise / "wrong" / f"{kernel}.cu").is_file()


def test_the_terminal_is_shown_with_its_colours() -> None:
    page = screenshots.terminal(samples.EXERCISE, samples.SITUATIONS["race"], samples.SOURCE)
    assert "FAILED: Not correct yet" in page
    assert "starter.cu:33: race" in page
    assert 'style="color' in page

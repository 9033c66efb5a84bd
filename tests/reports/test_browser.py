"""The report in a real browser: silent, still, legible and accessible at every width, in light and in dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grader.reports import render
from tests.reports import samples

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: the report was not opened")

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

# WCAG AA for text of usual size.
CONTRAST = 4.5

# Every text that is shown with less contrast to what lies behind it than CONTRAST: [ratio, text].
FAINT = """least => {
  const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const rgba = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = rgba(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const onShape = element => element.matches("svg .letter");  // a sign's own colours, as in the marks
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility() || onShape(element)) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(rgba(element instanceof SVGElement ? style.fill : style.color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least) faint.push([ratio, texts.currentNode.data]);
  }
  return faint;
}"""

# Every element whose content is wider than its box, or that reaches beyond the window: its tag and class.
CLIPPED = """() => [...document.body.querySelectorAll("*")]
  .filter(e => e.checkVisibility() && !(e instanceof SVGElement) && getComputedStyle(e).clipPath === "none")
  .filter(e => !e.closest("thead") || (innerWidth > 640 && !e.closest(".unseen")))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 ||
    (getComputedStyle(e).display !== "inline" && e.scrollWidth > e.clientWidth + 1))
  .map(e => e.tagName + "." + e.className)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    for name, result in samples.SITUATIONS.items():
        since = samples.SITUATIONS["too-slow"] if name == "passed" else None
        page = render(result, samples.EXERCISE, samples.SOURCE, since=since)
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return folder


def flaws_of(page: Any, url: str) -> list[object]:
    """Whatever a reader would trip over: messages, requests, scrolling sideways, cut or faint text."""
    found: list[object] = []
    handlers = {
        "console": lambda message: found.append(message.text),
        "pageerror": lambda error: found.append(str(error)),
        "request": lambda request: request.url in (url, "data:,") or found.append(request.url),
    }
    for event, handler in handlers.items():
        page.on(event, handler)
    page.goto(url)
    found += [f"wider than the window: {element}" for element in page.evaluate(CLIPPED)]
    found += [f"contrast {ratio:.1f}: {text}" for ratio, text in page.evaluate(FAINT, CONTRAST)]
    for event, handler in handlers.items():
        page.remove_listener(event, handler)
    return found


def violations_of(page: Any, url: str) -> list[str]:
    """What axe-core says against the page, everything unfolded: rule and element."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed").Axe()
    page.goto(url)
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    found = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{rule['id']}: {node['target']}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_has_nothing_to_say(browser: Any, reports: Path, width: int, scheme: str) -> None:
    """The policy admits no script, axe neither: here it is passed by."""
    viewport = {"width": width, "height": 900}
    with browser.new_context(viewport=viewport, color_scheme=scheme, bypass_csp=True) as context:
        page = context.new_page()
        found = {name: violations_of(page, (reports / f"{name}.html").as_uri()) for name in samples.SITUATIONS}
    assert found == {name: [] for name in samples.SITUATIONS}


def test_axe_is_at_work(browser: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<h1></h1><img src='data:,'><p style='color:#999'>faint")
    with browser.new_context() as context:
        found = " ".join(violations_of(context.new_page(), bad.as_uri()))
    for rule in ("image-alt", "color-contrast", "html-has-lang"):
        assert rule in found


def test_nothing_is_missing_without_scripts(browser: Any, reports: Path) -> None:
    """Hints, pictures and charts are there, and every fold opens by a click."""
    with browser.new_context(viewport={"width": 390, "height": 844}, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto((reports / "too-slow.html").as_uri())
        for _ in range(2):  # the second hint lies in the first
            page.locator("details.hint:not([open]) > summary:visible").first.click()
        assert page.get_by_text("Count the blocks.").is_visible()
        assert page.locator(".roofline svg").is_visible()
        page.goto((reports / "wrong-tile.html").as_uri())
        assert page.locator("svg.grid:visible").count() > 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_reports_are_silent_and_legible(browser: Any, reports: Path, width: int, scheme: str) -> None:
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        page = context.new_page()
        flaws = {name: flaws_of(page, (reports / f"{name}.html").as_uri()) for name in samples.SITUATIONS}
    assert flaws == {name: [] for name in samples.SITUATIONS}


def test_what_would_trip_a_reader_is_noticed(browser: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<p style='color:#999'>faint</p>"
        "<p style='width:200px'><b style='display:block;width:3000px'>wide</b></p>"
        "<img src='missing.png'><script>console.log('said')</script>"
    )
    with browser.new_context() as context:
        flaws = " ".join(map(str, flaws_of(context.new_page(), bad.as_uri())))
    for flaw in ("contrast 2.8: faint", "wider than the window: B.", "missing.png", "said"):
        assert flaw in flaws


def test_the_style_applies_under_the_policy(browser: Any, reports: Path) -> None:
    with browser.new_context(color_scheme="light") as context:
        page = context.new_page()
        page.goto((reports / "race.html").as_uri())
        assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(168, 51, 11)"


def test_a_finding_stands_beside_its_line(browser: Any, reports: Path) -> None:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.goto((reports / "race.html").as_uri())
        line, note = (page.locator(s).bounding_box() for s in ("#L33", "#note-problem-1"))
        assert abs(line["y"] - note["y"]) < 2
        assert note["x"] >= line["x"] + line["width"] - 1


def test_a_click_on_a_finding_goes_to_its_line(browser: Any, reports: Path) -> None:
    with browser.new_context(viewport={"width": 1280, "height": 900}, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto((reports / "race.html").as_uri())
        page.locator("#problem-2 .where a").click()
        assert page.url.endswith("#L35")
        assert 0 <= page.locator("#L35").bounding_box()["y"] < 900


@pytest.mark.parametrize("name", ["race", "wrong-tile", "too-slow"])
def test_a_report_fits_on_paper(browser: Any, reports: Path, name: str) -> None:
    paper = {"width": 688, "height": 1000}  # A4 less its margins, at 96 dots an inch
    with browser.new_context(viewport=paper) as context:
        page = context.new_page()
        page.goto((reports / f"{name}.html").as_uri())
        page.emulate_media(media="print")
        assert page.evaluate(CLIPPED) == []
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_what_is_folded_is_printed_but_hints(browser: Any, reports: Path) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((reports / "too-slow.html").as_uri())
        page.emulate_media(media="print")
        assert page.get_by_text("odd-sixteens").is_visible()
        assert not page.get_by_text("Count the blocks.").is_visible()

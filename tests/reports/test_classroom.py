"""The class at a glance: whole without scripts, silent, and discreet where it shows ratios to a class."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from grader.model.exercise import Exercise
from grader.model.result import Status, Verdict
from grader.reports import charts, classroom, classroom_counts
from grader.reports.classroom import AlikeGroup, CaseOutcome, ClassMistake, StudentRow
from tests.reports.test_browser import CHROMIUM, FLAGS, flaws_of

CASES = ("uniform", "small")
EXERCISE = Exercise(
    name="01_simple_grouped_gemm",
    title="Simple grouped GEMM",
    folder=Path("exercises/01_simple_grouped_gemm"),
    kernels=(),
    points={"correctness": 40, "performance": 40, "quality": 20},
    cases=CASES,
    speed_cases=CASES,
    baseline="fastest",
)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'\u202e"
RACE, SLOW = ClassMistake("race", hint="missing-synchronization"), ClassMistake("too-slow")


def timed(student: str, *ratios: float, **further: Any) -> StudentRow:
    def case(ratio: float) -> CaseOutcome:
        return CaseOutcome(Status.PASSED, Status.PASSED if ratio >= 0.6 else Status.FAILED, ratio)

    cases = {name: case(ratio) for name, ratio in zip(CASES, ratios, strict=True)}
    slow = min(ratios) < 0.6
    return StudentRow(
        student,
        **{
            "name": f"{student.title()} Doe",
            "pseudonym": f"Teal {student.title()[::-1]}",
            "verdict": Verdict.FAILED if slow else Verdict.PASSED,
            "points": 60.0 if slow else 92.0,
            "complete": True,
            "cases": cases,
            "mistakes": (SLOW,) if slow else (),
            "report": f"reports/{student}.html",
            **further,
        },
    )


def wrong(student: str, *mistakes: ClassMistake) -> StudentRow:
    cases = {
        "uniform": CaseOutcome(Status.PASSED, None, None),
        "small": CaseOutcome(Status.FAILED, Status.SKIPPED, None),
    }
    return StudentRow(
        student, verdict=Verdict.FAILED, points=20.0, cases=cases, mistakes=mistakes, report=f"r/{student}.html"
    )


ABSENT = StudentRow("zoe", "Zoë Low", "Teal Zebra", problem="no .cu file, only notes.pdf")
CLASS = (timed("alice", 0.9, 1.2), timed("bob", 0.5, 2.0), wrong("carol", RACE), ABSENT)


class Page(HTMLParser):
    """What a page says without scripts: its text, links, and whatever could act."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._inside.append(tag)
        self.links += [value or "" for name, value in attrs if tag == "a" and name == "href"]

    def handle_endtag(self, tag: str) -> None:
        self._inside.append("")

    def handle_data(self, data: str) -> None:
        if not self._inside or self._inside[-1] not in ("style", "script"):
            self.words.append(data)


def page(*rows: StudentRow, **options: Any) -> Page:
    return Page(classroom.render(rows, EXERCISE, **options))


# What is in it


def test_every_student_is_there_and_linked() -> None:
    shown = page(*CLASS)
    for row in CLASS:
        assert row.shown in shown.text
    assert {"reports/alice.html", "reports/bob.html", "r/carol.html"} == set(shown.links)


def test_the_head_counts_and_says_the_median() -> None:
    shown = page(*CLASS)
    assert "4 students The median is 60 of 100 points so far. 1 could not be graded." in shown.text
    assert "passed 1 not passed 2 not graded 1" in shown.text


def test_who_could_not_be_graded_and_why() -> None:
    assert "Could not be graded Student Why Zoë Low no .cu file, only notes.pdf" in page(*CLASS).text
    assert "Could not be graded" not in page(CLASS[0]).text


def test_mistakes_are_counted_by_student_and_the_most_common_comes_first() -> None:
    twice = (
        ClassMistake("wrong-values", "row 7 is 3 times too large", name="scaled"),
        ClassMistake("wrong-values", "row 10 is 4 times too large", name="scaled"),
    )
    rows = [
        wrong("a", RACE, twice[0], twice[1]),
        wrong("b", twice[1]),
        wrong("c", twice[1]),
        wrong("d", RACE),
        ABSENT,
    ]
    found = classroom_counts.mistakes(rows)
    assert [(one.mistake.kind, one.share.count, one.share.of) for one in found] == [
        ("wrong-values", 3, 4),
        ("race", 2, 4),
    ]
    assert found[0].mistake.detail == "row 10 is 4 times too large"
    shown = page(*rows).text
    assert shown.index("Wrong result row 10 is 4 times too large") < shown.index(
        "Race between threads problem.md#missing"
    )
    assert "3 of 4 (75%)" in shown


def test_submissions_that_look_alike_are_linked_and_no_more_than_a_screen_of_them() -> None:
    first, second = CLASS[0], CLASS[1]
    group = AlikeGroup((first.student, second.student), 1.0, "identical files")
    shown = page(*CLASS, alike=(group,) * (classroom.SHOWN_ALIKE + 3))
    assert shown.text.count("identical files") == classroom.SHOWN_ALIKE
    assert "And 3 more" in shown.text
    assert shown.links.count(first.link) == classroom.SHOWN_ALIKE + 1 + len(first.mistakes)
    assert "look alike" not in page(*CLASS).text


def test_rates_by_case() -> None:
    text = page(*CLASS).text
    assert "uniform 3 of 3 (100%) 1 of 2 (50%) 0.7 small 2 of 3 (67%) 2 of 2 (100%) 1.6" in text


def test_without_a_gpu_it_says_so() -> None:
    rows = [
        StudentRow(
            "a", verdict=Verdict.INCOMPLETE, points=52.0, cases={"uniform": CaseOutcome(Status.PASSED, None, None)}
        )
    ]
    shown = page(*rows)
    assert "No submission was timed: measuring speed needs an NVIDIA GPU." in shown.text
    assert "Leaderboard" not in shown.text
    assert "so far" in shown.text


@pytest.mark.parametrize(
    "rows", [(), (ABSENT,), (StudentRow("a", verdict=Verdict.ERROR, problem="the grader failed"),)]
)
def test_classes_of_nobody(rows: tuple[StudentRow, ...]) -> None:
    shown = page(*rows)
    assert f"{len(rows)} student" in shown.text
    assert Page(classroom.render_leaderboard(rows, EXERCISE)).text.count("No submission is correct and timed") == 1


# The leaderboard


def test_ranks_by_the_geometric_mean_of_who_is_right_everywhere() -> None:
    rows = [
        timed("slow", 0.5, 0.5),
        timed("even", 1.0, 1.0),
        timed("mixed", 0.5, 2.0),
        timed("fast", 2.0, 2.0),
        wrong("wrong"),
        StudentRow(
            "half",
            cases={
                "uniform": CaseOutcome(Status.PASSED, Status.PASSED, 9.0),
                "small": CaseOutcome(Status.PASSED, None, None),
            },
        ),
    ]
    assert [(leader.rank, leader.row.student) for leader in classroom_counts.leaders(rows, EXERCISE)] == [
        (1, "fast"),
        (2, "even"),
        (2, "mixed"),
        (4, "slow"),
    ]


def test_a_leaderboard_for_the_class_tells_nothing_but_pseudonyms_and_ratios() -> None:
    html = classroom.render_leaderboard(CLASS, EXERCISE)
    shown = Page(html)
    assert "1 Teal ecilA 1.04 0.9 1.2 2 Teal boB 1 0.5 2" in shown.text
    for row in CLASS:
        for secret in filter(None, (row.name, row.report, row.problem, f">{row.student}<", f'"{row.student}"')):
            assert secret not in html
    assert shown.links == []
    assert "Alice Doe" in classroom.render_leaderboard(CLASS, EXERCISE, real_names=True)


def test_real_names_on_demand() -> None:
    def leaderboard(html: str) -> str:
        return html[html.index('id="leaders"') : html.index('id="all"')]

    assert "Alice" not in leaderboard(classroom.render(CLASS, EXERCISE))
    assert "Alice Doe" in leaderboard(classroom.render(CLASS, EXERCISE, real_names=True))


# Safe and self-contained


def test_names_and_findings_are_text() -> None:
    row = StudentRow(
        HOSTILE,
        HOSTILE,
        HOSTILE,
        Verdict.FAILED,
        mistakes=(ClassMistake(HOSTILE, HOSTILE, HOSTILE),),
        problem=HOSTILE,
        report=f"javascript:{HOSTILE}",
    )
    shown = page(row, alike=(AlikeGroup((HOSTILE,), 1.0, HOSTILE),))
    assert shown.tags.count("script") == 1
    assert "img" not in shown.tags
    assert not any(name.startswith("on") for name, _ in shown.attributes)
    assert not any(":" in link or "<" in link for link in shown.links)
    assert "\u202e" not in shown.text


@pytest.mark.parametrize("html", [classroom.render(CLASS, EXERCISE), classroom.render_leaderboard(CLASS, EXERCISE)])
def test_only_what_the_policy_names_applies(html: str) -> None:
    def digest(content: str) -> str:
        return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

    policy = re.search('Content-Security-Policy" content="([^"]*)"', html)
    assert policy
    assert "default-src 'none'" in policy[1]
    for tag in ("style", "script"):
        contents = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        hashes = re.search(f"{tag}-src '([^']*)'", policy[1])
        assert [digest(content) for content in contents] == ([hashes[1]] if hashes else [])
    shown = Page(html)
    assert "style" not in dict(shown.attributes)
    assert "://" not in html.replace("http-equiv", "")


def class_of(count: int) -> list[StudentRow]:
    make = random.Random(1)
    rows = []
    for number in range(count):
        ratios = (make.lognormvariate(-0.3, 0.6), make.lognormvariate(0.3, 0.6))
        kinds = make.sample(["race", "out-of-bounds", "did-not-finish", "wrong-values"], make.randrange(3))
        row = timed(f"student-{number}", *ratios, mistakes=tuple(map(ClassMistake, kinds)), late=make.random() < 0.1)
        rows.append(row)
    return rows


def test_three_hundred_students_are_quick_and_small() -> None:
    rows = class_of(300)
    classroom.render(rows[:1], EXERCISE)  # compiles the templates
    began = time.process_time()
    html = classroom.render(rows, EXERCISE)
    assert time.process_time() - began < 1
    assert len(html.encode()) < 1_000_000


# Charts


def test_a_histogram_holds_every_value_once() -> None:
    values = [(0.0, 0), (0.59999, 1), (0.6, 0), (0.3, 1), (1.5, 0), (99.0, 0), (-1.0, 1)]
    drawn = charts.histogram(values, step=0.1, bars=16, mark=0.6)
    assert {bar.says: bar.count for bar in drawn.bars if bar.count} == {
        "0 to 0.1": 2,
        "0.3 to 0.4": 1,
        "0.5 to 0.6": 1,
        "0.6 to 0.7": 1,
        "1.5 or more": 2,
    }
    assert drawn.count == len(values)
    assert drawn.median == 0.59999
    assert drawn.mark == drawn.bars[6].x - charts.GAP / 2
    for bar in drawn.bars:
        assert sum(height for _, _, height in bar.parts) == pytest.approx(drawn.floor - bar.top)
        assert 0 <= bar.x <= bar.x + bar.width <= charts.WIDTH
        assert charts.TOP <= round(bar.top, 1) <= drawn.floor


def test_full_points_are_in_the_last_bar() -> None:
    drawn = charts.histogram([(100.0, 0), (90.0, 0), (89.99, 1)], step=10, bars=10, last_is_open=False)
    assert [bar.count for bar in drawn.bars][-2:] == [1, 2]
    assert drawn.bars[-1].says == "90 to 100"


# In a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: the page was not opened")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("class")
    rows = [*CLASS, *class_of(20)]
    alike = (AlikeGroup((rows[0].student, rows[1].student), 0.9, "90% of the shorter one's own code"),)
    (folder / "class.html").write_text(classroom.render(rows, EXERCISE, alike), encoding="utf-8")
    (folder / "leaderboard.html").write_text(classroom.render_leaderboard(rows, EXERCISE), encoding="utf-8")
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_pages_are_silent_and_legible(chromium: Any, pages: Path, width: int, scheme: str) -> None:
    with chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        opened = context.new_page()
        flaws = {file.name: flaws_of(opened, file.as_uri()) for file in sorted(pages.glob("*.html"))}
    assert flaws == {"class.html": [], "leaderboard.html": []}


def students(opened: Any) -> list[str]:
    return [str(text) for text in opened.locator("#students tbody tr:visible th > :first-child").all_inner_texts()]


def test_sorting_and_filtering(chromium: Any, pages: Path) -> None:
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        opened = context.new_page()
        opened.goto((pages / "class.html").as_uri())
        opened.get_by_role("button", name="uniform").click()
        ratios = [
            float(v)
            for v in opened.locator("#students td:nth-child(4)").evaluate_all("c => c.map(x => x.dataset.value)")
        ]
        assert ratios == sorted(ratios, reverse=True)
        opened.get_by_role("button", name="uniform").click()
        assert opened.locator("#students th[aria-sort=ascending]").inner_text().startswith("uniform")
        assert len(students(opened)) == 24

        opened.get_by_label("Find").fill("doe bob")
        assert students(opened) == ["Bob Doe"]
        assert opened.locator("#shown").inner_text() == "1 of 24 students"
        opened.get_by_label("Find").fill("")
        opened.get_by_label("Verdict").select_option("not graded")
        assert opened.locator("#students tbody tr:visible").count() == 1
        opened.get_by_label("Verdict").select_option("")
        option = opened.locator("#mistake option", has_text="Too slow").get_attribute("value")
        opened.get_by_label("Mistake").select_option(option)
        assert students(opened) == ["Bob Doe"]


def test_without_scripts_nothing_is_missing(chromium: Any, pages: Path) -> None:
    with chromium.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900}) as context:
        opened = context.new_page()
        opened.goto((pages / "class.html").as_uri())
        assert opened.locator("#students tbody tr:visible").count() == 24
        assert not opened.locator("#controls").is_visible()
        opened.locator(".mistakes summary").first.click()
        assert opened.locator(".mistakes .names").first.is_visible()


def test_the_page_prints(chromium: Any, pages: Path) -> None:
    with chromium.new_context() as context:
        opened = context.new_page()
        opened.goto((pages / "class.html").as_uri())
        opened.emulate_media(media="print")
        assert not opened.locator("#controls").is_visible()
        assert opened.pdf(format="A4").startswith(b"%PDF")

from __future__ import annotations

from html.parser import HTMLParser

from markdown_it import MarkdownIt

from grader.ci import summary
from grader.ci.changes import NOT_USED, Beside
from tests.ci.samples import COMPILED, CRASHED, EVIL, NOT_GRADED, RACY, UNTIMED, failing, graded

COMPARED = "Commit 1234567890 against origin/main (abcdef), whose exercises grade."


def rendered(markdown: str) -> str:
    """As GitHub does: CommonMark with tables, HTML let through."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_row_for_each_submission_and_what_to_start_with() -> None:
    text = summary.markdown([graded(COMPILED, RACY), graded(COMPILED, UNTIMED), CRASHED, NOT_GRADED], COMPARED)
    page = Tags(rendered(text))
    assert page.seen >= {"table", "details", "summary", "pre", "code"}
    assert "line 6: Race between threads" in page.text
    for said in (
        "failed",
        "incomplete",
        "4 of 100",
        "not graded",
        "ZeroDivisionError",
        "The base has no exercise 09_new.",
    ):
        assert said in page.text
    assert page.text.count("as shown") == 2


def test_nothing_that_a_submission_says_is_markup() -> None:
    evil = graded(failing(EVIL), path=f"exercises/{EVIL}/starter.cu", text=EVIL)
    page = Tags(rendered(summary.markdown([evil], COMPARED, [Beside(EVIL, NOT_USED)])))
    known = {"h2", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "details", "summary", "pre", "ul", "li"}
    assert page.seen <= known
    assert "</pre><script>alert(1)</script>" in page.text
    summary.markdown([evil], COMPARED).encode()


def test_quotes_and_entities_read_as_they_were_written() -> None:
    said = """the base's "x" &lt;b&gt; &#39; & <b> #1"""
    page = Tags(rendered(summary.markdown([graded(failing(said), path=said)], said, [Beside(said, said)])))
    assert page.text.count(said) == 5  # the head, the row's path, the details' path, and what lies beside, twice
    assert "b" not in page.seen


def test_no_submission() -> None:
    text = summary.markdown([], COMPARED, [Beside("exercises/01_double/oracle.py", NOT_USED)])
    assert "No submission was touched: nothing to grade." in text
    assert "oracle" in text


def test_github_refuses_more_than_a_mebibyte() -> None:
    long = graded(COMPILED, RACY, text="<&>" * 200_000)
    text = summary.markdown([graded(RACY, text="short\n"), long, long], COMPARED)
    assert len(text.encode()) < 1 << 20
    assert "short" in text
    assert "The rest does not fit here; the log has it." in text

from __future__ import annotations

import pytest

from grader.ci.junit import Suite, document
from tests import junit
from tests.ci.samples import BROKEN, COMPILED, EVIL, FAST, RACY, UNTIDY, UNTIMED, UNTRIED, failing, result_of


def test_outcomes_figures_and_messages() -> None:
    checks = (COMPILED, RACY, UNTRIED, BROKEN, FAST, UNTIMED, UNTIDY)
    root = junit.validated(document([Suite("exercises/01_double/starter.cu", result_of(*checks))]))
    assert junit.counts(root) == {"passed": 2, "failure": 1, "error": 1, "skipped": 3}
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert cases["compile"].get("time") == "0.250"
    assert cases["compile"].get("classname") == "01_double"
    ratio = {p.get("name"): p.get("value") for p in cases["speed[odd]"].iter("property")}["ratio"]
    assert ratio == "1.5"
    (failure,) = cases["memory[even]"].iter("failure")
    assert failure.get("message") == "starter.cu:6: race: two threads: 50% of them, no barrier"
    assert failure.text == f"{failure.get('message')}\n  the other is at line 5"
    (skipped,) = cases["quality"].iter("skipped")
    assert skipped.get("message") == "costs no verdict: a tab on line 3"


def test_several_submissions_and_those_without_a_result() -> None:
    suites = [
        Suite("one.cu", result_of(COMPILED)),
        Suite("two.cu", problem="oracle.py:3: ZeroDivisionError", is_error=True),
        Suite("gone.cu", problem="The change deletes it."),
    ]
    root = junit.validated(document(suites))
    assert [(s.get("name"), s.get("errors"), s.get("skipped")) for s in root] == [
        ("one.cu", "0", "0"),
        ("two.cu", "1", "0"),
        ("gone.cu", "0", "1"),
    ]


@pytest.mark.parametrize("text", [EVIL, "\0\x08]]>\uffff", "<&\"'>"])
def test_every_text_makes_valid_xml(text: str) -> None:
    root = junit.validated(document([Suite(text, result_of(failing(text), path=text)), Suite(text, problem=text)]))
    assert junit.counts(root) == {"failure": 1, "skipped": 1}


def test_the_schema_refuses_what_is_no_junit() -> None:
    good = document([Suite("one.cu", result_of(COMPILED, RACY))])
    for old, new in (
        (b'failures="1"', b'failures="2"'),
        (b'failures="1"', b'failures="one"'),
        (b'classname="01_double"', b'class="01_double"'),
        (b"<failure ", b"<blunder "),
        (b"</testcase>", b"stray</testcase>"),
    ):
        bad = good.replace(old, new).replace(b"</failure>", b"</blunder>" if b"blunder" in new else b"</failure>")
        assert bad != good
        with pytest.raises(AssertionError):
            junit.validated(bad)

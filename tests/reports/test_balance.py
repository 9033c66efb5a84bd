"""What the report says about how blocks share the work."""

from __future__ import annotations

import msgspec

from grader.model.measurements import Balance
from grader.model.result import Result
from grader.reports import balance, render
from tests.reports import samples

TAIL = Balance(
    span_us=100.0,
    blocks=528,
    most_busy=528,
    busy=(528.0, 528.0, 264.0, 1.0),
    busy_share=0.625,
    tail_us=25.0,
    elements=(0, 100.0, 250),
)


def traced(measured: Balance) -> Result:
    result = samples.right()
    checks = tuple(
        msgspec.structs.replace(c, measurements=msgspec.structs.replace(c.measurements, balance=measured))
        if c.id == "correct[imbalanced]"
        else c
        for c in result.checks
    )
    return msgspec.structs.replace(result, checks=checks)


def test_the_area_is_as_high_as_the_share_of_busy_blocks() -> None:
    (drawn,) = balance.by_case(traced(TAIL))
    assert drawn.path == (
        "M0 100L0.00 0.0L25.00 0.0L25.00 0.0L50.00 0.0L50.00 50.0L75.00 50.0L75.00 99.8L100.00 99.8L100 100Z"
    )


def test_the_page_says_how_long_the_tail_is_and_what_the_busiest_block_did() -> None:
    section = render(traced(TAIL)).split('id="balance"')[1].split("</section>")[0]
    assert "25.0 of 100 µs" in section
    assert "2.5× the mean" in section


def test_what_each_block_wrote_is_left_out_where_it_is_unknown() -> None:
    html = render(traced(msgspec.structs.replace(TAIL, elements=None)))
    assert "× the mean" not in html.split('id="balance"')[1].split("</section>")[0]


def test_without_a_measurement_there_is_no_such_section() -> None:
    assert 'id="balance"' not in render(samples.right())

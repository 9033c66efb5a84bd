"""discard: nobody knows the bytes any more, and it is a write like any other."""

from __future__ import annotations

import numpy as np

from tests.ptx.test_findings import run

WHOLE = 'if (t % 32 == 0) asm volatile("discard.global.L2 [%0], 128;" ::"l"({}) : "memory");'


def test_what_is_written_after_it_is_there() -> None:
    ran = run(f"{WHOLE.format('out + t')} __syncthreads(); out[t] = in[t];")
    assert ran.findings == ()
    assert (ran.out == np.arange(64)).all()


def test_what_was_there_before_is_not() -> None:
    ran = run(f"out[t] = in[t]; __syncthreads(); {WHOLE.format('out + t')}")
    assert ran.findings == ()
    assert (ran.out == 0x7F7F7F7F).all()


def test_it_races_with_other_writes() -> None:
    ran = run(f"out[t] = in[t]; {WHOLE.format('out + t')}")
    assert {report.kind for report in ran.findings} == {"race"}


def test_it_stays_inside_its_array_and_lies_at_a_multiple_of_its_size() -> None:
    beyond = run(WHOLE.format("out + t + 64")).findings
    assert {r.kind for r in beyond} == {"out-of-bounds"}
    assert all("writes out[" in r.message for r in beyond)
    assert {r.kind for r in run(WHOLE.format("out + t + 16")).findings} >= {"misaligned-access"}


def test_an_input_is_not_to_be_discarded() -> None:
    assert {r.kind for r in run(WHOLE.format("in + t")).findings} == {"read-only-write"}

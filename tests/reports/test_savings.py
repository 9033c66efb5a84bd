"""What is to be won, as the terminal and the report say it."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from grader.cli.terminal import print_result
from grader.model import codec
from grader.model.counted import KernelCounts, Kind, LineCounts, Saving
from grader.model.execution import UNCOALESCED
from grader.model.result import Finding, Result
from grader.reports import report, savings
from tests.reports import samples

CONFLICTS = Saving("bank-conflicts", "grouped_gemm_kernel", 5, takes=8, least=1, share=0.875, weight=0.6)
IDLE = Saving("idle", "grouped_gemm_kernel", 0, takes=64, least=132, share=0.55, weight=0.5)
COUNTS = KernelCounts(
    "grouped_gemm_kernel",
    blocks=64,
    warps=512,
    counted=40,
    lines=(
        LineCounts(5, 300, 9600, shared_requests=100, shared_wavefronts=800, least_wavefronts=100),
        LineCounts(6, 100, 1600, global_requests=10, global_sectors=40, least_sectors=40),
    ),
)


def counted(*found: Saving, result: Result = samples.SITUATIONS["no-gpu"]) -> Result:
    """As if the first case had been counted."""
    checks = list(result.checks)
    at = next(k for k, check in enumerate(checks) if check.family == "memory")
    checks[at] = checks[at].measured(counted=(COUNTS,), savings=found)
    return msgspec.structs.replace(result, checks=tuple(checks))


def terminal(result: Result, *, verbose: bool = False) -> str:
    out = Console(file=io.StringIO(), width=80, highlight=False, markup=False)
    print_result(out, result, samples.EXERCISE, samples.SOURCE, verbose=verbose)
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    return " ".join(text.split())


def test_the_next_step_is_what_would_bring_most() -> None:
    text = terminal(counted(CONFLICTS, IDLE))
    assert "Next: make it fast. Line 5: each access of a warp to shared memory takes 8 wavefronts" in text
    assert "multiprocessors" not in text


def test_elements_a_row_apart_come_before_what_follows_from_them() -> None:
    result = counted(CONFLICTS)
    apart = Finding(UNCOALESCED, "starter.cu", 5, "threads are a row apart", kernel="grouped_gemm_kernel")
    checks = [msgspec.structs.replace(c, findings=(apart,)) if c.family == "compile" else c for c in result.checks]
    text = terminal(msgspec.structs.replace(result, checks=tuple(checks)))
    assert "Next: make it fast. Line 5: threads are a row apart. Let threadIdx.x run" in text
    assert "swap them back." in text


def test_where_nothing_is_to_be_won_nothing_is_said() -> None:
    assert "wavefronts" not in terminal(counted())


def test_everything_is_in_the_details() -> None:
    text = terminal(counted(CONFLICTS, IDLE), verbose=True)
    assert "with 64 blocks, 55% of the time of the 132 multiprocessors is idle" in text
    assert "counted in 40 of 512 warps" in text
    assert "5 75% 32 - 100% 8 (1)" in text
    assert "6 25% 16 100% 4 (4) -" in text


def test_the_report_has_them_with_their_lines() -> None:
    page = report.render(counted(CONFLICTS), samples.EXERCISE, samples.SOURCE)
    assert 'id="counted"' in page
    assert '<a href="#L5">' in page
    assert "takes 8 wavefronts where 1 would do" in page
    assert 'id="counted"' not in report.render(samples.SITUATIONS["no-gpu"], samples.EXERCISE, samples.SOURCE)


def test_of_several_cases_the_one_with_the_most_to_win_gives_the_figures() -> None:
    result = counted(CONFLICTS)
    checks = list(result.checks)
    at = [k for k, check in enumerate(checks) if check.family == "memory"][1]
    more = msgspec.structs.replace(CONFLICTS, takes=16.0, weight=0.9)
    checks[at] = checks[at].measured(savings=(more,))
    (one,) = savings.said(msgspec.structs.replace(result, checks=tuple(checks)))
    assert len(one.cases) == 2
    assert "takes 16 wavefronts" in one.what


def test_what_concerns_a_whole_kernel_is_told_for_each_by_itself() -> None:
    """It has no line to tell the kernels apart by."""
    other = msgspec.structs.replace(IDLE, kernel="amax_kernel", weight=0.3)
    first, second = savings.said(counted(IDLE, other))
    assert (first.kernel, len(first.cases)) == ("grouped_gemm_kernel", 1)
    assert (second.kernel, len(second.cases)) == ("amax_kernel", 1)


def test_they_survive_json() -> None:
    result = counted(CONFLICTS, IDLE)
    assert codec.decode(codec.encode(result)) == result


@pytest.mark.parametrize("kind", Kind.__args__)  # type: ignore[attr-defined]
def test_every_kind_has_words(kind: Kind) -> None:
    what, step = savings.WORDS[kind](msgspec.structs.replace(CONFLICTS, kind=kind))
    assert what
    assert step

"""Wrong kernels of exercise 06 with wrong numbers: the mistake is named once, and problem.md explains it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.grading import hints
from grader.model.exercise import Case
from grader.model.judged import Judged
from tests.kernels.several import Several

EXERCISE = catalog.read(Path(__file__).parents[2] / "exercises" / "06_moe_layer")
ORACLE = Oracle(EXERCISE)
SECTIONS = hints.sections(EXERCISE)

# The stage that shows it first, and the mistake. The rest is caught by memory, launch or compile.
CAUSES = {
    "b_transposed": ("gate_up", "b-transposed"),
    "choices_stored_apart": ("route", "choices-transposed"),
    "columns_of_one_half": ("gate_up", "one-column-tile-64"),  # half of the columns is one tile of 64
    "cursors_used_before": ("masked_scatter", "cursors-used"),
    "dropped_into_slot_0": ("masked_scatter", "dropped-marked"),
    "dropped_tokens_not_written": ("masked_combine", "dropped-unwritten"),
    "empty_experts_not_stored": ("count", "empty-not-written"),
    "exponentials_overflow": ("route", "overflow"),
    "first_choice_taken_twice": ("route", "first-choice-twice"),
    "gate_and_up_alternate": ("swiglu", "alternating"),
    "gate_and_up_exchanged": ("swiglu", "gate-and-up-exchanged"),
    "gate_not_activated": ("masked_gate_up", "not-activated"),
    "gelu_for_silu": ("masked_gate_up", "gelu"),
    "h_in_half": ("swiglu", "h-fp16"),
    "half_accumulation": ("masked_down", "fp16-sum"),
    "half_of_the_row": ("scatter", "row-of-2"),
    "inclusive_sum": ("offsets", "inclusive-total"),
    "last_expert_never_chosen": ("route", "last-expert-left-out"),
    "last_offset_left_out": ("offsets", "last-offset-missing"),
    "last_slot_left_free": ("masked_scatter", "one-slot-free"),
    "maximum_starts_at_zero": ("route", "maximum-from-0"),
    "mean_of_the_choices": ("combine", "mean"),
    "minus_zero_below_zero": ("route", "zeros-differ"),
    "no_tile_for_what_is_left": ("down", "never-written"),
    "normalised_over_the_chosen": ("route", "over-the-chosen"),
    "only_the_first_choices_counted": ("count", "half-counted"),
    "only_the_last_choice": ("combine", "last-choice-only"),
    "row_within_the_expert": ("scatter", "row-in-expert"),
    "rows_in_the_order_of_tokens": ("combine", "not-permuted"),
    "rows_of_a_without_offset": ("down", "a-offset-ignored"),
    "rows_of_the_smallest_expert": ("masked_down", "as-tall-as-first-1"),
    "rows_start_at_the_counts": ("masked_gate_up", "masked-at-the-counts"),
    "scan_of_32_experts": ("offsets", "scan-of-32"),
    "sigmoid_for_silu": ("swiglu", "sigmoid-only"),
    "slots_stop_at_the_tokens": ("masked_scatter", "never-written"),
    "stopped_at_an_empty_expert": ("gate_up", "never-written"),
    "tf32_inputs": ("gate_up", "tf32-away"),
    "tie_to_the_larger_index": ("route", "tie-to-the-larger"),
    "token_modulo": ("scatter", "token-modulo"),
    "weight_of_the_token": ("combine", "weight-of-the-token"),
    "weights_forgotten": ("combine", "unweighted"),
    "weights_in_half": ("route", "weight-fp16"),
    "weights_of_expert_0": ("gate_up", "b-of-group-0"),
    "weights_of_the_kept_normalised": ("masked_combine", "kept-normalised-all"),
}
PROMISE = re.compile(r"// caught by: correct\[([\w-]+)\]")


def wrong_numbers() -> Iterator[tuple[str, str]]:
    for file in sorted((EXERCISE.folder / "wrong").glob("*.cu")):
        if promise := PROMISE.match(file.read_text(encoding="utf-8")):
            yield file.stem, promise[1]


def test_the_table_is_complete() -> None:
    assert sorted(CAUSES) == [name for name, _ in wrong_numbers()]


@cache
def case_and_expected(name: str) -> tuple[Case, dict[str, np.ndarray]]:
    case = next(case for case in ORACLE.cases(7) if case.name == name)
    return case, ORACLE.expected(case)


def judged(stem: str, case_name: str, stage: str) -> list[Judged]:
    """The outputs of one stage."""
    kernel = next(kernel for kernel in EXERCISE.kernels if kernel.name == f"{stage}_kernel")
    case, expected = case_and_expected(case_name)
    submission = Several(EXERCISE, (EXERCISE.folder / "wrong" / f"{stem}.cu").read_text(encoding="utf-8"))
    workspace_is_used = "cursors" in stem
    findings, outputs = submission.run(case, "" if workspace_is_used else kernel.name)
    assert findings == ()
    found = ORACLE.judge(case, outputs, expected)
    assert found is not None
    own = {parameter.key for parameter in kernel.parameters}
    return [one for one in found if one.output in own]


@pytest.mark.parametrize(("stem", "case_name"), list(wrong_numbers()))
def test_the_mistake_is_named_once_and_explained(stem: str, case_name: str) -> None:
    stage, mistake = CAUSES[stem]
    (found,) = (one for one in judged(stem, case_name, stage) if one.wrong.any())
    assert found.mistake == mistake
    assert found.hint in SECTIONS

"""Wrong kernels whose mistake only a whole grading shows: what the finding says is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader import executors
from grader.authoring import verify
from grader.exercise import catalog, submission
from grader.grading import hints, pipeline

EXERCISES = Path(__file__).parents[2] / "exercises"

NAMED = {
    "01_simple_grouped_gemm": {
        "int_sum": ["the sum is an int: after each step along K (16 long)"],
        "one_product_of_each_step": ["each step along K adds only one of 16 products"],
        "two_slices_of_three": ["part 3 of 3 of K (k from 160 to 255) is missing"],
    },
    "04_balanced_grouped_gemm": {
        "first_tile_skipped": ["no block computes tile 0 of the 128 tiles of 32 x 32"],
        "last_tile_skipped": ["no block computes the last of the 128 tiles of 32 x 32"],
        "rest_of_the_chunk_dropped": ["of the 128 tiles of 32 x 32, only every fourth is computed"],
        "running_sum_of_32_groups": ["only 32 of 256 are computed"],
    },
    "03_fp8_quantization": {
        "scale_of_the_row_above": ["another block's scale: those of block [1][0] with that of [0][0]"],
        "scale_power_of_two": ["the scale is rounded up to a power of two, as in UE8M0"] * 4,
        "scaled_twice": ["x is divided by the scale twice"] * 4,
        "shuffle_width_16": ["lanes 16 to 31 of each warp are left out of amax"],
    },
}


@pytest.mark.parametrize(("exercise", "stem"), [(name, stem) for name, stems in NAMED.items() for stem in stems])
def test_the_finding_names_the_mistake(exercise: str, stem: str) -> None:
    known = catalog.read(EXERCISES / exercise)
    promise = verify.promise_of(known.folder / "wrong" / f"{stem}.cu")
    result = pipeline.grade(
        known, submission.read(promise.file), seed=5, open_executor=executors.open_cpu, only=promise.case
    )
    check = next(check for check in result.checks if check.id == promise.check)
    said = NAMED[exercise][stem]
    found = [finding for finding in check.findings if said[0] in finding.message]
    assert len(found) >= len(said)
    assert all(finding.hint in hints.sections(known) for finding in found)

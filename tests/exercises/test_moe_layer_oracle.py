"""exercises/06_moe_layer/oracle.py, through the door that the grader uses, and its judges for a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grader import ptx
from grader.compile import nvrtc, recipe
from grader.errors import UsageError
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.model.exercise import Array, Case, Kernel
from grader.model.judged import Judged
from grader.reference_kernels import moe

ROOT = Path(__file__).parents[2]
EXERCISE = catalog.read(ROOT / "exercises" / "06_moe_layer")
ORACLE = Oracle(EXERCISE)

REQUIRED = {  # the contract
    "uniform": [128] * 4,
    "variable": [64, 128, 32, 256, 16, 192, 96, 48],
    "imbalanced": [1, 10, 100, 1000],
    "small": [8, 12, 16, 24, 32, 8, 16, 12, 20, 28, 16, 8, 24, 32, 16, 12],
}
IMBALANCED_WORK = 1111 * 256 * 128

Outputs = dict[str, np.ndarray]


def data(case: Case, name: str) -> np.ndarray:
    array = case.arguments[name]
    assert isinstance(array, Array)
    return array.data


def number(case: Case, name: str) -> int:
    value = case.arguments[name]
    assert isinstance(value, int)
    return value


@cache
def case_and_expected(name: str) -> tuple[Case, Outputs]:
    case = next(case for case in ORACLE.cases(7) if case.name == name)
    return case, ORACLE.expected(case)


def right(name: str) -> Outputs:
    """What a flawless submission writes."""
    case, expected = case_and_expected(name)
    return {output: values.astype(data(case, output).dtype) for output, values in expected.items()}


def judged(name: str, outputs: Outputs) -> dict[str, Judged]:
    case, expected = case_and_expected(name)
    found = ORACLE.judge(case, outputs, expected)
    assert found is not None
    return {one.output: one for one in found}


def wrong(name: str, outputs: Outputs) -> list[str]:
    return [one.output for one in judged(name, outputs).values() if one.wrong.any()]


# ---- cases


def test_the_required_cases_are_those_of_the_contract() -> None:
    required = {case.name: data(case, "M_sizes").tolist() for case in ORACLE.cases(7) if case.required}
    assert required == REQUIRED
    assert tuple(required) == EXERCISE.cases
    assert {number(case, "top_k") for case in ORACLE.cases(7) if case.required} == {1, 2}


def every_case() -> Iterator[Case]:
    for seed in range(2):
        yield from (case for case in ORACLE.cases(seed) if seed == 0 or not case.required)


def test_routing_gives_the_sizes_that_a_case_says() -> None:
    for case in every_case():
        expert, weight = moe.route(data(case, "logits"), number(case, "top_k"))
        np.testing.assert_array_equal(expert, data(case, "expert"))
        np.testing.assert_array_equal(np.bincount(expert.ravel(), minlength=number(case, "num_experts")),
                                      data(case, "M_sizes"))  # fmt: skip
        assert (weight.sum(axis=1) <= 1 + 1e-12).all()


def test_extra_cases_show_what_they_are_named_for() -> None:
    for seed in range(2):
        cases = {case.name: case for case in ORACLE.cases(seed) if not case.required}
        assert data(cases["empty-experts"], "M_sizes")[[0, -1]].tolist() == [0, 0]
        assert np.count_nonzero(data(cases["one-expert"], "M_sizes")) == 1
        assert number(cases["one-token"], "num_tokens") == 1
        assert number(cases["many-experts"], "num_experts") == 64
        assert (data(cases["many-experts"], "expert") >= 32).any()
        assert (data(cases["negative-logits"], "logits") < 0).all()
        sizes, capacity = data(cases["overflow"], "M_sizes"), number(cases["overflow"], "capacity")
        assert sizes[-1] > capacity
        assert (data(cases["overflow"], "slot") == 6 * capacity).sum() == np.maximum(sizes - capacity, 0).sum()
        others = [case for name, case in cases.items() if name != "overflow"]
        assert all(data(case, "M_sizes").max() <= number(case, "capacity") for case in others)


def test_extra_cases_are_cheap_and_repeatable() -> None:
    cases = [case for case in ORACLE.cases(7) if not case.required]
    work = sum(number(c, "rows") * number(c, "hidden") * number(c, "intermediate") for c in cases)
    assert work < IMBALANCED_WORK / 3
    for case, again in zip(cases, (c for c in ORACLE.cases(7) if not c.required), strict=True):
        for name, value in case.arguments.items():
            if isinstance(value, Array) and value.access == "in":
                np.testing.assert_array_equal(value.data, data(again, name))


def test_another_set_of_inputs_has_as_many_rows_for_each_expert() -> None:
    case, _ = case_and_expected("variable")
    other = ORACLE.another(case, 5)
    assert not np.array_equal(data(case, "logits"), data(other, "logits"))
    np.testing.assert_array_equal(data(case, "M_sizes"), data(other, "M_sizes"))
    assert number(case, "capacity") == number(other, "capacity")


SPEC: dict[str, Any] = {"M_sizes": [3, 0, 17, 20], "top_k": 2, "hidden": 48, "intermediate": 80}


def test_a_secret_case_is_made_of_its_sizes() -> None:
    case = ORACLE.secret(SPEC | {"capacity": 10}, 1, "secret-1")
    assert data(case, "M_sizes").tolist() == [3, 0, 17, 20]
    assert [number(case, name) for name in ("num_tokens", "hidden", "intermediate", "capacity")] == [20, 48, 80, 10]
    assert case.secret


@pytest.mark.parametrize(
    "change",
    [{"M_sizes": [0]}, {"M_sizes": [30, 3]}, {"M_sizes": [3, 4, 4]}, {"top_k": 3}, {"hidden": 40}, {"capacity": 0},
     {"intermediate": "80"}, {"M_sizes": [1000, 1000, 1000], "hidden": 4096}, {"K": 3}],
)  # fmt: skip
def test_a_secret_case_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="secret case 'secret-1'"):
        ORACLE.secret(SPEC | change, 1, "secret-1")


# ---- the judge


@pytest.mark.parametrize("name", ["small", "ties", "overflow", "large-logits", "only-expert"])
def test_the_exact_results_are_right(name: str) -> None:
    assert wrong(name, right(name)) == []


def test_of_a_tie_only_the_smaller_index_is_right() -> None:
    """Both answers have the same weight: nothing but the expert is wrong."""
    case, _ = case_and_expected("ties")
    logits, outputs = data(case, "logits"), right("ties")
    first = logits.argmax(axis=1)
    last = logits.shape[1] - 1 - logits[:, ::-1].argmax(axis=1)
    tied = (first != last) & (last != outputs["route_expert"][:, 1])
    assert tied.sum() > 10
    outputs["route_expert"][tied, 0] = last[tied]
    found = judged("ties", outputs)
    assert [name for name, one in found.items() if one.wrong.any()] == ["route_expert"]
    assert found["route_expert"].wrong.sum() == tied.sum()


def test_the_rows_of_an_expert_may_lie_in_any_order() -> None:
    case, _ = case_and_expected("variable")
    outputs, expert = right("variable"), data(case, "expert")
    for place, array in (("scatter_row", "scatter_A"), ("masked_scatter_slot", "masked_scatter_A")):
        mine = np.argwhere(expert == 3)
        rows = outputs[place][tuple(mine.T)]
        outputs[place][tuple(mine.T)] = rows[::-1]
        outputs[array][rows[::-1]] = outputs[array][rows].copy()
    assert wrong("variable", outputs) == []


def test_of_a_row_that_two_assignments_share_one_is_wrong() -> None:
    """A holds the token of one of them, whose row it is."""
    outputs = right("variable")
    case, _ = case_and_expected("variable")
    (a, b, *_) = np.argwhere(data(case, "expert") == 3)
    outputs["scatter_row"][tuple(a)] = outputs["scatter_row"][tuple(b)]
    found = judged("variable", outputs)
    assert [name for name, one in found.items() if one.wrong.any()] == ["scatter_row"]
    assert np.flatnonzero(found["scatter_row"].wrong).tolist() == [a[0] * 2 + a[1]]


def test_any_assignments_may_be_dropped_but_no_more_than_necessary() -> None:
    case, _ = case_and_expected("overflow")
    outputs, x, nowhere = right("overflow"), data(case, "x"), 6 * number(case, "capacity")
    slot, A = outputs["masked_scatter_slot"], outputs["masked_scatter_A"]  # noqa: N806
    full = data(case, "expert") == 0
    kept, dropped = np.argwhere(full & (slot < nowhere))[0], np.argwhere(full & (slot == nowhere))[0]
    slot[tuple(dropped)], slot[tuple(kept)] = slot[tuple(kept)], nowhere
    A[slot[tuple(dropped)]] = x[dropped[0]]
    assert wrong("overflow", outputs) == []
    slot[tuple(dropped)] = nowhere
    assert wrong("overflow", outputs) == ["masked_scatter_slot"]


def test_a_slot_that_was_never_written_is_not_taken_for_dropped() -> None:
    case, _ = case_and_expected("overflow")
    outputs = right("overflow")
    slot = outputs["masked_scatter_slot"]
    slot[slot == 6 * number(case, "capacity")] = -1  # every bit set, as it arrives
    assert judged("overflow", outputs)["masked_scatter_slot"].sentence.endswith("nothing was written")


def test_as_long_as_a_place_is_wrong_the_copies_are_not_judged() -> None:
    outputs = right("overflow")
    outputs["scatter_row"][0, 0] += 1000
    outputs["scatter_A"][3] += 1
    assert wrong("overflow", outputs) == ["scatter_row"]


def test_rows_that_belong_to_nobody_are_not_judged() -> None:
    outputs = right("overflow")
    for name in ("masked_scatter_A", "masked_gate_up_h", "masked_down_out"):
        nobodys = np.isnan(outputs[name]).any(axis=1)
        assert nobodys.any()
        outputs[name][nobodys] = 7
    assert wrong("overflow", outputs) == []


@pytest.mark.parametrize("output", [name for name in right("small") if "scatter" not in name])
def test_one_wrong_element_is_found_in_its_stage_alone(output: str) -> None:
    outputs = right("overflow")
    first = np.argwhere(~np.isnan(outputs[output].astype(np.float64)))[0]
    outputs[output][tuple(first)] += 1
    found = judged("overflow", outputs)
    assert [name for name, one in found.items() if one.wrong.any()] == [output]
    assert int(found[output].wrong.sum()) == 1
    assert "expected" in found[output].sentence


def test_what_was_never_written_is_said_so() -> None:
    case, expected = case_and_expected("narrow")
    outputs = {
        name: np.full(v.nbytes, 0xFF, np.uint8).view(v.dtype).reshape(v.shape)
        for name, v in ((name, data(case, name)) for name in expected)
    }
    found = judged("narrow", outputs)
    rows_of_a = {"scatter_A", "masked_scatter_A"}  # no row is named
    assert {name for name, one in found.items() if one.wrong.any()} == set(found) - rows_of_a
    assert found["route_expert"].sentence.endswith("nothing was written")


@pytest.mark.parametrize("seed", range(3))
def test_any_bits_can_be_judged(seed: int) -> None:
    """Indices far outside, NaN and infinities: wrong, and no reason to fail."""
    rng = np.random.default_rng(seed)
    outputs = {name: any_bits(values, rng) for name, values in right("overflow").items()}
    found = judged("overflow", outputs)
    assert all(one.wrong.any() for name, one in found.items() if not name.endswith("scatter_A"))
    outputs["route_expert"] = np.full_like(outputs["route_expert"], np.iinfo(np.int32).max)
    outputs["masked_scatter_slot"] = np.full_like(outputs["masked_scatter_slot"], np.iinfo(np.int32).min)
    assert {"route_expert", "masked_scatter_slot"} <= set(wrong("overflow", outputs))


def any_bits(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    bits = rng.integers(0, 1 << 32, values.shape, dtype=np.uint32)
    return bits.view(values.dtype)


# ---- the device judges


@cache
def judges() -> ptx.Program:
    source = (ROOT / "reference_kernels" / EXERCISE.judge_source).read_text(encoding="utf-8")
    built = nvrtc.build(source, recipe.PTX_ARCH)
    assert built.ok, built.log
    return ptx.Program(ptx.parse(built.ptx))


def verdict(kernel: Kernel, case: Case, outputs: Outputs) -> int:
    """How many elements the device judge of a kernel finds wrong."""
    arguments: list[ptx.Buffer | int] = []
    for parameter in kernel.parameters:
        value = case.arguments[parameter.key]
        if isinstance(value, Array):
            arguments.append(ptx.Buffer(parameter.name, outputs.get(parameter.key, value.data)))
        else:
            arguments.append(value)
    counted = np.array([0, 2**64 - 1], np.uint64)
    execution = judges().run(
        kernel.judge,
        grid=(3, 1, 1),
        block=(256, 1, 1),
        arguments=[*arguments, ptx.Buffer("verdict", counted, writable=True)],
    )
    assert execution.findings == ()
    return int(counted[0])


def disturbed(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Integers off by one now and then; others by amounts of which some are allowed and some are not."""
    if values.dtype.kind == "i":
        return values + (rng.random(values.shape) < 0.1)
    usual = np.sqrt(np.nanmean(values.astype(np.float64) ** 2))
    return values + (usual * 10 ** rng.uniform(-8, -3, values.shape)).astype(np.float32)


EACH_JUDGE = [("overflow", kernel) for kernel in EXERCISE.kernels] + [("ties", EXERCISE.kernels[0])]


@pytest.mark.parametrize(("name", "kernel"), EACH_JUDGE, ids=lambda one: getattr(one, "name", one))
def test_the_device_judge_finds_the_same_number(name: str, kernel: Kernel) -> None:
    case, _ = case_and_expected(name)
    exact = right(name)
    assert verdict(kernel, case, exact) == 0
    rng = np.random.default_rng(11)
    own = [p.key for p in kernel.parameters if p.key in exact]
    outputs = exact | {output: disturbed(exact[output], rng).astype(exact[output].dtype) for output in own}
    found = judged(name, outputs)
    elements = sum(int(found[output].wrong.sum()) for output in own)
    assert elements > 0
    if "scatter" in kernel.name:  # the judge looks at A even if a row is wrong
        assert verdict(kernel, case, outputs) >= elements
    else:
        assert verdict(kernel, case, outputs) == elements

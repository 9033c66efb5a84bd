"""What common mistakes do to the stages of a Mixture-of-Experts layer, and which of them explains a wrong output.

A stage gets correct inputs, so its output shows only its own mistake, not those of earlier stages. If a stage has two
outputs, the second is explained by what the submission wrote to the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from grader.reference_kernels import moe_rules
from grader.reference_kernels.arrays import Array
from grader.reference_kernels.grouped_gemm import grouped_gemm
from grader.reference_kernels.mistakes import numbers, untouched
from grader.reference_kernels.mistakes.mistake import Cause
from grader.reference_kernels.mistakes.moe_layer import permutation, places, products, routing
from grader.reference_kernels.mistakes.moe_layer.activation import wrong_activations
from grader.reference_kernels.mistakes.moe_layer.combining import wrong_sums
from grader.reference_kernels.mistakes.moe_layer.permutation import wrong_copies
from grader.reference_kernels.mistakes.moe_layer.problem import Near, Values
from grader.reference_kernels.mistakes.moe_layer.products import Rows
from grader.reference_kernels.mistakes.search import Agreement, Output
from grader.reference_kernels.mistakes.search import explain as search
from grader.reference_kernels.moe import Layer

__all__ = ["explain"]

Mistakes = Callable[[Layer, np.ndarray], Iterator[Rows]]  # of a layer and the right output


def explain(name: str, layer: Layer, got: Values, wanted: np.ndarray, wrong: np.ndarray) -> Cause | None:
    """The mistake that gives this output; otherwise what its values show. `wanted`: from `moe_rules.judged`."""
    if untouched.untouched(got[name]).all():
        return untouched.NO_ELEMENT
    try:
        with np.errstate(all="ignore"):
            return EXPLANATIONS[name](layer, got, wanted, wrong)
    except Exception:
        return None  # a submission's numbers can be anything; if explaining fails, the verdict stays the same


EXACT = 1e-30  # as a tolerance: a copy is right or wrong

Explanation = Callable[[Layer, Values, np.ndarray, np.ndarray], "Cause | None"]


# ---- integers, weights, copies


def _list(got: Array, wanted: Array, wrong: Array, agreement: Agreement[Array]) -> Output[Array]:
    return Output(got.ravel(), wanted.ravel(), wrong.ravel(), lambda at: at, agreement)


def _not_written(output: Output[Array]) -> Iterator[Cause]:
    missing = untouched.untouched(output.got) & output.wrong
    if missing.any() and np.array_equal(missing, output.wrong):
        region = untouched.region(missing, np.zeros_like(missing))
        yield Cause(untouched.NAME, region or "the wrong elements were never written", untouched.HINT)


def _integers(
    name: str, mistakes: Callable[[Layer], Iterator[Rows]], layer: Layer, got: Values, wanted: Array, wrong: Array
) -> Cause | None:
    return search(_list(got[name], wanted, wrong, Agreement()), mistakes(layer), (_not_written,))


def _weights(layer: Layer, got: Values, wanted: Array, wrong: Array) -> Cause | None:
    chosen = got["route_expert"]
    exists = (chosen >= 0) & (chosen < layer.num_experts)
    own = np.where(exists, chosen, layer.given["expert"])
    output = _list(got["route_weight"], wanted, wrong, Near())
    return search(output, routing.wrong_weights(layer, own), (_not_written,))


def _places(
    name: str,
    mistakes: Callable[[Layer, np.ndarray], Iterator[Cause]],
    layer: Layer,
    got: Values,
    wanted: Array,
    wrong: Array,
) -> Cause | None:
    found = next(_not_written(_list(got[name], wanted, wrong, Agreement())), None)
    return found or next(mistakes(layer, got[name]), None)


def _copies(place: str, name: str, layer: Layer, got: Values, wanted: Array, wrong: Array) -> Cause | None:
    """All places are right: only then is A judged."""
    rows = np.flatnonzero(~np.isnan(wanted).any(axis=1))
    output = numbers.output(got[name][rows], wanted[rows].astype(np.float64), wrong[rows], EXACT)

    def of_some() -> Iterator[Rows]:
        for mistake in wrong_copies(layer, got[place], len(wanted)):
            yield mistake._replace(gives=lambda at, gives=mistake.gives: gives(rows[at]))  # type: ignore[misc]

    return search(output, of_some(), numbers.looks(EXACT, lambda row: f"row {rows[row]}"))


# ---- sums


def _numbers(
    name: str, mistakes: Mistakes, bound: float, layer: Layer, got: Array, wanted: Array, wrong: Array
) -> Cause | None:
    """Of rows that lie expert by expert, those of each one by one."""
    output = numbers.output(got, wanted, wrong, bound)
    if numbers.says_nothing(output):
        return search(output, (), numbers.looks(bound, lambda row: f"row {row}"))
    return search(output, mistakes(layer, wanted), numbers.looks(bound, partial(_place, layer, name)))


def _place(layer: Layer, name: str, row: int) -> str:
    if name.endswith("_y"):
        return f"token {row}"
    sizes = layer.kept if name.startswith("masked") else layer.given["M_sizes"]
    expert = int(np.searchsorted(np.cumsum(sizes), row, side="right"))
    return f"expert {expert}, row {row - int(sizes[:expert].sum())}"


def _contiguous(
    name: str, mistakes: Mistakes, layer: Layer, got: Values, wanted: Array, wrong: Array
) -> Cause | None:
    bound = float(moe_rules.BOUNDS[name](layer).max())
    return _numbers(name, mistakes, bound, layer, got[name], wanted, wrong)


def _masked(name: str, mistakes: Mistakes, layer: Layer, got: Values, wanted: Array, wrong: Array) -> Cause | None:
    """Only the rows that are filled."""
    at, bound = layer.present, float(np.nanmax(moe_rules.BOUNDS[name](layer)))
    return _numbers(name, mistakes, bound, layer, got[name][at], wanted[at], wrong[at])


def _masked_gate_up(layer: Layer, _: Array) -> Iterator[Rows]:
    A = layer.given["A_masked"][layer.present]  # noqa: N806
    return products.of_masked_gate_up(layer, grouped_gemm(A, layer.W_gate_up, layer.kept))


def _swiglu(layer: Layer, _: Array) -> Iterator[Rows]:
    return wrong_activations(layer.given["gate_up"])


def _combine(layer: Layer, _: Array) -> Iterator[Rows]:
    return wrong_sums(layer.given["out"], layer.given["row"], layer.given["weight"])


def _masked_combine(layer: Layer, _: Array) -> Iterator[Rows]:
    return wrong_sums(layer.given["out_masked"], layer.given["slot"], layer.given["weight"])


EXPLANATIONS: dict[str, Explanation] = {
    "route_expert": partial(_integers, "route_expert", routing.wrong_experts),
    "route_weight": _weights,
    "count_M_sizes": partial(_integers, "count_M_sizes", permutation.wrong_counts),
    "offsets_group_offsets": partial(_integers, "offsets_group_offsets", permutation.wrong_offsets),
    "scatter_row": partial(_places, "scatter_row", places.wrong_rows),
    "scatter_A": partial(_copies, "scatter_row", "scatter_A"),
    "gate_up_product": partial(_contiguous, "gate_up_product", products.of_gate_up),
    "swiglu_h": partial(_contiguous, "swiglu_h", _swiglu),
    "down_out": partial(_contiguous, "down_out", products.of_down),
    "combine_y": partial(_contiguous, "combine_y", _combine),
    "masked_scatter_slot": partial(_places, "masked_scatter_slot", places.wrong_slots),
    "masked_scatter_A": partial(_copies, "masked_scatter_slot", "masked_scatter_A"),
    "masked_gate_up_h": partial(_masked, "masked_gate_up_h", _masked_gate_up),
    "masked_down_out": partial(_masked, "masked_down_out", products.of_masked_down),
    "masked_combine_y": partial(_contiguous, "masked_combine_y", _masked_combine),
}

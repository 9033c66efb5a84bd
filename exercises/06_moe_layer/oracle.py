"""Inputs, expected outputs and the judge of 06_moe_layer.

Called by the grader (exercises/README.md): required, extra, on_gpu, from_spec, another, expected, judge.

Each kernel is a stage, and gets the right results of the stages before it, not what the submission made of them. So a
mistake shows in the stage that makes it, and in no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from grader.model.exercise import Array, Case
from grader.model.judged import Judged
from grader.reference_kernels import moe, moe_rules
from grader.reference_kernels.grouped_gemm import grouped_gemm
from grader.reference_kernels.mistakes.moe_layer import explain
from grader.reference_kernels.mistakes.untouched import untouched
from grader.reference_kernels.moe import Layer

MAX_EXPERTS = 64
MAX_WORK = 1111 * 3 * 256 * 128  # multiply-adds of `imbalanced`, the largest case, in one layout
MAX_ELEMENTS = 16 << 20  # of an array: many empty experts have large weights and no work
CHOICES = (1, 2)  # top_k


class Shape(NamedTuple):
    """The sizes of a layer that its routing leaves open. Without a capacity, every expert has room for all."""

    hidden: int
    intermediate: int
    capacity: int = 0


class Routing(NamedTuple):
    logits: np.ndarray
    top_k: int


class Required(NamedTuple):
    M_sizes: tuple[int, ...]
    top_k: int
    shape: Shape


REQUIRED = {
    "uniform": Required((128,) * 4, 1, Shape(256, 128)),
    "variable": Required((64, 128, 32, 256, 16, 192, 96, 48), 2, Shape(192, 128)),
    "imbalanced": Required((1, 10, 100, 1000), 1, Shape(256, 128)),
    "small": Required((8, 12, 16, 24, 32, 8, 16, 12, 20, 28, 16, 8, 24, 32, 16, 12), 2, Shape(128, 64)),
}

LARGE_TOKENS, LARGE_EXPERTS, LARGE = 4096, 16, Shape(1024, 512)  # decides speed


# ---- cases


def required(seed: int) -> Iterator[Case]:
    """The four cases, with their M_sizes as the result of the routing."""
    for name, (m_sizes, top_k, shape) in REQUIRED.items():
        routing = _sending(_generator(seed, name, "routing"), m_sizes, top_k)
        yield make_case(name, routing, shape, seed=seed, required=True)


def extra(seed: int) -> Iterator[Case]:
    """Awkward routings and shapes, drawn from the seed; together a fraction of the work of `imbalanced`."""
    for name, draw in EXTRA.items():
        yield make_case(name, *draw(_generator(seed, name, "routing")), seed=seed)


def on_gpu(seed: int) -> Iterator[Case]:
    """The case whose speed is judged."""
    logits = _uniform(_generator(seed, "large", "routing"), (LARGE_TOKENS, LARGE_EXPERTS), 2)
    yield make_case("large", Routing(logits, 2), LARGE, seed=seed, gpu_only=True)


def another(case: Case, seed: int) -> Case:
    """As many rows for each expert, other tokens and other values."""
    layer = _layer(case)
    routing = _sending(_generator(seed, case.name, "routing"), layer.given["M_sizes"].tolist(), layer.top_k)
    shape = Shape(layer.hidden, layer.intermediate, layer.capacity)
    return make_case(case.name, routing, shape, seed=seed, required=case.required, gpu_only=case.gpu_only)


def from_spec(spec: Mapping[str, Any], seed: int, name: str) -> Case:
    """A case from an instructor's secret file.

    {"M_sizes": [3, 0, 17], "top_k": 2, "hidden": 48, "intermediate": 80, "capacity": 10}; `capacity` is optional.
    Raises ValueError with a message that names the wrong field and what it should be.
    """
    known = ("M_sizes", "top_k", "hidden", "intermediate", "capacity")
    unknown = sorted(set(spec) - set(known))
    if unknown:
        raise ValueError(f"secret case {name!r}: unknown field {unknown[0]!r}; known are {', '.join(known)}")
    for field in known[:-1]:
        if field not in spec:
            raise ValueError(f"secret case {name!r}: {field} is missing")
    m_sizes, top_k, hidden, intermediate = (spec[field] for field in known[:-1])
    capacity = spec.get("capacity", 0)
    _validate_routing(f"secret case {name!r}", m_sizes, top_k)
    _validate_shape(f"secret case {name!r}", m_sizes, hidden, intermediate, capacity, given="capacity" in spec)
    routing = _sending(_generator(seed, name, "routing"), m_sizes, top_k)
    return make_case(name, routing, Shape(hidden, intermediate, capacity), seed=seed, secret=True)


def make_case(
    name: str,
    routing: Routing,
    shape: Shape,
    *,
    seed: int,
    required: bool = False,
    secret: bool = False,
    gpu_only: bool = False,
) -> Case:
    """One problem. Its values depend only on the name, the routing, the shape and the seed."""
    rng = _generator(seed, name, "values")
    logits, top_k = routing
    experts, (hidden, intermediate, capacity) = logits.shape[1], shape
    busiest = int(moe.count(moe.route(logits, top_k)[0], experts).max())
    layer = moe.completed(
        Layer(
            logits,
            x=_uniform(rng, (len(logits), hidden), 1),
            # So large that silu is neither linear nor 0 for most.
            W_gate_up=_uniform(rng, (experts, hidden, 2 * intermediate), 4 / hidden**0.5),
            W_down=_uniform(rng, (experts, intermediate, hidden), 4 / intermediate**0.5),
            top_k=top_k,
            capacity=capacity or -(-busiest // 16) * 16,
        ),
        rng,
    )
    sizes = layer.given["M_sizes"].tolist()
    return Case(
        name=name,
        required=required,
        arguments=_arguments(layer),
        summary=f"M {' '.join(map(str, sizes))}; top {top_k}, hidden {hidden}, intermediate {intermediate}, "
        f"capacity {layer.capacity}",
        secret=secret,
        gpu_only=gpu_only,
        group_rows=() if secret else tuple(sizes),
    )


def _arguments(layer: Layer) -> dict[str, Array | int]:
    inputs = {name: getattr(layer, name) for name in ("logits", "x", "W_gate_up", "W_down")}
    arrays = [Array(name, values) for name, values in (inputs | dict(layer.given)).items()]
    for name, (rows, columns, dtype) in _output_shapes(layer).items():
        shape = (rows, columns) if columns else (rows,)
        arrays.append(Array(name, np.empty(shape, dtype), access="out"))
    sizes = ("num_tokens", "num_experts", "top_k", "hidden", "intermediate", "capacity", "rows")
    return {array.name: array for array in arrays} | {name: getattr(layer, name) for name in sizes}


def _output_shapes(layer: Layer) -> dict[str, tuple[int, int, Any]]:
    """Rows, columns (0: it is one-dimensional) and type of each output."""
    tokens, experts, rows, room = layer.num_tokens, layer.num_experts, layer.rows, layer.slots
    return {
        "route_expert": (tokens, layer.top_k, np.int32),
        "route_weight": (tokens, layer.top_k, np.float32),
        "count_M_sizes": (experts, 0, np.int32),
        "offsets_group_offsets": (experts + 1, 0, np.int32),
        "scatter_row": (tokens, layer.top_k, np.int32),
        "scatter_A": (rows, layer.hidden, np.float32),
        "gate_up_product": (rows, 2 * layer.intermediate, np.float32),
        "swiglu_h": (rows, layer.intermediate, np.float32),
        "down_out": (rows, layer.hidden, np.float32),
        "combine_y": (tokens, layer.hidden, np.float32),
        "masked_scatter_slot": (tokens, layer.top_k, np.int32),
        "masked_scatter_A": (room, layer.hidden, np.float32),
        "masked_gate_up_h": (room, layer.intermediate, np.float32),
        "masked_down_out": (room, layer.hidden, np.float32),
        "masked_combine_y": (tokens, layer.hidden, np.float32),
    }


def _generator(seed: int, name: str, purpose: str) -> np.random.Generator:
    """A separate stream per case, so that a single case can be generated again."""
    return np.random.default_rng([seed, *f"{purpose} {name}".encode()])


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], limit: float) -> np.ndarray:
    """FP32 in [-limit, limit)."""
    values = rng.random(shape, dtype=np.float32)
    values *= 2
    values -= 1
    return values * np.float32(limit)


def _sending(rng: np.random.Generator, m_sizes: Sequence[int], top_k: int) -> Routing:
    """Logits that send as many assignments to each expert; no expert gets more than there are tokens."""
    tokens = sum(m_sizes) // top_k
    assigned = np.repeat(np.arange(len(m_sizes)), m_sizes)
    # Those of one expert are neighbours, and fewer than `tokens`: no two in a column of this are the same.
    chosen = rng.permutation(assigned.reshape(top_k, tokens).T)
    chosen = rng.permuted(chosen, axis=1)
    logits = _uniform(rng, (tokens, len(m_sizes)), 2)
    every = np.arange(tokens)
    for choice in range(top_k):
        largest, wanted = np.argsort(-logits, axis=1, kind="stable")[:, choice], chosen[:, choice]
        logits[every, largest], logits[every, wanted] = logits[every, wanted], logits[every, largest]
    return Routing(logits, top_k)


# ---- extra cases

Drawn = tuple[Routing, Shape]


def _odd16(rng: np.random.Generator, low: int, high: int) -> int:
    """An odd multiple of 16, which no tile of 32 or more divides. low and high count odd multiples."""
    return 16 * (2 * int(rng.integers(low, high)) + 1)


def _some(rng: np.random.Generator) -> Shape:
    return Shape(_odd16(rng, 1, 4), _odd16(rng, 1, 4))


def _random(rng: np.random.Generator, tokens: int, experts: int, top_k: int, limit: float = 2) -> Routing:
    return Routing(_uniform(rng, (tokens, experts), limit), top_k)


def _top_2(rng: np.random.Generator) -> Drawn:
    return _random(rng, int(rng.integers(60, 120)), int(rng.integers(5, 12)), 2), _some(rng)


def _both(rng: np.random.Generator) -> Drawn:
    """Two experts, and every token goes to both."""
    return _random(rng, int(rng.integers(20, 60)), 2, 2), _some(rng)


def _empty_experts(rng: np.random.Generator) -> Drawn:
    """The first, the last and two in between get nothing."""
    a, b, c, d = (int(m) for m in rng.integers(1, 70, size=4))
    return _sending(rng, [0, a, b, 0, 0, c, d, 0], 1), _some(rng)


def _one_expert(rng: np.random.Generator) -> Drawn:
    """One of several experts gets every token."""
    m_sizes = [0] * int(rng.integers(4, 9))
    m_sizes[int(rng.integers(len(m_sizes)))] = int(rng.integers(100, 200))
    return _sending(rng, m_sizes, 1), _some(rng)


def _only_expert(rng: np.random.Generator) -> Drawn:
    """There is one, so each weight is 1."""
    return _random(rng, int(rng.integers(20, 60)), 1, 1), _some(rng)


def _one_token(rng: np.random.Generator) -> Drawn:
    return _random(rng, 1, int(rng.integers(3, 9)), 2), _some(rng)


def _many_experts(rng: np.random.Generator) -> Drawn:
    """The most there may be; some get nothing. The last ones are popular."""
    logits = _uniform(rng, (int(rng.integers(100, 140)), MAX_EXPERTS), 2)
    logits[:, MAX_EXPERTS - 8 :] += 1
    return Routing(logits, 2), Shape(48, 32)


def _ties(rng: np.random.Generator) -> Drawn:
    """Few different logits, zeros of both signs among them: most tokens have several largest ones."""
    tokens, experts = int(rng.integers(80, 120)), int(rng.integers(6, 12))
    logits = rng.integers(-2, 3, (tokens, experts)).astype(np.float32) / 2
    logits[::4] = np.minimum(logits[::4], 0)  # in these, the largest are zeros
    zeros = logits == 0
    logits[zeros] = rng.choice(np.array([0.0, -0.0], np.float32), zeros.sum())
    logits[1] = 0.5  # all the same
    return Routing(logits, 2), _some(rng)


def _negative_logits(rng: np.random.Generator) -> Drawn:
    logits = -np.abs(_uniform(rng, (int(rng.integers(50, 90)), 7), 4)) - np.float32(1)
    return Routing(logits, 2), _some(rng)


def _large_logits(rng: np.random.Generator) -> Drawn:
    """Their exponentials overflow and underflow."""
    tokens = int(rng.integers(50, 90))
    logits = _uniform(rng, (tokens, 7), 200)
    logits += _uniform(rng, (tokens, 1), 100)
    return Routing(logits, 2), _some(rng)


def _overflow(rng: np.random.Generator) -> Drawn:
    """Some experts, the last one among them, get more than they have room for; others less, one nothing."""
    capacity = int(rng.integers(9, 20))
    more = [capacity + int(m) for m in rng.integers(1, 20, size=3)]
    m_sizes = [more[0], int(rng.integers(1, capacity)), 0, more[1], capacity, more[2]]
    m_sizes[1] += sum(m_sizes) % 2 * (1 if m_sizes[1] < capacity else -1)
    return _sending(rng, m_sizes, 2), Shape(_odd16(rng, 1, 4), _odd16(rng, 1, 4), capacity)


def _narrow(rng: np.random.Generator) -> Drawn:
    """The smallest sizes that the exercise allows."""
    return _random(rng, int(rng.integers(10, 40)), 3, 1), Shape(16, 16)


EXTRA: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "top-2": _top_2,
    "both-experts": _both,
    "empty-experts": _empty_experts,
    "one-expert": _one_expert,
    "only-expert": _only_expert,
    "one-token": _one_token,
    "many-experts": _many_experts,
    "ties": _ties,
    "negative-logits": _negative_logits,
    "large-logits": _large_logits,
    "overflow": _overflow,
    "narrow": _narrow,
}


def _validate_routing(where: str, m_sizes: Any, top_k: Any) -> None:
    if not isinstance(m_sizes, (list, tuple)) or not m_sizes:
        raise ValueError(f"{where}: M_sizes must be a list of row counts, such as [3, 0, 17]")
    for m in m_sizes:
        if not _is_int(m) or m < 0:
            raise ValueError(f"{where}: M_sizes holds {m!r}; a row count is a whole number of at least 0")
    if len(m_sizes) > MAX_EXPERTS:
        raise ValueError(f"{where}: {len(m_sizes)} experts; the limit is {MAX_EXPERTS}")
    if sum(m_sizes) < 1:
        raise ValueError(f"{where}: every expert is empty; at least one token is needed")
    if not _is_int(top_k) or top_k not in CHOICES:
        raise ValueError(f"{where}: top_k is {top_k!r}; it must be 1 or 2")
    if sum(m_sizes) % top_k:
        raise ValueError(f"{where}: with top_k {top_k}, M_sizes must add up to an even number")
    if max(m_sizes) > sum(m_sizes) // top_k:
        raise ValueError(f"{where}: an expert has {max(m_sizes)} rows, but there are {sum(m_sizes) // top_k} tokens")


def _validate_shape(
    where: str, m_sizes: Sequence[int], hidden: Any, intermediate: Any, capacity: Any, *, given: bool
) -> None:
    for field, value in (("hidden", hidden), ("intermediate", intermediate)):
        if not _is_int(value) or value < 16 or value % 16:
            raise ValueError(f"{where}: {field} is {value!r}; it must be a positive multiple of 16")
    if given and (not _is_int(capacity) or capacity < 1):
        raise ValueError(f"{where}: capacity is {capacity!r}; it must be a whole number of at least 1")
    if 3 * sum(m_sizes) * hidden * intermediate > MAX_WORK:
        raise ValueError(
            f"{where}: more work than the case imbalanced (3 * sum M * hidden * intermediate at most {MAX_WORK})"
        )
    widest = max(hidden, 2 * intermediate)
    if len(m_sizes) * max(hidden * 2 * intermediate, max(capacity, max(m_sizes) + 16) * widest) > MAX_ELEMENTS:
        raise ValueError(f"{where}: an array has more than {MAX_ELEMENTS} values")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# ---- expected outputs


def _layer(case: Case) -> Layer:
    arrays = {name: v.data for name, v in case.arguments.items() if isinstance(v, Array) and v.access == "in"}
    top_k, capacity = case.arguments["top_k"], case.arguments["capacity"]
    assert isinstance(top_k, int)
    assert isinstance(capacity, int)
    return Layer.of(arrays, top_k, capacity)


def expected(case: Case) -> dict[str, np.ndarray]:
    """Floats in FP64; NaN where the masked layout has no row."""
    layer = _layer(case)
    g, room = layer.given, layer.slots
    gate_up = grouped_gemm(g["A"], layer.W_gate_up, g["M_sizes"])
    out = grouped_gemm(g["h"], layer.W_down, g["M_sizes"])
    return {
        "route_expert": g["expert"],
        "route_weight": np.take_along_axis(moe.softmax(layer.logits), g["expert"], axis=1),
        "count_M_sizes": g["M_sizes"],
        "offsets_group_offsets": g["group_offsets"],
        "scatter_row": g["row"],
        "scatter_A": g["A"],
        "gate_up_product": gate_up,
        "swiglu_h": moe.swiglu(g["gate_up"]),
        "down_out": out,
        "combine_y": moe.combine(g["out"], g["row"], g["weight"]),
        "masked_scatter_slot": g["slot"],
        "masked_scatter_A": g["A_masked"],
        # The masked layout has the same rows at other places.
        "masked_gate_up_h": moe.moved(moe.swiglu(gate_up), g["row"], g["slot"], room),
        "masked_down_out": moe.moved(out, g["row"], g["slot"], room),
        "masked_combine_y": moe.combine(g["out_masked"], g["slot"], g["weight"]),
    }


# ---- the judge


@np.errstate(all="ignore")  # a submission's numbers can be anything
def judge(case: Case, outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> Iterator[Judged]:
    """Stage by stage. Where a kernel has two outputs, the second is judged by what the first one says."""
    layer = _layer(case)
    got = {name: outputs[name].reshape(right.shape) for name, right in expected.items()}
    for name in expected:
        wrong, wanted = moe_rules.judged(name, layer, got, expected)
        if not wrong.any():
            yield Judged(name, wrong.ravel() if name in AS_A_LIST else wrong)
            continue
        at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        want, value = SAYS.get(name, _number)(layer, wanted, at), SAYS.get(name, _number)(layer, got[name], at)
        missing = bool(untouched(got[name])[at])
        cause = None if case.secret else explain(name, layer, got, wanted, wrong)
        yield Judged(
            name,
            wrong.ravel() if name in AS_A_LIST else wrong,
            sentence=f"{WHERE[name](layer, got, at)}: expected {want}, "
            f"{'nothing was written' if missing else f'got {value}'}",
            cause=cause.sentence if cause else "",
            mistake=cause.name if cause else "",
            hint=cause.hint if cause else "",
            expected=want,
            got="" if missing else value,
        )


At = tuple[Any, ...]
Outputs = Mapping[str, np.ndarray]

# Too narrow to be drawn, or another order is right too.
AS_A_LIST = ("route_expert", "route_weight", "scatter_row", "scatter_A", "masked_scatter_slot", "masked_scatter_A")


def _number(_: Layer, values: np.ndarray, at: At) -> str:
    return str(values[at]) if values.dtype.kind == "i" else f"{values[at]:.7g}"


def _expert_and_logit(layer: Layer, values: np.ndarray, at: At) -> str:
    expert = int(values[at])
    exists = 0 <= expert < layer.num_experts
    return f"expert {expert} ({f'logit {layer.logits[at[0], expert]:.6g}' if exists else 'there is none'})"


def _row_or_range(layer: Layer, values: np.ndarray, at: At) -> str:
    """What is right is any row of the expert."""
    if values is not layer.given["row"]:
        return str(values[at])
    first, end = layer.given["group_offsets"][layer.given["expert"][at] + np.array([0, 1])]
    return f"one of the rows {first} to {end - 1}"


def _slot_or_range(layer: Layer, values: np.ndarray, at: At) -> str:
    if values is not layer.given["slot"]:
        return str(values[at])
    expert = layer.given["expert"][at]
    first, kept, sent = expert * layer.capacity, layer.kept[expert], layer.given["M_sizes"][expert]
    dropped = f", or {layer.slots} for {sent - kept} of the {sent}" if sent > kept else ""
    return f"one of the slots {first} to {first + kept - 1}{dropped}"


SAYS: dict[str, Callable[[Layer, np.ndarray, At], str]] = {
    "route_expert": _expert_and_logit,
    "scatter_row": _row_or_range,
    "masked_scatter_slot": _slot_or_range,
}


def _choice(_: Layer, __: Outputs, at: At) -> str:
    return f"token {at[0]}, choice {at[1]}"


def _routed(_: Layer, got: Outputs, at: At) -> str:
    return f"token {at[0]}, choice {at[1]} (expert {got['route_expert'][at]})"


def _assigned(layer: Layer, _: Outputs, at: At) -> str:
    return f"token {at[0]}, choice {at[1]} (expert {layer.given['expert'][at]})"


def _of_expert(_: Layer, __: Outputs, at: At) -> str:
    return f"expert {at[0]}"


def _offset(_: Layer, __: Outputs, at: At) -> str:
    return f"group_offsets[{at[0]}]"


def _of_token(_: Layer, __: Outputs, at: At) -> str:
    return f"token {at[0]}, column {at[1]}"


def _of_row(layer: Layer, _: Outputs, at: At) -> str:
    offsets = layer.given["group_offsets"]
    expert = int(np.searchsorted(offsets[1:], at[0], side="right"))
    return f"expert {expert}, row {at[0] - offsets[expert]}, column {at[1]}"


def _of_slot(layer: Layer, _: Outputs, at: At) -> str:
    return f"expert {at[0] // layer.capacity}, row {at[0] % layer.capacity}, column {at[1]}"


def _sent_to(place: str) -> Callable[[Layer, Outputs, At], str]:
    """A row of A, by the assignment that the submission itself sends there."""

    def where(_: Layer, got: Outputs, at: At) -> str:
        token, choice = np.argwhere(got[place] == at[0])[0]
        name = place.rpartition("_")[2]
        return f"row {at[0]} of A, which {name}[{token}][{choice}] names for token {token}, column {at[1]}"

    return where


WHERE: dict[str, Callable[[Layer, Outputs, At], str]] = {
    "route_expert": _choice,
    "route_weight": _routed,
    "count_M_sizes": _of_expert,
    "offsets_group_offsets": _offset,
    "scatter_row": _assigned,
    "scatter_A": _sent_to("scatter_row"),
    "gate_up_product": _of_row,
    "swiglu_h": _of_row,
    "down_out": _of_row,
    "combine_y": _of_token,
    "masked_scatter_slot": _assigned,
    "masked_scatter_A": _sent_to("masked_scatter_slot"),
    "masked_gate_up_h": _of_slot,
    "masked_down_out": _of_slot,
    "masked_combine_y": _of_token,
}

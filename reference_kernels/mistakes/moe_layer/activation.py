"""SwiGLU with a wrong formula, or with the wrong columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from grader.reference_kernels.mistakes.mistake import Mistake
from grader.reference_kernels.mistakes.moe_layer.problem import FORMATS, LAYOUT, PRECISION, SWIGLU
from grader.reference_kernels.moe import sigmoid, swiglu

Function = Callable[[np.ndarray], np.ndarray]  # of rows of gate_up

SQRT_HALF, TANH_FACTOR, TANH_CUBE = math.sqrt(0.5), math.sqrt(2 / math.pi), 0.044715


def _silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def _of_both(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Function:
    def of_rows(gate_up: np.ndarray) -> np.ndarray:
        gate, up = np.split(np.asarray(gate_up, np.float64), 2, axis=1)
        return function(gate, up)

    return of_rows


def other_activations() -> dict[str, tuple[str, Function]]:
    """By name: a sentence, and what becomes of gate_up."""
    of_gate: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
        "gate-and-up-exchanged": (
            "gate and up are swapped: silu applies to the first half",
            lambda g, u: _silu(u) * g,
        ),
        "sigmoid-only": ("the gate is sigmoid(gate); silu is gate * sigmoid(gate)", lambda g, u: sigmoid(g) * u),
        "not-activated": ("h is gate * up: silu is missing", lambda g, u: g * u),
        "up-missing": ("h is silu(gate): the multiplication by up is missing", lambda g, _: _silu(g)),
        "gate-missing": ("h is silu(up): the multiplication by the gate is missing", lambda _, u: _silu(u)),
        "silu-of-the-product": ("h is silu(gate * up); silu is applied to the gate alone", lambda g, u: _silu(g * u)),
        "both-activated": (
            "silu is applied to both gate and up; up must stay as it is",
            lambda g, u: _silu(g) * _silu(u),
        ),
        "added": ("silu(gate) and up are added, not multiplied", lambda g, u: _silu(g) + u),
        "sign-of-the-exponent": (
            "silu is gate / (1 + exp(-gate)); here the exponent is positive",
            lambda g, u: g * sigmoid(-g) * u,
        ),
        "relu": ("the activation is relu, not silu", lambda g, u: np.maximum(g, 0) * u),
        "gelu": ("the activation is gelu, not silu", lambda g, u: 0.5 * g * (1 + _erf(g * SQRT_HALF)) * u),
        "gelu-tanh": (
            "the activation is gelu (its tanh formula), not silu",
            lambda g, u: 0.5 * g * (1 + np.tanh(TANH_FACTOR * (g + TANH_CUBE * g**3))) * u,
        ),
        "tanh": ("the activation is tanh, not silu", lambda g, u: np.tanh(g) * u),
    }
    return {name: (sentence, _of_both(function)) for name, (sentence, function) in of_gate.items()}


def wrong_activations(gate_up: np.ndarray) -> Iterator[Mistake[np.ndarray]]:
    """The mistakes in h; they take row numbers."""
    rows, width = gate_up.shape
    for name, (sentence, function) in other_activations().items():
        yield Mistake(name, sentence, SWIGLU, lambda at, function=function: function(gate_up[at]))  # type: ignore[misc]
    sentence = "gate and up are read alternately from a row; the gate is the first half, up the second"
    pairs = gate_up.reshape(rows, -1, 2).swapaxes(1, 2).reshape(rows, width)
    yield Mistake("alternating", sentence, SWIGLU, lambda at: swiglu(pairs[at]))
    sentence = "the rows of gate_up are read as if they had intermediate elements; they have 2 * intermediate"
    start = np.arange(rows)[:, None] * (width // 2) + np.arange(width)
    yield Mistake("short-rows", sentence, LAYOUT, lambda at: swiglu(gate_up.ravel()[start[at]]))
    for name, (words, to) in FORMATS.items():
        yield Mistake(f"h-{name}", f"h is rounded to {words}", PRECISION,
                      lambda at, to=to: to(swiglu(gate_up[at])))  # type: ignore[misc]  # fmt: skip
        yield Mistake(f"gate-up-{name}", f"gate and up are rounded to {words}", PRECISION,
                      lambda at, to=to: swiglu(to(gate_up[at])))  # type: ignore[misc]  # fmt: skip

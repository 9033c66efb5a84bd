"""FP8 bytes as the report draws them, held against ml_dtypes."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.model.measurements import Measurements, read
from grader.reports import bits

DTYPES = {"E4M3": ml_dtypes.float8_e4m3fn, "E5M2": ml_dtypes.float8_e5m2}


@pytest.mark.parametrize("name", bits.FORMATS)
def test_every_code_has_its_value(name: str) -> None:
    right = np.arange(256, dtype=np.uint8).view(DTYPES[name]).astype(np.float64)
    np.testing.assert_array_equal([bits.decode(code, name) for code in range(256)], right)


def kept(**changes: object) -> Measurements:
    example = {"format": "E4M3", "input": 1.0625, "input_bits": 0x3F880000, "expected": 0x38, "got": 0x39}
    return read({"example": example | changes})


def test_the_bit_that_differs_is_marked() -> None:
    found = bits.example(kept())
    assert found is not None
    assert [differs for _, _, differs in found.got.bits] == [False] * 7 + [True]
    assert not any(differs for _, _, differs in found.expected.bits)
    assert found.got.spoken == "sign 0, exponent 0111, mantissa 001"
    assert found.input_bits is not None
    assert (found.input_bits.value, len(found.input_bits.bits)) == (1.0625, 32)


@pytest.mark.parametrize("name", bits.FORMATS)
@given(value=st.floats(-500, 500))
def test_the_input_lies_between_neighbouring_codes(name: str, value: float) -> None:
    found = bits.example(kept(format=name, input=value))
    assert found is not None
    if found.between is None:
        on_a_code = value in [bits.decode(code, name) for code in range(256)]
        assert on_a_code or abs(value) > 448
        return
    low, high = found.between.low, found.between.high
    assert min(low, high) < value < max(low, high)
    assert int(found.between.high_code, 16) - int(found.between.low_code, 16) == 1
    assert math.copysign(1, low) == math.copysign(1, value)
    assert 0 < found.between.share < 1


def test_of_a_byte_rounded_by_chance_no_nearer_code_is_named() -> None:
    found = bits.example(kept(input=1.07), by_chance=True)
    assert found is not None
    assert found.between is None
    assert bits.example(kept(input=1.07)).between is not None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "changes",
    [{"format": "E8M0"}, {"format": None}, {"expected": 256}, {"got": "57"}, {"got": True}, {"expected": -1}],
)
def test_what_is_no_byte_is_not_drawn(changes: dict[str, object]) -> None:
    assert bits.example(kept(**changes)) is None


@pytest.mark.parametrize("measured", [{}, {"example": None}, {"example": [1]}, {"example": {}}])
def test_nothing_kept_is_nothing_drawn(measured: dict[str, object]) -> None:
    assert bits.example(read(measured)) is None


@pytest.mark.parametrize("value", ["NaN", "Infinity", None, 1e9])
def test_an_input_beyond_the_codes_lies_between_none(value: object) -> None:
    found = bits.example(kept(input=value, input_bits=2**40))
    assert found is not None
    assert found.between is None
    assert found.input_bits is None

"""Result to JSON and back, and the JSON Schema that is shipped beside this file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from grader.model.result import SCHEMA_VERSION, Number, Result, to_number

SCHEMA_FILE = Path(__file__).with_name("result.schema.json")


class ResultError(ValueError):
    """The text is no Result of a version that this grader reads; the message says why."""


class Measurements(TypedDict, total=False):
    """What a check may have measured. Absent means not measured; a check may add further entries."""

    max_abs_error: Number
    tolerance: Number
    mismatches: int
    elements: int
    seconds: Number
    time_us: Number
    baseline: str
    baseline_us: Number
    ratio: Number
    ratio_low: Number
    ratio_high: Number
    tflops: Number


def encode(result: Result) -> bytes:
    """One JSON object, indented, with a final newline. NaN and infinities are written by name."""
    plain = _finite(msgspec.to_builtins(result))
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


def decode(text: bytes) -> Result:
    """Raises ResultError, which names the field that is wrong."""
    try:
        version = msgspec.json.decode(text, type=_Version).schema
        if version != SCHEMA_VERSION:
            raise ResultError(f"schema version {version}; this grader reads version {SCHEMA_VERSION}")
        return msgspec.json.decode(text, type=Result)
    except RecursionError:
        raise ResultError("it is nested deeper than any Result") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResultError(str(error)) from None


def schema() -> dict[str, Any]:
    """The JSON Schema of a Result, as msgspec derives it, with the known measurements spelled out."""
    document = msgspec.json.schema(Result)
    definitions = document["$defs"]
    known = msgspec.json.schema(Measurements)["$defs"]["Measurements"]
    definitions["Check"]["properties"]["measurements"] |= {"properties": known["properties"]}
    definitions["Result"]["properties"]["schema"] = {"const": SCHEMA_VERSION}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Result of grade run",
        **document,
    }


def schema_text() -> str:
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n"


class _Version(msgspec.Struct):
    schema: int


def _finite(value: Any) -> Any:
    """The same value with every non-finite float replaced by its name."""
    if isinstance(value, float):
        return value if math.isfinite(value) else to_number(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text())

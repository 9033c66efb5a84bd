"""Converts a Result to JSON and back; also the JSON Schema shipped next to this file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from grader.model import measurements
from grader.model.measurements import NOT_FINITE, Measurements, to_number
from grader.model.result import SCHEMA_VERSION, Check, Result

SCHEMA_FILE = Path(__file__).with_name("result.schema.json")


class ResultError(ValueError):
    """The text is not a Result of a version that this grader can read; the message says why."""


def encode(result: Result) -> bytes:
    """One JSON object, indented, with a final newline. NaN and infinities are written by name."""
    plain = msgspec.to_builtins(msgspec.structs.replace(result, checks=()))
    plain["checks"] = [_flat(check) for check in result.checks]
    return msgspec.json.format(msgspec.json.encode(_finite(plain)), indent=2) + b"\n"


def decode(text: bytes) -> Result:
    """Raises ResultError, which names the wrong field."""
    try:
        version = msgspec.json.decode(text, type=_Version).schema
        if version != SCHEMA_VERSION:
            raise ResultError(f"schema version {version}; this grader reads version {SCHEMA_VERSION}")
        return msgspec.convert(_with_measurements(msgspec.json.decode(text)), Result)
    except RecursionError:
        raise ResultError("it is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResultError(str(error)) from None


def schema() -> dict[str, Any]:
    """The JSON Schema of a Result, as msgspec derives it; measurements as `encode` writes them."""
    document = msgspec.json.schema(Result)
    definitions = document["$defs"]
    for name in msgspec.json.schema(Measurements)["$defs"]:
        definitions[name] = _named_floats(definitions[name])
    del definitions["Measurements"]["properties"]["further"]  # lies beside the others
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


def _flat(check: Check) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(check)
    return plain | {"measurements": measurements.plain(check.measurements)}


def _with_measurements(plain: dict[str, Any]) -> dict[str, Any]:
    checks = plain.get("checks")
    for check in checks if isinstance(checks, list) else ():
        measured = check.get("measurements") if isinstance(check, dict) else None
        if isinstance(measured, dict):
            check["measurements"] = measurements.read(measured)
    return plain


def _named_floats(value: Any) -> Any:
    """A number may be the name of a float that JSON does not have."""
    if isinstance(value, list):
        return [_named_floats(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "number":
        about = {key: item for key, item in value.items() if key != "type"}
        return {**about, "anyOf": [{"type": "number"}, {"enum": sorted(NOT_FINITE)}]}
    return {key: _named_floats(item) for key, item in value.items()}


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

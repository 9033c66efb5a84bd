from __future__ import annotations

import json
import math
from pathlib import Path

import jsonschema
import msgspec
import pytest

from grader.model import codec
from grader.model.details import Detail, Role
from grader.model.measurements import read
from grader.model.result import Check, Finding, Points, Related, Result, Status, Submission, Verdict

OLD = Path(__file__).parents[2] / "benchmarks" / "results"
OLD_FINDINGS = Path(__file__).with_name("results") / "before_findings_were_data.json"

RESULT = Result(
    schema=1,
    exercise="01_simple_grouped_gemm",
    submission=Submission("starter.cu", "0" * 64),
    verdict=Verdict.FAILED,
    points=Points(8.0, None, 12.0, None, 20.0, 100),
    seed=7,
    machine={"cpu": "a CPU", "gpu": None, "packages": {"numpy": "2.0"}},
    checks=(
        Check("compile", Status.PASSED),
        Check(
            "correct[uniform]",
            Status.FAILED,
            message="wrong",
            case="uniform",
            device="cpu",
            findings=(Finding("wrong-values", "starter.cu", 3, "wrong", notes=("why",)),),
            measurements=read({"max_abs_error": math.nan, "mismatches": 4, "elements": 8}),
        ),
        Check("speed[uniform]", Status.SKIPPED, reason="correct[uniform] failed", case="uniform"),
    ),
)


def with_measurements(**values: object) -> Result:
    return msgspec.structs.replace(RESULT, checks=(Check("c", Status.PASSED, measurements=read(values)),))


def test_a_result_survives_the_round_trip() -> None:
    assert codec.decode(codec.encode(RESULT)) == RESULT


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_survive_wherever_a_check_left_them(value: float) -> None:
    text = codec.encode(with_measurements(max_abs_error=value, routes_us={"a": value}, of_a_newer_grader=[value]))
    measured = codec.decode(text).checks[0].measurements
    for back in (measured.max_abs_error, measured.routes_us["a"], float(measured.further["of_a_newer_grader"][0])):
        assert repr(back) == repr(value)


def test_what_this_version_does_not_know_is_written_as_it_was_read() -> None:
    unknown = {"joules": 3.5, "ratio": "fast", "launches": 7, "power": {"watts": [1, None, "x"]}}
    text = codec.encode(with_measurements(**unknown, elements=8))
    assert json.loads(text)["checks"][0]["measurements"] == unknown | {"elements": 8}
    again = codec.decode(text)
    assert again.checks[0].measurements.ratio is None
    assert json.loads(codec.encode(again)) == json.loads(text)


@pytest.mark.parametrize("file", sorted(OLD.glob("0*.json")), ids=lambda file: file.stem)
def test_results_of_earlier_versions_are_read_and_lose_nothing(file: Path) -> None:
    text = file.read_bytes()
    written = json.loads(codec.encode(codec.decode(text)))
    measured = [check["measurements"] for check in json.loads(text)["checks"]]
    absent = [{name: value for name, value in one.items() if value is not None} for one in measured]
    assert [check["measurements"] for check in written["checks"]] == absent
    jsonschema.validate(json.loads(text), json.loads(codec.SCHEMA_FILE.read_text()))


def test_a_check_knows_its_family() -> None:
    assert [check.family for check in RESULT.checks] == ["compile", "correct", "speed"]
    assert [check.rubric for check in RESULT.checks] == ["", "correctness", "performance"]
    assert Check("energy[uniform]", Status.PASSED).rubric == ""  # of a newer grader


def test_a_result_from_before_findings_held_data_is_still_one() -> None:
    result = codec.decode(OLD_FINDINGS.read_bytes())
    jsonschema.validate(json.loads(codec.encode(result)), json.loads(codec.SCHEMA_FILE.read_text()))
    assert codec.decode(codec.encode(result)) == result
    for finding in (finding for check in result.checks for finding in check.findings):
        assert finding.message
        assert (finding.detail, finding.related, finding.guilty_lines) == ("", (), (finding.line,))


def test_what_a_finding_holds_as_data_survives_the_round_trip() -> None:
    race = Finding(
        "race",
        "starter.cu",
        3,
        "two threads",
        detail=Detail.WITH_COPY,
        array="tile",
        space="shared",
        access="read",
        related=(
            Related(Role.OTHER_ACCESS, 7, access="write"),
            Related(Role.CALL, 20),
            Related(Role.COPY, 7, "a.cuh"),
        ),
    )
    result = msgspec.structs.replace(RESULT, checks=(Check("memory[a]", Status.FAILED, findings=(race,)),))
    (back,) = codec.decode(codec.encode(result)).checks[0].findings
    assert back == race
    assert back.guilty_lines == (3, 7)


def test_the_other_access_in_another_file_is_no_line_of_this_one() -> None:
    race = Finding("race", "starter.cu", 3, "", related=(Related(Role.OTHER_ACCESS, 7, "tile.cuh"),))
    assert race.guilty_lines == (3,)


def test_the_json_is_strict_json() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads(codec.encode(with_measurements(max_abs_error=math.nan)), parse_constant=refuse)


def test_the_shipped_schema_is_current() -> None:
    assert codec.SCHEMA_FILE.read_text() == codec.schema_text(), "run: python -m grader.model.codec"


def test_results_validate_against_the_schema() -> None:
    schema = json.loads(codec.SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(codec.encode(RESULT)), schema)


@pytest.mark.parametrize(
    ("field", "value"),
    [("verdict", "great"), ("schema", 2), ("seed", "7"), ("points", {}), ("checks", [{"id": "compile"}])],
)
def test_the_schema_refuses_what_is_no_result(field: str, value: object) -> None:
    schema = json.loads(codec.SCHEMA_FILE.read_text())
    broken = json.loads(codec.encode(RESULT)) | {field: value}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_the_schema_knows_the_measurements() -> None:
    schema = json.loads(codec.SCHEMA_FILE.read_text())
    broken = json.loads(codec.encode(with_measurements(mismatches="many", ratio=1.5)))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "truncated"),
        (b"not json", "malformed"),
        (b"[]", "object"),
        (b"{}", "schema"),
        (b'{"schema": 99}', "version 99"),
        (codec.encode(RESULT).replace(b'"failed"', b'"fine"'), "fine"),
        (b"\xff\xfe", "malformed"),
    ],
)
def test_what_is_no_result_is_refused_with_the_reason(text: bytes, says: str) -> None:
    with pytest.raises(codec.ResultError, match=says):
        codec.decode(text)

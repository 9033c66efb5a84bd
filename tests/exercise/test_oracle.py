from __future__ import annotations

from pathlib import Path

import pytest

from grader.errors import GraderError, UsageError
from grader.exercise import catalog
from grader.exercise.oracle import Oracle
from grader.reference_kernels import former_name
from tests.fakes import ORACLE, write_exercise


def oracle_of(tmp_path: Path, text: str) -> Oracle:
    return Oracle(catalog.read(write_exercise(tmp_path / "01_double", oracle=text)))


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_required_cases_come_before_the_extra_ones(tmp_path: Path) -> None:
    assert [case.name for case in oracle_of(tmp_path, ORACLE).cases(7)] == ["even", "ragged", "one-row"]


def test_oracles_may_say_reference_kernels_and_get_the_same_modules(tmp_path: Path) -> None:
    """As those did that were written when it was a package of its own."""
    says = f"""import numpy as np
import {former_name.FORMER}
import {former_name.FORMER}.fp8 as fp8
from grader.reference_kernels import moe as own_moe
from {former_name.FORMER} import moe
from {former_name.FORMER}.mistakes import Mistake
from grader.reference_kernels.mistakes import Mistake as Own
assert Mistake is Own and moe is own_moe
assert {former_name.FORMER}.fp8 is fp8
assert fp8.__name__ == fp8.__spec__.name == "grader.reference_kernels.fp8"
"""
    assert len(list(oracle_of(tmp_path, ORACLE.replace("import numpy as np\n", says)).cases(7))) == 3


def test_what_reference_kernels_lacks_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(GraderError, match=r"oracle\.py:\d+: .*No module named 'grader\.reference_kernels\.nowhere'"):
        oracle_of(tmp_path, f"import {former_name.FORMER}.nowhere\n{ORACLE}")


def test_cases_are_made_one_at_a_time(tmp_path: Path) -> None:
    text = ORACLE.replace("def extra(seed):", "def extra(seed):\n    raise OSError('too early')")
    cases = oracle_of(tmp_path, text).cases(7)
    assert [next(cases).name, next(cases).name] == ["even", "ragged"]


@pytest.mark.parametrize("name", ["required", "extra", "from_spec", "expected"])
def test_a_missing_function_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(GraderError, match=rf"oracle\.py: function {name} is missing"):
        oracle_of(tmp_path, ORACLE.replace(f"def {name}(", "def other("))


def test_a_missing_oracle_is_named(tmp_path: Path) -> None:
    folder = write_exercise(tmp_path / "01_double")
    (folder / "oracle.py").unlink()
    with pytest.raises(GraderError, match=r"oracle\.py does not exist"):
        Oracle(catalog.read(folder))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("import numpy as np", "import numpy as np\nimport nowhere", "ModuleNotFoundError"),
        ("def extra", "1 / 0\ndef extra", "ZeroDivisionError"),
        ("def extra(seed):", "def extra(seed)", "expected ':'"),
        ('    yield make("one-row"', "    {}['k']\n    yield make(\"one-row\"", "KeyError"),
    ],
)
def test_a_failing_oracle_is_named_with_its_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = ORACLE.replace(old, new)
    guilty = new.split("\n")[0 if "expected" in says or new.startswith("1") else -2 if "yield" in new else -1]
    with pytest.raises(GraderError, match=says) as caught:
        list(oracle_of(tmp_path, text).cases(7))
    assert f"oracle.py:{line_of(text, guilty)}: " in str(caught.value)


def test_an_expected_output_that_fails_is_named(tmp_path: Path) -> None:
    oracle = oracle_of(tmp_path, ORACLE.replace('return {"y": 2.0 *', 'return {"y": missing *'))
    with pytest.raises(GraderError, match=r"oracle\.py:\d+: NameError"):
        oracle.expected(next(oracle.cases(7)))


def test_a_wrong_secret_is_the_instructors_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="M_sizes is missing"):
        oracle_of(tmp_path, ORACLE).secret({}, 7, "secret-1")


def test_an_oracle_that_breaks_on_a_secret_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(GraderError, match=r"oracle\.py:\d+: TypeError"):
        oracle_of(tmp_path, ORACLE).secret({"M_sizes": 3}, 7, "secret-1")

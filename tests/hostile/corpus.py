"""The attacks that this project is tested against, read from the .toml files beside this one.

An attack is a kernel (`source`, or `replace`: changes to the exercise's solution), or a list of tests elsewhere that
carry it out (`tests`). Each file holds one family of attacks; a new file needs no registration.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Attack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an attack tries and what must happen, in words; then the attack itself, and the same for the test.

    `device`: which executor it is about; "none": no kernel runs. `{repeat:N:TEXT}` in a source is TEXT N times.
    """

    name: str
    tries: str
    must: str
    device: Literal["none", "cpu", "cuda", "any"] = "none"
    tests: tuple[str, ...] = ()  # "tests/batch/test_roster.py::test_a_link_in_a_zip"
    source: str = ""
    replace: tuple[tuple[str, str], ...] = ()
    exercise: str = "1"

    # Of a compilation.
    compiles: Literal["yes", "no", "either"] = "no"
    says: str = ""  # a regular expression that one of the findings' messages matches
    line: int = 0  # where that finding stands; 0: anywhere
    never: tuple[str, ...] = ()  # what no finding and no log may contain

    # Of a grading of one case. With these, the attack is graded, not just compiled.
    case: str = ""
    checks: dict[str, str] = {}  # status by check id
    kind: str = ""  # of a finding

    @property
    def text(self) -> str:
        if not self.replace:
            return _repeated(self.source)
        text = (next((ROOT / "exercises").glob(f"0{self.exercise}_*")) / "solution.cu").read_text()
        for old, new in self.replace:
            assert old in text, f"{self.name}: {old!r} is not in the solution"
            text = text.replace(old, _repeated(new))
        return text


def attacks() -> Iterator[tuple[str, Attack]]:
    """With the family of each."""
    for file in sorted(HERE.glob("*.toml")):
        for attack in msgspec.toml.decode(file.read_text(), type=dict[str, list[Attack]])["attack"]:
            yield file.stem, attack


def _repeated(text: str) -> str:
    before, found, rest = text.partition("{repeat:")
    if not found:
        return text
    count, _, rest = rest.partition(":")
    repeated, _, after = rest.partition("}")
    return before + repeated * int(count) + _repeated(after)

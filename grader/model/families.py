"""The existing checks: one declaration each, in grading order.

A family is a kind of check, such as "memory", which is judged for each case as `memory[CASE]`, or "rules", which is
judged once. Everything that counts, sorts, names or shares points among checks reads it here, so that a new family is
added in one place.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Rubric = Literal["", "correctness", "performance", "quality"]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """`parent`: the family that must pass first, for the same case if it has cases; "" if there is none."""

    name: str
    parent: str = ""
    per_case: bool = False
    rubric: Rubric = ""  # the rubric whose points it decides
    required: bool = True  # whether the verdict depends on it
    voids: bool = False  # if it fails, there are no points for correctness and performance
    title: str = ""  # title of its column, if it is judged for each case
    passed: str = ""  # its outcomes, in that table's words
    failed: str = ""

    def id(self, case: str | None = None) -> str:
        """ "memory[uniform]", "rules"."""
        return f"{self.name}[{case}]" if self.per_case else self.name


COMPILE = Family(name="compile")
LAUNCH = Family(name="launch", parent="compile")
MEMORY = Family(
    name="memory", parent="launch", per_case=True, title="Memory and threads", passed="clean", failed="faulty"
)
CORRECT = Family(
    name="correct",
    parent="memory",
    per_case=True,
    rubric="correctness",
    title="Result",
    passed="right",
    failed="wrong",
)
SPEED = Family(
    name="speed",
    parent="correct",
    per_case=True,
    rubric="performance",
    title="Speed",
    passed="fast enough",
    failed="too slow",
)
RULES = Family(name="rules", parent="compile", voids=True)
QUALITY = Family(name="quality", parent="compile", rubric="quality", required=False)

FAMILIES = {family.name: family for family in (COMPILE, LAUNCH, MEMORY, CORRECT, SPEED, RULES, QUALITY)}


def name_of(identity: str) -> str:
    """ "memory" of "memory[uniform]"."""
    return identity.partition("[")[0]


def of(name: str) -> Family:
    """A Result of another version may contain checks that this one does not know."""
    return FAMILIES.get(name) or Family(name=name)


def per_case() -> tuple[Family, ...]:
    return tuple(family for family in FAMILIES.values() if family.per_case)


def before_cases() -> tuple[Family, ...]:
    """Judged once, before the cases."""
    return tuple(reversed(before(per_case()[0])))


def after_cases() -> tuple[Family, ...]:
    """Judged once, independently of the cases."""
    waited_for = before_cases()
    return tuple(family for family in FAMILIES.values() if not family.per_case and family not in waited_for)


def of_case(*, required: bool) -> tuple[Family, ...]:
    """The families judged for a case; performance only if the case is required."""
    return tuple(family for family in per_case() if required or family.rubric != "performance")


def with_rubric(rubric: Rubric) -> tuple[Family, ...]:
    return tuple(family for family in FAMILIES.values() if family.rubric == rubric)


def before(family: Family) -> tuple[Family, ...]:
    """Its parent, that one's parent, and so on."""
    found: list[Family] = []
    while family.parent:
        family = FAMILIES[family.parent]
        found.append(family)
    return tuple(found)

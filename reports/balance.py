"""How many blocks were busy over time, and how evenly they shared the work, by case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grader.model.measurements import Balance
from grader.model.result import Result


@dataclass(frozen=True)
class Drawn:
    """One case. `path`: the area below the number of busy blocks, in a box of 100 by 100."""

    case: str
    measured: Balance
    path: str

    @property
    def busiest(self) -> float | None:
        """What the busiest block wrote, in multiples of the mean."""
        if self.measured.elements is None:
            return None
        _, mean, most = self.measured.elements
        return most / mean if mean > 0 else None


def by_case(result: Result) -> tuple[Drawn, ...]:
    return tuple(_drawn(result))


def _drawn(result: Result) -> Iterator[Drawn]:
    for check in result.checks:
        measured = check.measurements.balance
        if measured is not None and measured.busy and measured.most_busy > 0:
            yield Drawn(check.case or check.id, measured, _path(measured))


def _path(measured: Balance) -> str:
    width = 100 / len(measured.busy)
    steps = [
        f"L{i * width:.2f} {y:.1f}L{(i + 1) * width:.2f} {y:.1f}"
        for i, blocks in enumerate(measured.busy)
        for y in [100 - 100 * min(1.0, blocks / measured.most_busy)]
    ]
    return f"M0 100{''.join(steps)}L100 100Z"

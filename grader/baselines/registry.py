"""Every baseline by its name in exercise.toml; and a single route of one, by the route's."""

from __future__ import annotations

from typing import NamedTuple

from grader.baselines.baseline import Baseline
from grader.baselines.cublas_fp32 import CublasFp32
from grader.baselines.cublas_moe import CublasMoe
from grader.baselines.cublaslt_fp8 import CublasltFp8
from grader.baselines.device_copy import DeviceCopy

BASELINES: dict[str, type[Baseline]] = {
    "fastest": CublasFp32,
    "copy": DeviceCopy,
    "cublaslt_fp8": CublasltFp8,
    "cublas_moe": CublasMoe,
}


class Chosen(NamedTuple):
    """What an exercise is timed against. Without `route`, the fastest of those that decide."""

    name: str  # in BASELINES
    route: str | None = None

    @property
    def baseline(self) -> type[Baseline]:
        return BASELINES[self.name]

    def decides(self, contender: str) -> bool:
        route = self.baseline.routes.get(contender)
        return contender == self.route if self.route else route is not None and route.decides


def names() -> list[str]:
    """The names that exercise.toml may use."""
    return list(dict.fromkeys(name for key, one in BASELINES.items() for name in (key, *one.routes)))


def find(name: str) -> Chosen:
    """Raises KeyError if no baseline or route has that name."""
    if name in BASELINES:
        return Chosen(name)
    for key, baseline in BASELINES.items():
        if name in baseline.routes:
            return Chosen(key, name)
    raise KeyError(name)

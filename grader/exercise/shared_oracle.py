"""An oracle that computes each case and its expected outputs only once.

All submissions that are graded with it get the same inputs. They are shared and read-only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar, cast

import msgspec
import numpy as np

from grader.exercise.oracle import Oracle
from grader.model.exercise import Array, Case, Exercise

T = TypeVar("T")


class SharedOracle(Oracle):
    """Thread-safe."""

    def __init__(self, exercise: Exercise) -> None:
        super().__init__(exercise)
        self._made: dict[Hashable, Future[Any]] = {}
        self._asking = threading.Lock()

    def cases(self, seed: int) -> Iterator[Case]:
        return iter(self._once(("cases", seed), lambda: [_locked(case) for case in Oracle.cases(self, seed)]))

    def on_gpu(self, seed: int) -> list[Case]:
        return list(self._once(("on_gpu", seed), lambda: [_locked(case) for case in Oracle.on_gpu(self, seed)]))

    def secret(self, spec: Mapping[str, Any], seed: int, name: str) -> Case:
        key = ("secret", msgspec.json.encode(spec), seed, name)
        return self._once(key, lambda: _locked(Oracle.secret(self, spec, seed, name)))

    def another(self, case: Case, seed: int) -> Case:
        return self._of(case, ("another", seed), lambda: _locked(Oracle.another(self, case, seed)))

    def expected(self, case: Case) -> dict[str, np.ndarray]:
        return self._of(case, ("expected",), lambda: _locked_arrays(Oracle.expected(self, case)))

    def _of(self, case: Case, what: tuple[Hashable, ...], make: Callable[[], T]) -> T:
        """Keyed by identity: every case asked for was made here. Cases are kept, so an id is never reused."""
        return self._once((id(case), *what), lambda: (case, make()))[1]

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        """The first caller computes it; the others wait. After a failure, the next caller tries again."""
        with self._asking:
            known = self._made.get(key)
            made = known or self._made.setdefault(key, Future())
        if known is None:
            try:
                made.set_result(make())
            except BaseException as error:
                with self._asking:
                    del self._made[key]
                made.set_exception(error)
        return cast(T, made.result())


def _locked(case: Case) -> Case:
    for value in case.arguments.values():
        if isinstance(value, Array):
            value.data.flags.writeable = False
    return case


def _locked_arrays(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for array in arrays.values():
        array.flags.writeable = False
    return arrays

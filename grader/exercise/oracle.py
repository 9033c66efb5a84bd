"""An exercise's oracle.py, loaded by path: generates cases and their expected outputs (exercises/README.md)."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from grader.errors import ExerciseError, UsageError, at_fault
from grader.model.exercise import Case, Exercise
from grader.model.judged import Judged
from grader.reference_kernels import former_name
from grader.reference_kernels.mistakes import Mistake

FUNCTIONS = ("required", "extra", "from_spec", "expected")

T = TypeVar("T")


Expected = dict[str, np.ndarray]  # each output in FP64, by parameter name


class Oracle:
    """Every method raises ExerciseError, which names the line in oracle.py, if the oracle fails."""

    def __init__(self, exercise: Exercise) -> None:
        self._file = exercise.folder / "oracle.py"
        self._module = _load(self._file, f"grader_oracle_{exercise.name}")
        missing = [name for name in FUNCTIONS if not callable(getattr(self._module, name, None))]
        if missing:
            raise ExerciseError(f"{self._file}: function {missing[0]} is missing (exercises/README.md)")

    def cases(self, seed: int) -> Iterator[Case]:
        """The required cases, then the extra cases."""
        for function in (self._module.required, self._module.extra):
            cases: Iterator[Case] = self._guard(partial(_iterate, function, seed))
            while (case := self._guard(partial(next, cases, None))) is not None:
                yield case

    def on_gpu(self, seed: int) -> list[Case]:
        """Cases that run only on a GPU; none if oracle.py does not define any."""
        function: Callable[[int], Iterable[Case]] | None = getattr(self._module, "on_gpu", None)
        return self._guard(lambda: list(function(seed))) if function else []

    def secret(self, spec: Mapping[str, Any], seed: int, name: str) -> Case:
        """Raises UsageError if the spec, from the instructor's file, is wrong."""
        try:
            case: Case = self._module.from_spec(spec, seed, name)
        except ValueError as error:
            raise UsageError(str(error)) from None
        except Exception as error:
            raise ExerciseError(at_fault(error, self._file)) from error
        return case

    def another(self, case: Case, seed: int) -> Case:
        """The same problem with different values: timing rotates through several."""
        function: Callable[[Case, int], Case] | None = getattr(self._module, "another", None)
        if function is None:
            raise ExerciseError(f"{self._file}: function another is missing; timing needs it (exercises/README.md)")
        return self._guard(lambda: function(case, seed))

    def expected(self, case: Case) -> Expected:
        """Each output in FP64, by parameter name."""
        return self._guard(lambda: self._module.expected(case))

    def judge(
        self, case: Case, outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
    ) -> Sequence[Judged] | None:
        """Judges by the exercise's own rule; None if it has none, so that its tolerance decides."""
        function: Callable[..., Iterable[Judged]] | None = getattr(self._module, "judge", None)
        return self._guard(lambda: tuple(function(case, outputs, expected))) if function else None

    def mistakes(self, case: Case, expected: Mapping[str, np.ndarray]) -> Iterable[Mistake[np.ndarray]]:
        """The common mistakes in this exercise, most likely first; none if oracle.py does not define any."""
        function: Callable[..., Iterable[Mistake[np.ndarray]]] | None = getattr(self._module, "mistakes", None)
        return function(case, expected) if function else ()

    def _guard(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except Exception as error:
            raise ExerciseError(at_fault(error, self._file)) from error


def _iterate(function: Callable[[int], Iterable[Case]], seed: int) -> Iterator[Case]:
    return iter(function(seed))


def _load(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ExerciseError(f"{file} does not exist; an exercise needs its oracle")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look it up
    former_name.serve()
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ExerciseError(at_fault(error, file)) from error
    return module

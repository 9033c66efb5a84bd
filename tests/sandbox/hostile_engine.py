"""A child whose submission has taken it over: the text that it is asked to compile is Python, and it runs it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from grader.compile.compiled import Compiled
from grader.model.execution import Compilation
from grader.sandbox import confine, landlock
from grader.sandbox.messages import Built, Describe, Described, Ran, Run
from grader.sandbox.serve import SetupError, serve
from tests.timing.samples import H200


class HostileEngine:
    warm = ()

    def load_rest(self) -> None:
        """There is none."""

    def compile(self, text: str) -> Built:
        """The log says how far it got."""
        try:
            exec(text, {"__name__": "hostile"})
            log = "done"
        except Exception as error:
            log = f"{type(error).__name__}: {error}"
        return Built(Compiled(Compilation(True, log=log)))

    def load(self, ptx: str, cubin: bytes) -> None:
        """Never asked for."""

    def run(self, request: Run, arrays: dict[str, np.ndarray]) -> Ran:
        raise NotImplementedError


def describe(_: Describe, __: dict[str, np.ndarray]) -> Described:
    """A driver that wants a file which a confined child may not read."""
    try:
        Path(os.environ["DRIVER_FILE"]).read_bytes()
    except OSError as error:
        raise SetupError(str(error)) from None
    return Described(H200)


if __name__ == "__main__":
    if os.environ.get("WITHOUT_LANDLOCK"):
        landlock.abi = lambda: 0
    serve(HostileEngine(), {Describe: describe}, confine.GPU if os.environ.get("GPU_ACCESS") else confine.CPU)

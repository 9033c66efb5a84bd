"""The CPU executor: NVRTC compiles, grader.ptx runs. The child process runs this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from grader.compile.toolkit import ToolkitMissing
from grader.sandbox.channel import MAX_MESSAGE_BYTES
from grader.sandbox.messages import Built, Ran, Run
from grader.sandbox.serve import SetupError, serve

if TYPE_CHECKING:
    import numpy as np

    from grader.executors.launches import CpuSubmission

MAX_PTX_CHARACTERS = MAX_MESSAGE_BYTES - (1 << 20)  # if it is larger, the parent gets nothing to cache


class CpuEngine:
    """Holds one submission. NVRTC comes first: while it works, another thread can load the rest."""

    warm = ("grader.compile.compiler",)

    def __init__(self) -> None:
        self._ptx = ""
        self._submission: CpuSubmission | None = None

    def load_rest(self) -> None:
        from grader.compile import reading  # noqa: F401 - the next that `compile` needs
        from grader.executors import launches

        launches.prepare()

    def compile(self, text: str) -> Built:
        try:
            from grader.compile import compiler
        except ModuleNotFoundError as error:
            raise _missing(error, "cupy-cuda13x>=14.2,<15") from None
        try:
            compiled = compiler.compile_text(text)
        except ToolkitMissing as error:
            raise SetupError(str(error)) from None
        self.load(compiled.ptx, b"")
        sent = compiled.ptx if len(compiled.ptx) <= MAX_PTX_CHARACTERS else ""
        return Built(msgspec.structs.replace(compiled, ptx=sent, cubin=b""))

    def load(self, ptx: str, cubin: bytes) -> None:  # noqa: ARG002 - machine code is for GPUs
        self._ptx, self._submission = ptx, None

    def run(self, request: Run, arrays: dict[str, np.ndarray]) -> Ran:
        try:
            from grader.executors import launches
        except ModuleNotFoundError as error:
            raise _missing(error, "llvmlite>=0.45,<1") from None
        if self._submission is None:
            launches.prepare()
            self._submission = launches.CpuSubmission(self._ptx)
        return self._submission.counted(request, arrays) if request.count else self._submission.run(request, arrays)


def _missing(error: ModuleNotFoundError, requirement: str) -> SetupError:
    return SetupError(f"{error}; install it with: python -m pip install '{requirement}'")


if __name__ == "__main__":
    serve(CpuEngine())

"""The child process of the CPU executor, for PTX that no compiler has seen: it runs what can be called at all."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from grader import ptx
from grader.compile import entries, opcodes, recipe
from grader.executors.cpu import CpuEngine
from grader.model.result import Finding
from grader.ptx.parsing.errors import PtxError
from grader.sandbox.messages import Ran, Run
from grader.sandbox.serve import serve


class AnyPtx(CpuEngine):
    def load(self, ptx: str, cubin: bytes) -> None:
        """And reads it as the compiler's side does."""
        super().load(ptx, cubin)
        entries.kernels(ptx, "", recipe.SOURCE_NAME, {})
        with suppress(PtxError):
            opcodes.used(ptx, recipe.SOURCE_NAME)

    def run(self, request: Run, arrays: dict[str, np.ndarray]) -> Ran:
        try:
            module = ptx.parse(self._ptx)
        except ptx.PtxError:
            return super().run(request, arrays)
        for invocation in request.invocations:
            kernel = module.kernels.get(invocation.kernel)
            if kernel is None or len(kernel.parameters) != len(invocation.arguments):
                return Ran(unsupported=Finding("no-such-kernel", "", 0, f"no {invocation.kernel}"))
        return super().run(request, arrays)


if __name__ == "__main__":
    serve(AnyPtx())

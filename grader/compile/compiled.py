"""The result of a compilation."""

from __future__ import annotations

import msgspec

from grader.model.execution import Compilation


class Compiled(msgspec.Struct, frozen=True):
    """`ptx` is "" if the compilation failed; `cubin` is then empty too, or if only PTX was requested."""

    compilation: Compilation
    ptx: str = ""
    cubin: bytes = b""

"""What a compilation leaves behind."""

from __future__ import annotations

import msgspec

from grader.model.execution import Compilation


class Compiled(msgspec.Struct, frozen=True):
    """`ptx` is "" where the compilation failed; `cubin` is empty there, and where only PTX was wanted."""

    compilation: Compilation
    ptx: str = ""
    cubin: bytes = b""

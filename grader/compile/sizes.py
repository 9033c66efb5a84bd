"""Variables and local arrays too large to run with, judged from the PTX before anybody asks for their memory."""

from __future__ import annotations

import re
from collections.abc import Sequence

from grader.compile import entries, recipe
from grader.model.execution import CompiledKernel
from grader.model.result import Finding

MAX_VARIABLES_BYTES = 64 << 20  # of all __device__ variables together: they are read-only tables; as a workspace
# Per thread; CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
MAX_LOCAL_BYTES = 512 << 10

_BYTES = {"8": 1, "16": 2, "32": 4, "64": 8, "128": 16}
_VARIABLE = re.compile(
    r"^\s*(?:\.\w+\s+)*?\.(?:global|const)\s+(?:\.align\s+\d+\s+)?\.[a-z]+(\d+)\s+([\w$]+)\[(\d+)\]", re.M
)


def findings(ptx: str, text: str, kernels: Sequence[CompiledKernel]) -> tuple[Finding, ...]:
    """What no launch could hold, at the largest variable's line, or the kernel's that has the array."""
    variables = [(_BYTES.get(bits, 1) * int(count), name) for bits, name, count in _VARIABLE.findall(ptx)]
    found = []
    if sum(size for size, _ in variables) > MAX_VARIABLES_BYTES:
        size, name = max(variables)
        largest, together = entries.readable(name), sum(size for size, _ in variables)
        message = (
            f"the __device__ variables have {together:,} bytes, {largest} alone {size:,}; the limit is "
            f"{MAX_VARIABLES_BYTES:,} (64 MiB)"
        )
        found.append(_finding(_line_of(largest, text), message))
    for kernel in kernels:
        stack = kernel.resources.stack_bytes if kernel.resources else 0
        if stack > MAX_LOCAL_BYTES:
            needs = f"{kernel.name} needs {stack:,} bytes of local arrays for each thread"
            found.append(_finding(kernel.line, f"{needs}; a thread can have {MAX_LOCAL_BYTES:,}"))
    return tuple(found)


def _finding(line: int, message: str) -> Finding:
    return Finding("out-of-memory", recipe.SOURCE_NAME, line, message)


def _line_of(name: str, text: str) -> int:
    match = re.search(rf"\b{re.escape(name)}\b\s*\[", text)
    return text.count("\n", 0, match.start()) + 1 if match else 0

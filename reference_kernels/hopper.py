"""Launches kernels for Hopper, which take tensor maps.

CuPy's binding of the driver has no cuTensorMapEncodeTiled, so this calls the driver itself, in the current context.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_int, c_uint, c_uint64, c_void_p
from functools import cache
from pathlib import Path

from grader.reference_kernels import device

ARCHITECTURE = "sm_90a"
MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
MAP_WORDS = 16  # 64-bit words of a CUtensorMap
MAP_ALIGNMENT = 64  # bytes
UINT8, SWIZZLE_128B, PROMOTION_256B = 0, 3, 3  # CU_TENSOR_MAP_DATA_TYPE_*, _SWIZZLE_*, _L2_PROMOTION_*

TensorMap = ctypes.Array[c_uint64]
Argument = c_int | c_void_p | TensorMap


class DriverError(RuntimeError):
    """A call of the driver failed."""


class Module:
    """Compiled kernels, in the current context. Raises DriverError, or RuntimeError with the compiler's log."""

    def __init__(self, source: str, file: Path) -> None:
        self._module = c_void_p()
        self._kernels: dict[str, c_void_p] = {}
        call("cuModuleLoadData", byref(self._module), device.compiled_text(source, file, ARCHITECTURE))

    def kernel(self, name: str, shared_bytes: int) -> c_void_p:
        """Ready to be launched with that many bytes of dynamic shared memory."""
        if name not in self._kernels:
            function = c_void_p()
            call("cuModuleGetFunction", byref(function), self._module, name.encode())
            call("cuFuncSetAttribute", function, c_int(MAX_DYNAMIC_SHARED), c_int(shared_bytes))
            self._kernels[name] = function
        return self._kernels[name]


def launch(function: c_void_p, blocks: int, threads: int, shared_bytes: int, stream: int, *given: Argument) -> None:
    """A grid and blocks of one dimension."""
    arguments = (c_void_p * len(given))(*(ctypes.addressof(value) for value in given))
    sizes = (c_uint(size) for size in (blocks, 1, 1, threads, 1, 1, shared_bytes))
    call("cuLaunchKernel", function, *sizes, c_void_p(stream), arguments, None)


def byte_boxes(pointer: int, sizes: Sequence[int], box: Sequence[int]) -> TensorMap:
    """A tensor map of bytes without gaps, innermost size first: boxes of rows of 128 bytes, swizzled by 128 bytes."""
    memory = (c_uint64 * (MAP_WORDS + MAP_ALIGNMENT // 8))()
    encoded = (c_uint64 * MAP_WORDS).from_buffer(memory, -ctypes.addressof(memory) % MAP_ALIGNMENT)
    rank, strides = len(sizes), [sizes[0]]
    for size in sizes[1:-1]:
        strides.append(strides[-1] * size)
    call(
        "cuTensorMapEncodeTiled",
        byref(encoded),
        c_int(UINT8),
        c_uint(rank),
        c_void_p(pointer),
        (c_uint64 * rank)(*sizes),
        (c_uint64 * (rank - 1))(*strides),
        (c_uint * rank)(*box),
        (c_uint * rank)(*[1] * rank),
        *(c_int(0), c_int(SWIZZLE_128B), c_int(PROMOTION_256B), c_int(0)),
    )
    return encoded


def call(name: str, *arguments: object) -> None:
    """Raises DriverError with the name and the status of a call that failed."""
    status = getattr(_driver(), name)(*arguments)
    if status:
        raise DriverError(f"{name} failed with status {status}")


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")

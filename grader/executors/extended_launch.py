"""What CuPy's binding of the driver lacks: launches in clusters, and tensor maps. Only in the child process.

CUDA driver API, cuLaunchKernelEx and cuTensorMapEncodeTiled.
"""

from __future__ import annotations

import ctypes
from functools import cache

from cupy_backends.cuda.api import driver

from grader.model.execution import LaunchConfig, TensorMap

CLUSTER_DIMENSION = 4  # CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
MAP_WORDS = 16  # 64-bit words of a CUtensorMap
MAP_ALIGN = 64  # bytes, as the driver asks


class _Attribute(ctypes.Structure):
    """CUlaunchAttribute: the value is a union of 64 bytes, of which a cluster takes three words."""

    _fields_ = (("id", ctypes.c_int), ("pad", ctypes.c_char * 4), ("value", ctypes.c_uint * 16))


class _Config(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("count", ctypes.c_uint),
    )


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def launch(function: int, config: LaunchConfig, stream: int, arguments: int) -> None:
    """`arguments`: address of the kernel's arguments, as for cuLaunchKernel. Raises CUDADriverError."""
    attribute = _Attribute(CLUSTER_DIMENSION, b"", (*config.cluster,))
    how = _Config(config.grid, config.block, config.shared_bytes, stream, ctypes.pointer(attribute), 1)
    call = _library().cuLaunchKernelEx
    driver.check_status(call(ctypes.byref(how), ctypes.c_void_p(function), ctypes.c_void_p(arguments), None))


def encode(described: TensorMap, base: int) -> ctypes.Array[ctypes.c_uint64]:
    """A CUtensorMap of the array at address `base` of the device. Raises CUDADriverError."""
    memory = (ctypes.c_uint64 * (MAP_WORDS + MAP_ALIGN // 8))()
    aligned = -ctypes.addressof(memory) % MAP_ALIGN
    encoded = (ctypes.c_uint64 * MAP_WORDS).from_buffer(memory, aligned)
    rank = described.rank
    status = _library().cuTensorMapEncodeTiled(
        ctypes.byref(encoded),
        ctypes.c_int(described.type),
        ctypes.c_uint(rank),
        ctypes.c_void_p(base + described.offset),
        (ctypes.c_uint64 * rank)(*described.dim[:rank]),
        (ctypes.c_uint64 * max(rank - 1, 1))(*described.stride[: rank - 1]),
        (ctypes.c_uint * rank)(*described.box[:rank]),
        (ctypes.c_uint * rank)(*described.steps),
        *(ctypes.c_int(value) for value in
          (described.interleave, described.swizzle, described.l2_promotion, described.fill)),
    )  # fmt: skip
    driver.check_status(status)
    return encoded

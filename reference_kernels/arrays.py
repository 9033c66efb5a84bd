"""Common code for NumPy and CuPy: the module of an array, and other libraries' arrays through DLPack."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # a numpy.ndarray or a cupy.ndarray: the two share no type

DLPACK_CPU = 1  # kDLCPU of DLPack's DLDeviceType


def module_of(array: Array) -> ModuleType:
    """The module for the array: cupy for a CuPy array, otherwise numpy."""
    cupy = sys.modules.get("cupy")  # a caller with a CuPy array has imported it
    return cupy if cupy is not None and isinstance(array, cupy.ndarray) else np


def as_array(x: Any) -> Array:
    """NumPy and CuPy arrays unchanged; torch tensors (or anything else that supports DLPack) without a copy.

    A tensor on a GPU becomes a CuPy array. To convert back, use `torch.from_dlpack(result)`. torch does not export
    FP8 tensors this way: pass `tensor.view(torch.uint8)`.
    """
    if isinstance(x, np.ndarray) or module_of(x) is not np:
        return x
    if not hasattr(x, "__dlpack__"):
        return np.asarray(x)
    if x.__dlpack_device__()[0] == DLPACK_CPU:
        return np.from_dlpack(x)
    import cupy

    return cupy.from_dlpack(x)


def typed(x: Any, dtype: Any, name: str) -> Array:
    """`as_array(x)` of exactly this dtype. Raises TypeError: converting here could round silently."""
    array = as_array(x)
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype).name}, got {array.dtype}: convert it first")
    return array

"""One text for NumPy and CuPy: which module an array belongs to, and other libraries' arrays through DLPack."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # a numpy.ndarray or a cupy.ndarray: the two share no type

DLPACK_CPU = 1  # kDLCPU of DLPack's DLDeviceType


def module_of(array: Array) -> ModuleType:
    """The module that computes where the array lies: cupy for a CuPy array, else numpy."""
    cupy = sys.modules.get("cupy")  # whoever holds a CuPy array has imported it
    return cupy if cupy is not None and isinstance(array, cupy.ndarray) else np


def as_array(x: Any) -> Array:
    """NumPy and CuPy arrays as they are, a torch tensor (or whatever else speaks DLPack) without a copy.

    A tensor on a GPU becomes a CuPy array. The way back is `torch.from_dlpack(result)`. torch exports no FP8 tensor
    this way: pass `tensor.view(torch.uint8)`.
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
    """`as_array(x)` of exactly this dtype. Raises TypeError: converting here could round unseen."""
    array = as_array(x)
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype).name}, got {array.dtype}: convert it first")
    return array

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grader.reference_kernels.arrays import as_array, module_of, typed


class Tensor:
    """What another library's tensor shows of itself."""

    def __init__(self, data: np.ndarray) -> None:
        self._data = data

    def __dlpack__(self, **options: Any) -> Any:
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()


def test_a_tensor_is_taken_without_a_copy() -> None:
    data = np.arange(4, dtype=np.float32)
    array = as_array(Tensor(data))
    assert isinstance(array, np.ndarray)
    assert np.shares_memory(array, data)


def test_a_torch_tensor_is_taken_without_a_copy() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = torch.arange(4, dtype=torch.float32)
    assert as_array(tensor).ctypes.data == tensor.data_ptr()


def test_a_numpy_array_stays_the_same_object() -> None:
    data = np.zeros(3)
    assert as_array(data) is data
    assert module_of(data) is np


def test_another_dtype_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="x must be float32, got float64"):
        typed(np.zeros(3), np.float32, "x")


@pytest.mark.gpu
def test_an_array_on_the_gpu_stays_there() -> None:
    import cupy

    data = cupy.arange(4, dtype=cupy.float32)
    assert as_array(data) is data
    assert module_of(data) is cupy
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = torch.arange(4, dtype=torch.float32, device="cuda")
    assert as_array(tensor).data.ptr == tensor.data_ptr()

from __future__ import annotations

from grader.compile import nvrtc
from grader.compile.recipe import PTX_ARCH


def test_finds_every_device_variable_with_its_size() -> None:
    import pytest

    gpu_runs = pytest.importorskip("grader.executors.gpu_runs")
    source = """
    __device__ int counter;
    __device__ double table[5];
    __device__ unsigned char bytes[3] = {1, 2, 3};
    __constant__ float constant[4];
    extern "C" __global__ void k(int* out) {
        counter += 1; table[out[0]] = bytes[out[1]] + constant[out[2]]; bytes[out[3]] = 1;
    }"""
    ptx = nvrtc.build(source, PTX_ARCH).ptx
    assert dict(gpu_runs.module_variables(ptx)) == {"counter": 4, "table": 40, "bytes": 3}

"""A launch function that describes tensor maps, compiled and run: what it writes is what the grader reads."""

from __future__ import annotations

import numpy as np

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.launching import signature
from grader.launching.plan import LAUNCH_BYTES, decode_launch
from grader.model.execution import TensorMap
from grader.model.exercise import Kernel, Parameter

SOURCE = """
#include "grader.cuh"

extern "C" __global__ void copy_kernel(const float* x, float* y, int n, void* workspace,
                                       const __grid_constant__ CUtensorMap from,
                                       const __grid_constant__ CUtensorMap to)
{
    y[0] = x[0] + (float)((unsigned long long)&from != (unsigned long long)&to);
}

extern "C" __global__ void launch_copy(int n, Launch* launch)
{
    launch->grid = dim3(4);
    launch->block = dim3(32);
    launch->cluster = dim3(2);
    launch->tensor_maps = 2;
    TensorMap& from = launch->tensor_map[0];
    from.type = CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    from.rank = 2;
    from.offset = 64;
    for (int i = 0; i < 5; ++i) { from.dim[i] = 100 + i; from.box[i] = 8 + i; from.element_stride[i] = 1 + i; }
    for (int i = 0; i < 4; ++i) from.stride[i] = 16 * (i + 1);
    from.swizzle = CU_TENSOR_MAP_SWIZZLE_128B;
    from.l2_promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_128B;
    launch->tensor_map[1] = from;
    launch->tensor_map[1].array = 1;
    launch->tensor_map[1].fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA;
}
"""
KERNEL = Kernel(
    "copy_kernel",
    (Parameter("x", "const float*"), Parameter("y", "float*"), Parameter("n", "int")),
    (Parameter("n", "int"),),
)


def test_the_grader_reads_what_a_launch_function_writes() -> None:
    compiled = compile_text(SOURCE, PTX_ARCH)
    assert compiled.compilation.ok, compiled.compilation.log
    kernel, _ = compiled.compilation.kernels
    assert kernel.parameter_bytes == (8, 8, 4, 8, 128, 128)
    assert (signature.tensor_maps(kernel), signature.takes_workspace(KERNEL, kernel)) == (2, True)
    launch = np.zeros(LAUNCH_BYTES, np.uint8)
    program = ptx.Program(ptx.parse(compiled.ptx))
    given = [5, ptx.Buffer("launch", launch, writable=True)]
    assert program.run("launch_copy", grid=(1, 1, 1), block=(1, 1, 1), arguments=given).findings == ()
    config = decode_launch(launch)
    first = TensorMap(
        array=0,
        type=7,
        rank=2,
        offset=64,
        dim=(100, 101, 102, 103, 104),
        stride=(16, 32, 48, 64),
        box=(8, 9, 10, 11, 12),
        element_stride=(1, 2, 3, 4, 5),
        swizzle=3,
        l2_promotion=2,
    )
    assert (config.cluster, config.tensor_maps[0]) == ((2, 1, 1), first)
    assert (config.tensor_maps[1].array, config.tensor_maps[1].fill) == (1, 1)

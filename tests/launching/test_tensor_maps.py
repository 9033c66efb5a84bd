"""A launch function that describes tensor maps, compiled and run: what it writes is what the grader reads."""

from __future__ import annotations

import numpy as np

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.executors.launches import CpuSubmission
from grader.launching import invocations, signature
from grader.launching.plan import LAUNCH_BYTES, Plan, decode_launch
from grader.model.execution import LaunchConfig, TensorMap
from grader.model.exercise import Array, Case, Kernel, Parameter
from grader.sandbox.messages import ArenaSlot, Run

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


TILES = """
#include "grader.cuh"

extern "C" __global__ void copy_kernel(const float* x, float* y, int n, const __grid_constant__ CUtensorMap from)
{
    alignas(128) __shared__ float tile[128];
    __shared__ unsigned long long bar;
    const unsigned to = (unsigned)__cvta_generic_to_shared(tile), at = (unsigned)__cvta_generic_to_shared(&bar);
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared.b64 [%0], 1;" :: "r"(at) : "memory");
        asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], 512;" :: "r"(at) : "memory");
        asm volatile("cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes"
                     " [%0], [%1, {%2}], [%3];"
                     :: "r"(to), "l"(&from), "r"(128 * (int)blockIdx.x), "r"(at) : "memory");
    }
    __syncthreads();
    for (unsigned done = 0; !done;)
        asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], 0; selp.u32 %0, 1, 0, p; }"
                     : "=r"(done) : "r"(at) : "memory");
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    for (int i = threadIdx.x; i < 128; i += 32) y[128 * blockIdx.x + i] = tile[i] + 1000 * rank;
}
"""


def test_the_cpu_gets_the_maps_and_the_cluster_of_a_launch() -> None:
    x = np.arange(256, dtype=np.float32)
    y = np.zeros_like(x)
    described = TensorMap(0, 7, 1, 0, (256, 0, 0, 0, 0), (0,) * 4, (128, 0, 0, 0, 0), (0,) * 5)
    config = LaunchConfig((2, 1, 1), (32, 1, 1), cluster=(2, 1, 1), tensor_maps=(described,))
    plan = Plan(kernel="copy_kernel", config=config)
    case = Case("one", True, {"x": Array("x", x), "y": Array("y", y, "out"), "n": 256}, "")
    slots = tuple(ArenaSlot(name, "<f4", x.shape, 0, access) for name, access in (("x", "in"), ("y", "out")))
    request = Run(invocations.of((KERNEL,), case, [plan]), slots, 0, 20.0, 1)
    ran = CpuSubmission(compile_text(TILES, PTX_ARCH).ptx).run(request, {"x": x, "y": y})
    assert (ran.findings, ran.unsupported) == ((), None)
    assert (y == x + 1000 * (np.arange(256) // 128)).all()

"""What ptxas counts."""

from __future__ import annotations

from grader.compile import resources
from grader.compile.compiler import compile_text
from grader.model.execution import Resources

LOG = """\
ptxas info    : 12 bytes gmem, 8 bytes cmem[3]
ptxas info    : Compiling entry function 'b' for 'sm_90a'
ptxas info    : Function properties for b
ptxas         .     96 bytes stack frame, 40 bytes spill stores, 52 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 96 bytes cumulative stack size, 2048 bytes smem
ptxas info    : Compile time = 3.000 ms
ptxas info    : Compiling entry function 'a' for 'sm_90a'
ptxas info    : Function properties for a
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Function properties for helper
ptxas         .     64 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 16 registers, used 0 barriers
"""


def test_the_log_is_read_kernel_by_kernel() -> None:
    assert resources.parse(LOG) == {
        "b": Resources(registers=255, shared_bytes=2048, spill_bytes=92, stack_bytes=96, global_bytes=12),
        "a": Resources(registers=16, shared_bytes=0, spill_bytes=0, stack_bytes=0, global_bytes=12),
    }


def test_spills_and_shared_memory_of_a_real_kernel() -> None:
    sums = "".join(f"    v[{i}] = v[{i}] * v[{(i + 7) % 64}] + x[{i}];\n" for i in range(64))
    text = (
        "__device__ int counter = 1;\n"
        'extern "C" __global__ void __launch_bounds__(1024, 2) tight(float* x, int n) {\n'
        "  __shared__ float tile[32][33];\n"
        "  tile[threadIdx.y][threadIdx.x] = x[n];\n"
        "  __syncthreads();\n"
        "  float v[64];\n"
        "  for (int i = 0; i < 64; ++i) v[i] = x[i] + tile[threadIdx.x][threadIdx.y] + counter;\n"
        f"  for (int k = 0; k < n; ++k) {{\n{sums}  }}\n"
        "  for (int i = 0; i < 64; ++i) x[i] = v[i];\n"
        "}\n"
        'extern "C" __global__ void relaxed(float* x) { x[0] = 1; }\n'
    )
    kernels = {kernel.name: kernel.resources for kernel in compile_text(text).compilation.kernels}
    tight, relaxed = kernels["tight"], kernels["relaxed"]
    assert tight and relaxed
    assert tight.spill_bytes > 0
    assert tight.registers <= 32
    assert tight.shared_bytes == 32 * 33 * 4
    assert (relaxed.spill_bytes, relaxed.shared_bytes) == (0, 0)
    assert tight.global_bytes == 4

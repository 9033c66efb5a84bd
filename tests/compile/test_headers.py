"""The headers that students include out of habit."""

from __future__ import annotations

import re

import pytest

from grader.compile import recipe
from grader.compile.compiler import compile_text

EVERY_HEADER = sorted(recipe.headers())

USES = """
#include <cuda_runtime.h>
#include <device_launch_parameters.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

extern "C" __global__ void everything(float* f, uint8_t* bytes, std::int64_t* words, Launch* launch) {
    static_assert(INT_MAX == 2147483647 && CHAR_BIT == 8 && UINT8_MAX == 255 && ULLONG_MAX + 1 == 0);
    static_assert(FLT_MAX > 3.4e38f && DBL_EPSILON < 1e-15 && FLT_EPSILON > 1e-7f);
    static_assert(std::numeric_limits<float>::max() == FLT_MAX && std::is_same<int, int32_t>::value);
    static_assert(std::min(1, 2) == 1 && std::max(1, 2) == 2 && std::clamp(7, 1, 3) == 3);
    std::size_t n = offsetof(Launch, variant);
    std::ptrdiff_t distance = &f[n] - f;
    f[0] = INFINITY; f[1] = -FLT_MAX; f[2] = NAN; f[3] = M_PI; f[4] = HUGE_VALF; f[5] = (float)HUGE_VAL;
    f[6] = std::sqrt(f[7]) + std::fabs(f[8]) + std::fmaxf(f[9], 0.0f) + std::pow(f[10], 2.0f);
    f[11] = std::isnan(f[12]) ? std::min(f[13], f[14]) : std::max(f[15], f[16]);
    std::swap(f[17], f[18]);
    words[0] = std::exchange(words[1], (std::int64_t)distance);
    std::memcpy(bytes, bytes + 4, 4);
    memset(bytes + 8, 0, 4);
    assert(launch != NULL && launch != nullptr);
    printf("%d\\n", (int)n);
    std::printf("%d\\n", launch->max_shared_bytes);
}
"""


def test_all_of_them_work_together() -> None:
    compilation = compile_text("".join(f"#include <{name}>\n" for name in EVERY_HEADER) + USES).compilation
    assert compilation.ok, compilation.log
    assert compilation.findings == ()


@pytest.mark.parametrize("name", [name for name in EVERY_HEADER if name not in ("type_traits", "limits")])
def test_each_compiles_alone_and_twice(name: str) -> None:
    text = f'#include <{name}>\n#include "{name}"\nextern "C" __global__ void k() {{}}\n'
    compilation = compile_text(text).compilation
    assert compilation.ok, compilation.log
    assert compilation.findings == ()


@pytest.mark.parametrize("name", ["mma.h", "cooperative_groups.h", "cuda_bf16.h", "cuda_pipeline.h"])
def test_cudas_own_headers_compile(name: str) -> None:
    compilation = compile_text(f'#include <{name}>\nextern "C" __global__ void k() {{}}\n').compilation
    assert compilation.ok, compilation.log
    assert compilation.findings == ()


@pytest.mark.parametrize(
    ("member", "offset"),
    {"grid.x": 0, "grid.z": 8, "block.x": 12, "shared_bytes": 24, "variant": 28, "workspace_bytes": 32,
     "sm_count": 40, "max_shared_bytes": 44}.items(),
)  # fmt: skip
def test_launch_is_laid_out_as_the_grader_reads_it(member: str, offset: int) -> None:
    text = f'#include "grader.cuh"\nextern "C" __global__ void k(Launch* launch) {{ launch->{member} = 7; }}\n'
    place = rf"%rd\d+\+{offset}" if offset else r"%rd\d+"
    assert re.search(rf"st\.global\.\w+\s+\[{place}\],", compile_text(text).ptx)


def test_a_cub_header_is_no_warning_of_the_students() -> None:
    """CCCL defines INFINITY and NAN after our stand-in for math.h did."""
    kernel = 'extern "C" __global__ void kernel(float* x) { x[0] = INFINITY; }'
    compilation = compile_text(
        f'#include "grader.cuh"\n#include <cub/block/block_reduce.cuh>\n{kernel}\n'
    ).compilation
    assert (compilation.ok, compilation.findings) == (True, ())

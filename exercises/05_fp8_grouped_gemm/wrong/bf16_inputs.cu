// caught by: correct[small] wrong-values
// Dequantized values are rounded to BF16 before they are multiplied.
#include <cuda_bf16.h>

#include "grader.cuh"

#include <cuda_fp8.h>

__device__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

__device__ float decode(unsigned char code) { return __half2float(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)); }

extern "C" __global__ void fp8_grouped_gemm_kernel(const unsigned char* A_concat, const float* A_scales,
                                                   const unsigned char* B_concat, const float* B_scales,
                                                   unsigned short* C_concat, const int* group_offsets,
                                                   const int* M_sizes, int K, int N, int num_groups) {
    const int group = blockIdx.z, row = blockIdx.y, col = blockIdx.x * 64 + threadIdx.x;
    if (row >= M_sizes[group] || col >= N) return;
    const int blocks = ceil_div(K, 128);
    const size_t at = group_offsets[group] + row;
    const unsigned char* a = A_concat + at * K;
    const unsigned char* b = B_concat + ((size_t)group * N + col) * K;
    const float* scales_a = A_scales + at * blocks;
    const float* scales_b = B_scales + ((size_t)group * ceil_div(N, 128) + col / 128) * blocks;
    float total = 0;
    for (int k = 0; k < K; ++k) {
        const float left = decode(a[k]) * scales_a[k / 128], right = decode(b[k]) * scales_b[k / 128];
        total += __bfloat162float(__float2bfloat16_rn(left)) *
                 __bfloat162float(__float2bfloat16_rn(right));  // <-- here
    }
    C_concat[at * N + col] = __bfloat16_as_ushort(__float2bfloat16_rn(total));
}

extern "C" __global__ void launch_fp8_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                                   Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(ceil_div(N, 64), most_rows, num_groups);
    launch->block = dim3(64);
}

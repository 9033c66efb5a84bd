// A warp per element: lanes take every 32nd k, a shuffle adds each block's sums up.
#include <cuda_bf16.h>

#include "grader.cuh"

#include <cuda_fp8.h>

__device__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

__device__ float decode(unsigned char code) { return __half2float(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)); }

extern "C" __global__ void fp8_grouped_gemm_kernel(const unsigned char* A_concat, const float* A_scales,
                                                   const unsigned char* B_concat, const float* B_scales,
                                                   unsigned short* C_concat, const int* group_offsets,
                                                   const int* M_sizes, int K, int N, int num_groups) {
    const int group = blockIdx.z, row = blockIdx.y, lane = threadIdx.x;
    const int col = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= M_sizes[group] || col >= N) return;
    const int blocks = ceil_div(K, 128);
    const size_t at = group_offsets[group] + row;
    const unsigned char* a = A_concat + at * K;
    const unsigned char* b = B_concat + ((size_t)group * N + col) * K;
    const float* scales_a = A_scales + at * blocks;
    const float* scales_b = B_scales + ((size_t)group * ceil_div(N, 128) + col / 128) * blocks;
    float total = 0;
    for (int block = 0; block < blocks; ++block) {
        float sum = 0;
        for (int k = block * 128 + lane; k < min(K, block * 128 + 128); k += 32)
            sum += decode(a[k]) * decode(b[k]);
        for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(0xffffffff, sum, other);
        total += sum * (scales_a[block] * scales_b[block]);
    }
    if (lane == 0) C_concat[at * N + col] = __bfloat16_as_ushort(__float2bfloat16_rn(total));
}

extern "C" __global__ void launch_fp8_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                                   Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(N / 8, most_rows, num_groups);
    launch->block = dim3(32, 8);
}

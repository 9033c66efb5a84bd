// No tensor cores: 4x4 elements per thread, tiles of FP32 in shared memory, codes decoded with a table of 256
// floats.
#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include "grader.cuh"

constexpr int TILE = 32, STEP = 16;

__device__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

extern "C" __global__ void fp8_grouped_gemm_kernel(const unsigned char* A_concat, const float* A_scales,
                                                   const unsigned char* B_concat, const float* B_scales,
                                                   unsigned short* C_concat, const int* group_offsets,
                                                   const int* M_sizes, int K, int N, int num_groups) {
    __shared__ float table[256], a_tile[STEP][TILE], b_tile[STEP][TILE];
    int group = 0, tile = blockIdx.y;
    while (tile >= ceil_div(M_sizes[group], TILE)) tile -= ceil_div(M_sizes[group++], TILE);
    const int M = M_sizes[group], first_row = tile * TILE, first_col = blockIdx.x * TILE,
              blocks = ceil_div(K, 128);
    const int ty = threadIdx.x / 8 * 4, tx = threadIdx.x % 8 * 4;
    for (int code = threadIdx.x; code < 256; code += blockDim.x)
        table[code] = __half2float(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3));
    __syncthreads();
    const unsigned char* A = A_concat + (size_t)group_offsets[group] * K;
    const unsigned char* B = B_concat + (size_t)group * N * K;
    float total[4][4] = {}, sum[4][4] = {};
    for (int k0 = 0; k0 < K; k0 += STEP) {
        for (int i = threadIdx.x; i < TILE * STEP; i += blockDim.x) {
            const int at = i / STEP, k = i % STEP;
            a_tile[k][at] = first_row + at < M ? table[A[(size_t)(first_row + at) * K + k0 + k]] : 0.0f;
            b_tile[k][at] = first_col + at < N ? table[B[(size_t)(first_col + at) * K + k0 + k]] : 0.0f;
        }
        __syncthreads();
        for (int k = 0; k < STEP; ++k)
            for (int i = 0; i < 4; ++i)
                for (int j = 0; j < 4; ++j) sum[i][j] += a_tile[k][ty + i] * b_tile[k][tx + j];
        __syncthreads();
        if ((k0 + STEP) % 128 != 0 && k0 + STEP < K) continue;
        for (int i = 0; i < 4; ++i)
            for (int j = 0; j < 4; ++j) {
                const int row = min(first_row + ty + i, M - 1), col = min(first_col + tx + j, N - 1);
                total[i][j] += sum[i][j] *
                               A_scales[(size_t)(group_offsets[group] + row) * blocks + k0 / 128] *
                               B_scales[((size_t)group * ceil_div(N, 128) + col / 128) * blocks + k0 / 128];
                sum[i][j] = 0;
            }
    }
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
            if (first_row + ty + i < M && first_col + tx + j < N)
                C_concat[(size_t)(group_offsets[group] + first_row + ty + i) * N + first_col + tx + j] =
                    __bfloat16_as_ushort(__float2bfloat16_rn(total[i][j]));
}

extern "C" __global__ void launch_fp8_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                                   Launch* launch) {
    int tiles = 0;
    for (int g = 0; g < num_groups; ++g) tiles += ceil_div(M_sizes[g], TILE);
    launch->grid = dim3(ceil_div(N, TILE), tiles);
    launch->block = dim3(64);
}

// caught by: compile missing-kernel
// Without extern "C", the compiler mangles the name.
#include "grader.cuh"

#define TILE 32

__global__ void grouped_gemm_kernel(  // <-- here
    const float* A_concat, const float* B_concat, float* C_concat, const int* group_offsets,
    const int* M_sizes, int K, int N, int num_groups) {
    __shared__ float A_tile[TILE][TILE];
    __shared__ float B_tile[TILE][TILE];
    int group = 0, tile = blockIdx.y;
    for (; tile >= (M_sizes[group] + TILE - 1) / TILE; ++group) tile -= (M_sizes[group] + TILE - 1) / TILE;
    const int row = tile * TILE + threadIdx.y, col = blockIdx.x * TILE + threadIdx.x;
    const bool row_ok = row < M_sizes[group], col_ok = col < N;
    const size_t a_row = (size_t)(group_offsets[group] + row) * K;
    const size_t b_col = (size_t)group * K * N + col;
    float sum = 0;
    for (int k0 = 0; k0 < K; k0 += TILE) {
        const int ka = k0 + threadIdx.x, kb = k0 + threadIdx.y;
        A_tile[threadIdx.y][threadIdx.x] = row_ok && ka < K ? A_concat[a_row + ka] : 0.0f;
        B_tile[threadIdx.y][threadIdx.x] = col_ok && kb < K ? B_concat[b_col + (size_t)kb * N] : 0.0f;
        __syncthreads();
#pragma unroll
        for (int k = 0; k < TILE; ++k) sum = fmaf(A_tile[threadIdx.y][k], B_tile[k][threadIdx.x], sum);
        __syncthreads();
    }
    if (row_ok && col_ok) C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum;
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    unsigned int tiles = 0;
    for (int g = 0; g < num_groups; ++g) tiles += (M_sizes[g] + TILE - 1) / TILE;
    launch->grid = dim3((N + TILE - 1) / TILE, tiles);
    launch->block = dim3(TILE, TILE);
}

// caught by: compile compile-error
// A semicolon is missing.
// clang-format off
#include "grader.cuh"

constexpr int TILE = 16;

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ float A_tile[TILE][TILE], B_tile[TILE][TILE];
    const int group = blockIdx.z, M = M_sizes[group];
    if (blockIdx.y * TILE >= M) return;  // the whole block returns, so no thread waits at a barrier
    const int tx = threadIdx.x, ty = threadIdx.y  // <-- here
    const int row = blockIdx.y * TILE + ty, col = blockIdx.x * TILE + tx;
    const float* A = A_concat + (size_t)group_offsets[group] * K;
    const float* B = B_concat + (size_t)group * K * N;
    float sum = 0;
    for (int k0 = 0; k0 < K; k0 += TILE) {
        A_tile[ty][tx] = row < M ? A[(size_t)row * K + k0 + tx] : 0.0f;
        B_tile[ty][tx] = B[(size_t)(k0 + ty) * N + col];
        __syncthreads();
        for (int k = 0; k < TILE; ++k) sum += A_tile[ty][k] * B_tile[k][tx];
        __syncthreads();
    }
    if (row < M) C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum;
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(N / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(TILE, TILE);
}

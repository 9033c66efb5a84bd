// caught by: memory[uniform] race
// Lanes read what other lanes store without a __syncwarp() in between; a warp does not run in lockstep.
#include "grader.cuh"

constexpr int WARPS = 4, ROWS = 8;

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ float slices[WARPS][ROWS][16];
    const int group = blockIdx.z, M = M_sizes[group];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int first_row = (blockIdx.y * WARPS + warp) * ROWS, col = blockIdx.x * 32 + lane;
    if (first_row >= M) return;  // a whole warp returns, and no block barrier follows
    float (&slice)[ROWS][16] = slices[warp];
    const size_t row0 = (size_t)group_offsets[group] + first_row;
    const float* b = B_concat + (size_t)group * K * N + col;
    float sum[ROWS] = {};
    for (int k0 = 0; k0 < K; k0 += 16) {
        for (int i = lane; i < ROWS * 16; i += 32)
            slice[i / 16][i % 16] =
                first_row + i / 16 < M ? A_concat[(row0 + i / 16) * K + k0 + i % 16] : 0.0f;
        if (col < N) {
            for (int k = 0; k < 16; ++k) {
                const float bk = b[(size_t)(k0 + k) * N];
#pragma unroll
                for (int i = 0; i < ROWS; ++i) sum[i] += slice[i][k] * bk;  // <-- here
            }
        }
    }
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
        if (first_row + i < M && col < N) C_concat[(row0 + i) * N + col] = sum[i];
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3((N + 31) / 32, (most_rows + WARPS * ROWS - 1) / (WARPS * ROWS), num_groups);
    launch->block = dim3(WARPS * 32);
}

// caught by: correct[uniform] wrong-values
// B is read as if its shape were (N, K).
#include "grader.cuh"

constexpr int TILE = 32, PAD = 1;

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ float A_tile[TILE][TILE + PAD];  // [k][row]; the padding is never touched
    __shared__ float B_tile[TILE][TILE];
    const int group = blockIdx.z, M = M_sizes[group];
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    if (first_row >= M) return;
    const float* A = A_concat + (size_t)group_offsets[group] * K;
    const float* B = B_concat + (size_t)group * K * N;
    const int tx = threadIdx.x, ty = threadIdx.y;  // 32 x 8 threads, four rows each
    float sum[4] = {0, 0, 0, 0};
    for (int k0 = 0; k0 < K; k0 += TILE) {
        for (int r = ty; r < TILE; r += 8) {
            const bool a_ok = first_row + r < M && k0 + tx < K, b_ok = k0 + r < K && first_col + tx < N;
            A_tile[tx][r] = a_ok ? A[(size_t)(first_row + r) * K + k0 + tx] : 0.0f;
            B_tile[r][tx] = b_ok ? B[(size_t)(first_col + tx) * K + k0 + r] : 0.0f;  // <-- here
        }
        __syncthreads();
        for (int k = 0; k < TILE; ++k) {
            const float b = B_tile[k][tx];
#pragma unroll
            for (int i = 0; i < 4; ++i) sum[i] += A_tile[k][ty * 4 + i] * b;
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; ++i) {
        const int row = first_row + ty * 4 + i, col = first_col + tx;
        if (row < M && col < N) C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum[i];
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3((N + TILE - 1) / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(TILE, 8);
}

// caught by: memory[uniform] collective-mismatch
// The mask names 16 lanes, but 32 make the call.
#include "grader.cuh"

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    constexpr int ROWS = 4;
    const int group = blockIdx.z, M = M_sizes[group];
    const int first_row = (blockIdx.y * blockDim.y + threadIdx.y) * ROWS;
    if (first_row >= M) return;
    const int lane = threadIdx.x, col = blockIdx.x * 32 + lane;
    const float* A = A_concat + (size_t)(group_offsets[group] + first_row) * K;
    const float* b = B_concat + (size_t)group * K * N + col;
    float sum[ROWS] = {};
    for (int k0 = 0; k0 < K; k0 += 16) {
        float a[ROWS];  // both halves of the warp hold the same 16 values
        for (int i = 0; i < ROWS; ++i) a[i] = first_row + i < M ? A[(size_t)i * K + k0 + lane % 16] : 0.0f;
        for (int k = 0; k < 16; ++k) {
            const float bk = col < N ? b[(size_t)(k0 + k) * N] : 0.0f;
            for (int i = 0; i < ROWS; ++i) sum[i] += __shfl_sync(0xffffu, a[i], k, 16) * bk;  // <-- here
        }
    }
    for (int i = 0; i < ROWS; ++i)
        if (first_row + i < M && col < N)
            C_concat[(size_t)(group_offsets[group] + first_row + i) * N + col] = sum[i];
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3((N + 31) / 32, (most_rows + 15) / 16, num_groups);
    launch->block = dim3(32, 4);
}

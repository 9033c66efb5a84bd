// caught by: correct[uniform] wrong-values
// Starts at minus infinity, as a maximum would; a sum starts at 0.
#include "grader.cuh"

constexpr int ROWS = 64, COLS = 32, STEP = 16, EACH = 8, THREADS = ROWS / EACH * COLS;

extern "C" __global__ void __launch_bounds__(THREADS, 3)
    grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                        const int* group_offsets, const int* M_sizes, int K, int N, int num_groups) {
    __shared__ float A_tile[ROWS * STEP], B_tile[STEP * COLS];
    int group = 0, tile = blockIdx.x;
    while (tile >= (M_sizes[group] + ROWS - 1) / ROWS) tile -= (M_sizes[group++] + ROWS - 1) / ROWS;
    const int M = M_sizes[group], first_row = tile * ROWS, first_col = blockIdx.y * COLS;
    const unsigned int t = threadIdx.x, tx = t % COLS, ty = t / COLS;
    const float* A = A_concat + ((size_t)group_offsets[group] + first_row) * K;
    const float* B = B_concat + (size_t)group * K * N + first_col;
    float sum[EACH];
    for (int i = 0; i < EACH; ++i) sum[i] = -__int_as_float(0x7f800000);  // <-- here
    for (int k0 = 0; k0 < K; k0 += STEP) {
#pragma unroll
        for (int i = t; i < ROWS * STEP; i += THREADS)
            A_tile[i] = first_row + i / STEP < M ? A[(size_t)(i / STEP) * K + k0 + i % STEP] : 0.0f;
#pragma unroll
        for (int i = t; i < STEP * COLS; i += THREADS)
            B_tile[i] = first_col + i % COLS < N ? B[(size_t)(k0 + i / COLS) * N + i % COLS] : 0.0f;
        __syncthreads();
#pragma unroll
        for (int k = 0; k < STEP; ++k) {
            const float b = B_tile[k * COLS + tx];
#pragma unroll
            for (int i = 0; i < EACH; ++i) sum[i] += A_tile[(ty * EACH + i) * STEP + k] * b;
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const int row = first_row + ty * EACH + i;
        if (row < M && first_col + tx < N)
            C_concat[(size_t)(group_offsets[group] + row) * N + first_col + tx] = sum[i];
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int tiles = 0;
    for (int g = 0; g < num_groups; ++g) tiles += (M_sizes[g] + ROWS - 1) / ROWS;
    launch->grid = dim3(tiles, (N + COLS - 1) / COLS);
    launch->block = dim3(THREADS);
}

// caught by: memory[imbalanced] race
// The last tile of a group is stored without a row guard, over the first rows of the next group.
#include "grader.cuh"

constexpr int COLS = 16, ROWS = 4, PARTS = 4;

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ float parts[PARTS][ROWS][COLS];
    const int group = blockIdx.z, M = M_sizes[group];
    const int x = threadIdx.x, y = threadIdx.y, z = threadIdx.z;
    const int row = blockIdx.y * ROWS + y, col = blockIdx.x * COLS + x;
    float sum = 0;
    if (row < M) {
        const float* a = A_concat + (size_t)(group_offsets[group] + row) * K;
        const float* b = B_concat + (size_t)group * K * N + col;
        for (int k = z; k < K; k += PARTS) sum += a[k] * b[(size_t)k * N];
    }
    parts[z][y][x] = sum;
    for (int half = PARTS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (z < half) parts[z][y][x] += parts[z + half][y][x];
    }
    if (z == 0 && blockIdx.y * ROWS < M)
        C_concat[(size_t)(group_offsets[group] + row) * N + col] = parts[0][y][x];  // <-- here
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(N / COLS, (most_rows + ROWS - 1) / ROWS, num_groups);
    launch->block = dim3(COLS, ROWS, PARTS);
}

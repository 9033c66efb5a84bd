// caught by: correct[variable] wrong-values
// K is stored in an unsigned char, which holds at most 255.
#include "grader.cuh"

constexpr int TILE = 16;

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ double A_tile[TILE][TILE + 1], B_tile[TILE][TILE + 1];
    const int group = blockIdx.z, M = M_sizes[group];
    if (blockIdx.y * TILE >= M) return;
    const int tx = threadIdx.x, ty = threadIdx.y;
    const int row = blockIdx.y * TILE + ty, col = blockIdx.x * TILE + tx;
    double sum = 0;
    for (int k0 = 0; k0 < (unsigned char)(K - 1); k0 += TILE) {  // <-- here
        A_tile[ty][tx] = row < M ? (double)A_concat[(size_t)(group_offsets[group] + row) * K + k0 + tx] : 0.0;
        B_tile[ty][tx] = B_concat[((size_t)group * K + k0 + ty) * N + col];
        __syncthreads();
        for (int k = 0; k < TILE; ++k) sum = fma(A_tile[ty][k], B_tile[k][tx], sum);
        __syncthreads();
    }
    if (row < M) C_concat[(size_t)(group_offsets[group] + row) * N + col] = (float)sum;
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(N / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(TILE, TILE);
}

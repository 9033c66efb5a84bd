// FP64 tensor cores: a warp computes 8x8 elements of C with mma.m8n8k4 in inline PTX.
#include "grader.cuh"

constexpr int TILE = 8, STEP = 4;

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    const int group = blockIdx.z, M = M_sizes[group], first_row = blockIdx.y * TILE;
    if (first_row >= M) return;
    const int i = threadIdx.x / 4, j = threadIdx.x % 4;  // which row of A or column of B, and which k
    const int row = first_row + i, col = blockIdx.x * TILE + i;
    double c0 = 0, c1 = 0;
    for (int k = j; k < K; k += STEP) {
        const double a = row < M ? A_concat[(size_t)(group_offsets[group] + row) * K + k] : 0.0f;
        const double b = B_concat[((size_t)group * K + k) * N + col];
        asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                     : "+d"(c0), "+d"(c1)
                     : "d"(a), "d"(b));
    }
    float* c = C_concat + (size_t)(group_offsets[group] + row) * N + blockIdx.x * TILE + 2 * j;
    if (row < M) *(float2*)c = make_float2((float)c0, (float)c1);
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(N / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(32);
}

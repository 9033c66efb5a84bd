// caught by: compile wrong-signature
// K and N are 64-bit integers, and num_groups is missing.
#include "grader.cuh"

extern "C" __global__ void grouped_gemm_kernel(  // <-- here
    const float* A_concat, const float* B_concat, float* C_concat, const int* group_offsets,
    const int* M_sizes, long long K, long long N) {
    const int group = blockIdx.z;
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    const int col = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= M_sizes[group] || col >= N) return;
    const float* a = A_concat + (size_t)(group_offsets[group] + row) * K;
    const float* b = B_concat + (size_t)group * K * N + col;
    float sum = 0;
    for (int k = 0; k < K; ++k) sum += a[k] * b[(size_t)k * N];
    C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum;
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3((N + 31) / 32, (most_rows + 7) / 8, num_groups);
    launch->block = dim3(32, 8);
}

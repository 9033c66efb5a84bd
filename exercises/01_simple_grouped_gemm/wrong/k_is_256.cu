// caught by: correct[variable] wrong-values
// The loop hard-codes the K of the first case.
#include "grader.cuh"

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ float a[256];
    const int row = blockIdx.x;
    int low = 0, high = num_groups;  // the last group that starts at or before this row
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (group_offsets[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    for (int k = threadIdx.x; k < 256; k += blockDim.x) a[k] = A_concat[(size_t)row * K + k];
    __syncthreads();
    const float* B = B_concat + (size_t)low * K * N;
    for (int col = threadIdx.x; col < N; col += blockDim.x) {
        float sum = 0;
        for (int k = 0; k < 256; ++k) sum += a[k] * B[(size_t)k * N + col];  // <-- here
        C_concat[(size_t)row * N + col] = sum;
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int rows = 0;
    for (int g = 0; g < num_groups; ++g) rows += M_sizes[g];
    launch->grid = dim3(rows);
    launch->block = dim3(96);
}

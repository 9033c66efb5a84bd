// A sum over K by halves: a device function that calls itself twice, in blocks of 33 threads.
#include "grader.cuh"

constexpr int LEAST = 4;

__device__ float dot(const float* a, const float* b, int stride, int n) {
    if (n > LEAST) {
        const int half = n / 2;
        return dot(a, b, stride, half) + dot(a + half, b + (size_t)half * stride, stride, n - half);
    }
    float sum = 0;
    for (int k = 0; k < n; ++k) sum += a[k] * b[(size_t)k * stride];
    return sum;
}

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    const size_t elements = (size_t)group_offsets[num_groups] * N;
    for (size_t at = blockIdx.x * blockDim.x + threadIdx.x; at < elements; at += gridDim.x * blockDim.x) {
        const int row = at / N, col = at % N;
        int group = 0;
        while (row >= group_offsets[group + 1]) ++group;
        C_concat[at] = dot(A_concat + (size_t)row * K, B_concat + (size_t)group * K * N + col, N, K);
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    launch->grid = dim3(50);
    launch->block = dim3(33);
}

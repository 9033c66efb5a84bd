// caught by: memory[uniform] collective-mismatch
// The mask names all 32 lanes, but only half of them make the call.
#include "grader.cuh"

__device__ float warp_sum(float value) {
    for (int distance = 16; distance > 0; distance /= 2)
        if (threadIdx.x < distance) value += __shfl_down_sync(0xffffffff, value, distance);  // <-- here
    return value;
}

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    const int group = blockIdx.z, lane = threadIdx.x;
    const int row = blockIdx.y, col = (blockIdx.x * blockDim.y + threadIdx.y) * 4;
    if (row >= M_sizes[group] || col >= N) return;  // a whole warp returns, and no barrier follows
    const float* a = A_concat + (size_t)(group_offsets[group] + row) * K;
    const float* b = B_concat + (size_t)group * K * N + col;
    float4 sum = {0, 0, 0, 0};
    for (int k = lane; k < K; k += 32) {
        const float4 bk = *(const float4*)&b[(size_t)k * N];
        sum.x += a[k] * bk.x, sum.y += a[k] * bk.y, sum.z += a[k] * bk.z, sum.w += a[k] * bk.w;
    }
    sum = {warp_sum(sum.x), warp_sum(sum.y), warp_sum(sum.z), warp_sum(sum.w)};
    if (lane == 0) *(float4*)&C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum;
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3((N + 31) / 32, most_rows, num_groups);
    launch->block = dim3(32, 8);
}

// Each warp takes one block of 128 along K and adds to FP32 totals in the workspace; the last one rounds to
// BF16.
#include <cuda_bf16.h>

#include "grader.cuh"

__device__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

__device__ void multiply(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ unsigned four(const unsigned char* matrix, int row, int rows, int k, int K) {
    if (row >= rows || k >= K) return 0;
    return *(const unsigned*)&matrix[(size_t)row * K + k];
}

extern "C" __global__ void fp8_grouped_gemm_kernel(const unsigned char* A_concat, const float* A_scales,
                                                   const unsigned char* B_concat, const float* B_scales,
                                                   unsigned short* C_concat, const int* group_offsets,
                                                   const int* M_sizes, int K, int N, int num_groups,
                                                   void* workspace) {
    const int group = blockIdx.z / ceil_div(K, 128), lane = threadIdx.x, M = M_sizes[group];
    const int first_row = blockIdx.y * 16, first_col = blockIdx.x * 8;
    if (first_row >= M) return;
    const int blocks = ceil_div(K, 128), block_col = first_col / 128;
    const unsigned char* A = A_concat + (size_t)group_offsets[group] * K;
    const unsigned char* B = B_concat + (size_t)group * N * K;
    const float* scales_a = A_scales + (size_t)group_offsets[group] * blocks;
    const float* scales_b = B_scales + (size_t)group * ceil_div(N, 128) * blocks;
    unsigned short* C = C_concat + (size_t)group_offsets[group] * N;
    float* totals = static_cast<float*>(workspace);
    unsigned* done = reinterpret_cast<unsigned*>(totals + (size_t)group_offsets[num_groups] * N);
    {
        const int block = blockIdx.z % blocks;
        float sum[4] = {};
        const int end = min(K, block * 128 + 128);
        for (int k = block * 128; k < end; k += 32) {
            unsigned a[4], b[2];
            for (int i = 0; i < 4; ++i)
                a[i] = four(A, first_row + lane / 4 + i % 2 * 8, M, k + lane % 4 * 4 + i / 2 * 16, K);
            for (int i = 0; i < 2; ++i) b[i] = four(B, first_col + lane / 4, N, k + lane % 4 * 4 + i * 16, K);
            multiply(sum, a, b);
        }
        for (int i = 0; i < 4; ++i) {
            const int row = min(first_row + lane / 4 + i / 2 * 8, M - 1);
            const float scale_a = scales_a[(size_t)row * blocks + block];
            const float scale_b = scales_b[block_col * blocks + block];
            if (first_row + lane / 4 + i / 2 * 8 >= M) continue;
            const int col = first_col + lane % 4 * 2 + i % 2;
            atomicAdd(&totals[(size_t)(group_offsets[group] + row) * N + col], sum[i] * scale_a * scale_b);
        }
    }
    __threadfence();
    __syncwarp();
    unsigned ticket = 0;
    if (lane == 0)
        ticket = atomicAdd(&done[((size_t)group * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x], 1u);
    ticket = __shfl_sync(0xffffffff, ticket, 0);
    __syncwarp();  // a shuffle alone does not order what the other lanes read after lane 0's ticket
    if (ticket + 1 < blocks) return;
    __threadfence();
    for (int i = 0; i < 4; ++i) {
        const int row = first_row + lane / 4 + i / 2 * 8, col = first_col + lane % 4 * 2 + i % 2;
        if (row >= M) continue;
        const float total = __ldcg(&totals[(size_t)(group_offsets[group] + row) * N + col]);
        C[(size_t)row * N + col] = __bfloat16_as_ushort(__float2bfloat16_rn(total));
    }
}

extern "C" __global__ void launch_fp8_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                                   Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    int rows = 0;
    for (int g = 0; g < num_groups; ++g) rows += M_sizes[g];
    launch->grid = dim3(N / 8, ceil_div(most_rows, 16), num_groups * ceil_div(K, 128));
    launch->workspace_bytes = 4ull * rows * N + 4ull * (N / 8) * ceil_div(most_rows, 16) * num_groups;
    launch->block = dim3(32);
}

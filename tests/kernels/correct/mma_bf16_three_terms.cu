// BF16 tensor cores at FP32 precision: each input is the sum of three BF16 numbers, and six of the nine
// products count.
#include <cuda_bf16.h>

#include "grader.cuh"

constexpr int TILE = 16, STEP = 16, TERMS = 3, PITCH = STEP + 8;

__device__ void load_a(unsigned int (&a)[4], const __nv_bfloat16* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"((unsigned int)__cvta_generic_to_shared(row))
                 : "memory");
}

// B lies row by row and mma wants its columns: .trans.
__device__ void load_b(unsigned int (&b)[2], const __nv_bfloat16* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(b[0]), "=r"(b[1])
                 : "r"((unsigned int)__cvta_generic_to_shared(row))
                 : "memory");
}

__device__ void mma(float (&sum)[4], const unsigned int (&a)[4], const unsigned int (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// One warp, one 16x16 tile: two products of 16x8.
extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ __align__(16) __nv_bfloat16 A_tile[TERMS][TILE][PITCH], B_tile[TERMS][STEP][PITCH];
    const int group = blockIdx.z, M = M_sizes[group], lane = threadIdx.x;
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    if (first_row >= M) return;
    const float* A = A_concat + (size_t)(group_offsets[group] + first_row) * K;
    const float* B = B_concat + (size_t)group * K * N + first_col;

    float sum[2][4] = {};
    for (int k0 = 0; k0 < K; k0 += STEP) {
        for (int i = lane; i < TILE * STEP; i += 32) {
            const int row = i / STEP, col = i % STEP;
            float a = first_row + row < M ? A[(size_t)row * K + k0 + col] : 0.0f;
            float b = B[(size_t)(k0 + row) * N + col];
            for (int term = 0; term < TERMS; ++term) {
                const __nv_bfloat16 a_part = __float2bfloat16(a), b_part = __float2bfloat16(b);
                A_tile[term][row][col] = a_part;
                B_tile[term][row][col] = b_part;
                a -= __bfloat162float(a_part);
                b -= __bfloat162float(b_part);
            }
        }
        __syncwarp();
        unsigned int a[TERMS][4];
        for (int term = 0; term < TERMS; ++term) load_a(a[term], &A_tile[term][lane % 16][lane / 16 * 8]);
        for (int j = 0; j < 2; ++j) {
            unsigned int b[TERMS][2];
            for (int term = 0; term < TERMS; ++term) load_b(b[term], &B_tile[term][lane % 16][8 * j]);
            float part[4] = {};
            mma(part, a[2], b[0]);  // the small ones first
            mma(part, a[1], b[1]);
            mma(part, a[0], b[2]);
            mma(part, a[1], b[0]);
            mma(part, a[0], b[1]);
            mma(part, a[0], b[0]);
            for (int i = 0; i < 4; ++i) sum[j][i] += part[i];
        }
        __syncwarp();
    }
    for (int j = 0; j < 2; ++j)
        for (int i = 0; i < 4; ++i) {
            const int row = first_row + lane / 4 + i / 2 * 8, col = first_col + 8 * j + lane % 4 * 2 + i % 2;
            if (row < M) C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum[j][i];
        }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(N / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(32);
}

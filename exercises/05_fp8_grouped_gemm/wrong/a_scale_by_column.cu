// caught by: correct[small] wrong-values
// Even columns get A's scales of rows 0 to 7 of each 16, odd columns those of rows 8 to 15.
#include <cuda_bf16.h>

#include "grader.cuh"

constexpr int TILE_M = 16, TILE_N = 8;  // each block is one warp and computes a 16 x 8 tile of C
constexpr int STEP = 32;                // products that one mma.sync sums, along K
constexpr int SCALE_BLOCK = 128;        // elements that share a scale, along K (A and B) and along N (B)

__device__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

// sum (16x8) += A (16x32) @ B (32x8) on a tensor core, by all lanes of the warp together. problem.md shows
// which elements each lane holds. This is complete.
__device__ void multiply(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four neighbouring E4M3 numbers of one row, from column k on; zeros outside of the matrix.
__device__ unsigned four(const unsigned char* matrix, int row, int rows, int k, int K) {
    if (row >= rows || k >= K) return 0;
    return *(const unsigned*)&matrix[(size_t)row * K + k];
}

// C[g] = A[g] @ B[g]^T for every group g, both with their scales.
//
//     blockIdx.z   which group
//     blockIdx.y   which tile along its rows
//     blockIdx.x   which tile along its columns
extern "C" __global__ void fp8_grouped_gemm_kernel(const unsigned char* A_concat, const float* A_scales,
                                                   const unsigned char* B_concat, const float* B_scales,
                                                   unsigned short* C_concat, const int* group_offsets,
                                                   const int* M_sizes, int K, int N, int num_groups) {
    const int group = blockIdx.z, lane = threadIdx.x;
    const int M = M_sizes[group];
    const int first_row = blockIdx.y * TILE_M, first_col = blockIdx.x * TILE_N;

    // The grid is sized for the largest group. Here a whole warp returns together, so none of its lanes is
    // missing when the others multiply.
    if (first_row >= M) return;

    const unsigned char* A = A_concat + (size_t)group_offsets[group] * K;
    const unsigned char* B = B_concat + (size_t)group * N * K;
    const int blocks = ceil_div(K, SCALE_BLOCK);
    const float* a_scales = A_scales + (size_t)group_offsets[group] * blocks;
    const float* b_scales = B_scales + (size_t)group * ceil_div(N, SCALE_BLOCK) * blocks;
    unsigned short* C = C_concat + (size_t)group_offsets[group] * N;

    float total[4] = {};  // rows lane / 4 and lane / 4 + 8, two neighbouring columns each
    for (int block = 0; block < blocks; ++block) {
        float sum[4] = {};  // the products of this block of 128 along K, without scales
        const int end = min(K, (block + 1) * SCALE_BLOCK);
        for (int k = block * SCALE_BLOCK; k < end; k += STEP) {
            unsigned a[4], b[2];
            for (int i = 0; i < 4; ++i)
                a[i] = four(A, first_row + lane / 4 + i % 2 * 8, M, k + lane % 4 * 4 + (i < 2 ? 0 : 16), K);
            for (int i = 0; i < 2; ++i) b[i] = four(B, first_col + lane / 4, N, k + lane % 4 * 4 + 16 * i, K);
            multiply(sum, a, b);
        }
        const float b_scale = b_scales[(first_col / SCALE_BLOCK) * blocks + block];
        for (int i = 0; i < 4; ++i) {
            const int row = first_row + lane / 4 + i % 2 * 8;  // <-- here
            if (row < M) total[i] += sum[i] * a_scales[(size_t)row * blocks + block] * b_scale;
        }
    }

    for (int i = 0; i < 4; ++i) {
        const int row = first_row + lane / 4 + i / 2 * 8, col = first_col + lane % 4 * 2 + i % 2;
        // The group's last row is followed by the next group's first row: what is no row of this group must
        // not be written.
        if (row < M) C[(size_t)row * N + col] = __bfloat16_as_ushort(__float2bfloat16_rn(total[i]));
    }
}

// Runs once, on a single thread, before the kernel and decides how it is launched. It suits the kernel above.
// Once the kernel is correct, make it fast: see the hints in problem.md.
extern "C" __global__ void launch_fp8_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                                   Launch* launch) {
    int most_rows = 0;
    for (int group = 0; group < num_groups; ++group) most_rows = max(most_rows, M_sizes[group]);
    launch->grid = dim3(N / TILE_N, ceil_div(most_rows, TILE_M), num_groups);
    launch->block = dim3(32);
}

// Exercise 01: grouped GEMM. Read problem.md, then do the four TODOs below, from top to bottom.
//
//     grade run 1
//
// grades this file. Run it after every step. The file compiles and launches as it is; every element of C is
// still 0.
#include "grader.cuh"

constexpr int TILE = 16;  // each block computes a TILE x TILE tile of C, one element per thread

// C[g] = A[g] @ B[g] for every group g.
//
//     blockIdx.z   which group                    threadIdx.y   which row of the tile
//     blockIdx.y   which tile along its rows      threadIdx.x   which column of the tile
//     blockIdx.x   which tile along its columns
extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ float A_tile[TILE][TILE];  // TILE rows of A, TILE steps along K
    __shared__ float B_tile[TILE][TILE];  // the same steps along K, TILE columns of B

    const int group = blockIdx.z;
    const int M = M_sizes[group];

    // The grid is sized for the largest group, so smaller groups have blocks without any rows. Such a block
    // may return here, because all its threads return together. A single thread must not. Why not? See
    // TODO 3.
    if (blockIdx.y * TILE >= M) return;

    const int tx = threadIdx.x, ty = threadIdx.y;
    const int row = blockIdx.y * TILE + ty;  // within the group; in the last tile it can be M or more
    const int col = blockIdx.x * TILE + tx;  // always less than N, because N is a multiple of 16

    // TODO 1: find this group's A and B, as is done for C here. A row of A has K elements. B_concat holds one
    // matrix of K * N elements for each group.
    float* C = C_concat + (size_t)group_offsets[group] * N;

    float sum = 0.0f;
    for (int k0 = 0; k0 < K; k0 += TILE) {
        // TODO 2: each thread loads one element of each tile:
        //     A_tile[ty][tx]: A at (row, k0 + tx), or 0 if `row` is not a row of this group
        //     B_tile[ty][tx]: B at (k0 + ty, col)
        A_tile[ty][tx] = 0.0f;
        B_tile[ty][tx] = 0.0f;

        // TODO 3: no thread may read the tiles until all threads have filled them, and no thread may refill
        // them until all threads have read them. What is missing here, and at the end of the loop?

        // TODO 4: multiply row ty of A_tile by column tx of B_tile. This line adds only one of TILE products.
        sum += A_tile[ty][tx] * B_tile[ty][tx];
    }

    // The group's last row is followed by the next group's first row: a thread without a row must not write.
    if (row < M) C[(size_t)row * N + col] = sum;
}

// Runs once, on a single thread, before the kernel and decides how it is launched. It suits the kernel above.
// Once the kernel is correct, start here to make it fast: see the hints in problem.md.
extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int group = 0; group < num_groups; ++group) most_rows = max(most_rows, M_sizes[group]);
    launch->grid = dim3(N / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(TILE, TILE);
}

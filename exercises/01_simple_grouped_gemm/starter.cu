// Exercise 01: grouped GEMM. Read problem.md, then do the four TODOs below, from top to bottom.
//
//     grade run 1
//
// grades this file; run it after every step. As it stands the file compiles and launches, and every element
// of C comes out as 0.
#include "grader.cuh"

constexpr int TILE = 16;  // a block computes a TILE x TILE tile of C, each thread one element of it

// C[g] = A[g] @ B[g] for every group g.
//
//     blockIdx.z   which group                    threadIdx.y   which row of the tile
//     blockIdx.y   which tile of its rows         threadIdx.x   which column of the tile
//     blockIdx.x   which tile of its columns
extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ float A_tile[TILE][TILE];  // TILE rows of A, for a piece of K
    __shared__ float B_tile[TILE][TILE];  // the same piece of K, for TILE columns of B

    const int group = blockIdx.z;
    const int M = M_sizes[group];

    // The grid is as tall as the largest group needs, so shorter groups have blocks without a single row.
    // Such a block may leave: all its threads go together. One thread alone must not leave here. Why? See
    // TODO 3.
    if (blockIdx.y * TILE >= M) return;

    const int tx = threadIdx.x, ty = threadIdx.y;
    const int row = blockIdx.y * TILE + ty;  // within the group; in its last tile this can be M or more
    const int col = blockIdx.x * TILE + tx;  // always a column of C, because N is a multiple of 16

    // TODO 1: find this group's A and B, the way C is found here. A row of A has K elements; B is the matrix
    // number `group`, and each of these matrices has K * N elements.
    float* C = C_concat + (size_t)group_offsets[group] * N;

    float sum = 0.0f;
    for (int k0 = 0; k0 < K; k0 += TILE) {
        // TODO 2: each thread loads one element of each tile:
        //     A_tile[ty][tx]: A at (row, k0 + tx), or 0 where `row` is no row of this group,
        //     B_tile[ty][tx]: B at (k0 + ty, col).
        A_tile[ty][tx] = 0.0f;
        B_tile[ty][tx] = 0.0f;

        // TODO 3: nobody may read the tiles before everybody has filled them, and nobody may fill them again
        // before everybody has read them. What is missing here, and at the end of the loop?

        // TODO 4: the products of row ty of A_tile and column tx of B_tile. This line adds one of the TILE.
        sum += A_tile[ty][tx] * B_tile[ty][tx];
    }

    // Below the group's last row lies the next group's first: a thread without a row must not write.
    if (row < M) C[(size_t)row * N + col] = sum;
}

// Runs once, on one thread, before the kernel: says how to launch it. This one is right for the kernel above.
// Once the kernel is correct, this is where making it fast begins: problem.md says how.
extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int group = 0; group < num_groups; ++group) most_rows = max(most_rows, M_sizes[group]);
    launch->grid = dim3(N / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(TILE, TILE);
}

// Exercise 04: balanced grouped GEMM. Read problem.md, then do the five TODOs below, from top to bottom.
//
//     grade run 4
//
// grades this file. Run it after every step. As it is, the file compiles and launches; each block multiplies
// one tile of group 0 and stops, so most of C is missing.
#include "grader.cuh"

constexpr int TILE = 32;  // a tile of C has TILE x TILE elements
constexpr int STEP = 16;  // along K
constexpr int SIDE = 16;  // a block has SIDE x SIDE threads; each computes 2 x 2 elements of the tile

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Multiplies one tile; correct as it is. A, B and C are those of one group, which has M rows. All threads of
// the block call it together. It contains barriers, and nobody reads the shared tiles after the last of them.
__device__ void multiply_tile(const float* A, const float* B, float* C, int M, int K, int N, int first_row,
                              int first_col) {
    __shared__ float A_tile[TILE][STEP + 1], B_tile[STEP][TILE];
    const int tx = threadIdx.x, ty = threadIdx.y;
    float sum[2][2] = {};
    for (int k0 = 0; k0 < K; k0 += STEP) {
        for (int half = 0; half < 2; ++half) {
            const int row = first_row + ty + half * SIDE, col = first_col + tx + half * SIDE;
            A_tile[ty + half * SIDE][tx] = row < M ? A[(size_t)row * K + k0 + tx] : 0.0f;
            B_tile[ty][tx + half * SIDE] = col < N ? B[(size_t)(k0 + ty) * N + col] : 0.0f;
        }
        __syncthreads();
        for (int k = 0; k < STEP; ++k) {
            for (int i = 0; i < 2; ++i) {
                for (int j = 0; j < 2; ++j) {
                    sum[i][j] += A_tile[ty + i * SIDE][k] * B_tile[k][tx + j * SIDE];
                }
            }
        }
        __syncthreads();
    }
    for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 2; ++j) {
            const int row = first_row + ty + i * SIDE, col = first_col + tx + j * SIDE;
            if (row < M && col < N) C[(size_t)row * N + col] = sum[i][j];
        }
    }
}

// C[g] = A[g] @ B[g] for every group g, by persistent blocks: each computes tiles until none is left.
extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups, void* workspace) {
    int* counter = (int*)workspace;  // 0 when the kernel starts
    const int column_tiles = ceil_div(N, TILE);

    // TODO 1: count the tiles of all groups: `column_tiles` for each row tile, and a group of M rows has
    // ceil_div(M, TILE) row tiles. This counts only those of group 0.
    const int tiles = ceil_div(M_sizes[0], TILE) * column_tiles;

    // TODO 2: let the block go on until `index` is not a tile any more. Do this together with TODO 4, or with
    // index += gridDim.x in its place; otherwise, the loop never ends.
    int index = blockIdx.x;
    if (index < tiles) {
        // TODO 3: find the group to which row tile `row_tile` of the list belongs, and subtract the row tiles
        // of the groups before it. A group can be empty. All threads of the block must find the same group.
        const int group = 0;
        const int row_tile = index / column_tiles;

        const float* A = A_concat + (size_t)group_offsets[group] * K;
        const float* B = B_concat + (size_t)group * K * N;
        float* C = C_concat + (size_t)group_offsets[group] * N;
        multiply_tile(A, B, C, M_sizes[group], K, N, row_tile * TILE, index % column_tiles * TILE);

        // TODO 4: get the next tile. One thread of the block asks, atomicAdd(counter, 1), and tells the
        // others through shared memory. The blocks began with tiles of their own: with which number must the
        // counter continue? Where do you need barriers, and why two of them?
        (void)counter;
    }
}

// Runs once, on a single thread, before the kernel and decides how it is launched.
extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    // TODO 5: once the kernel is correct, try more blocks. How many fit on a multiprocessor at once?
    launch->grid = dim3(launch->sm_count);
    launch->block = dim3(SIDE, SIDE);
    launch->workspace_bytes = sizeof(int);  // zeroed before every launch of the kernel
}

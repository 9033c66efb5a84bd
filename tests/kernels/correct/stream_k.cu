// Stream-K: the steps of all tiles form one line, cut evenly. A block takes over the sum of the block before
// it, which raises a flag for that behind a fence, and goes on from there.
#include "grader.cuh"

constexpr int TILE = 16;

__device__ __host__ constexpr int tiles_of(int rows) { return (rows + TILE - 1) / TILE; }

// Workspace: a tile of sums for each block, then a flag for each; all arrive as zero.
extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups, void* workspace) {
    __shared__ float A_tile[TILE][TILE], B_tile[TILE][TILE];
    const int tx = threadIdx.x, ty = threadIdx.y, block = blockIdx.x;
    const int steps = K / TILE, columns = N / TILE;
    int tiles = 0;
    for (int g = 0; g < num_groups; ++g) tiles += tiles_of(M_sizes[g]) * columns;
    const long long all = (long long)tiles * steps;
    const long long end = all * (block + 1) / gridDim.x;
    float* sums = (float*)workspace + ty * TILE + tx;
    volatile int* flags = (volatile int*)((float*)workspace + (size_t)gridDim.x * TILE * TILE);

    for (long long at = all * block / gridDim.x; at < end;) {
        const int first = at % steps, last = min((long long)steps, first + end - at);
        int group = 0, tile = at / steps / columns;
        while (tile >= tiles_of(M_sizes[group])) tile -= tiles_of(M_sizes[group++]);
        const int M = M_sizes[group], row = tile * TILE + ty, col = at / steps % columns * TILE + tx;
        float sum = 0;
        for (int k0 = first * TILE; k0 < last * TILE; k0 += TILE) {
            A_tile[ty][tx] =
                row < M ? A_concat[(size_t)(group_offsets[group] + row) * K + k0 + tx] : 0.0f;
            B_tile[ty][tx] = B_concat[((size_t)group * K + k0 + ty) * N + col];
            __syncthreads();
            for (int k = 0; k < TILE; ++k) sum += A_tile[ty][k] * B_tile[k][tx];
            __syncthreads();
        }
        if (first > 0) {  // the block before has begun this tile
            if (tx + ty == 0) {
                while (flags[block - 1] == 0) __nanosleep(20);
                __threadfence();
            }
            __syncthreads();
            sum += __ldcg(&sums[(size_t)(block - 1) * TILE * TILE]);
        }
        if (last == steps) {
            if (row < M) C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum;
        } else {
            sums[(size_t)block * TILE * TILE] = sum;
            __threadfence();
            __syncthreads();
            if (tx + ty == 0) flags[block] = 1;
        }
        at += last - first;
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int tiles = 0;
    for (int g = 0; g < num_groups; ++g) tiles += tiles_of(M_sizes[g]) * (N / TILE);
    launch->grid = dim3(min(launch->sm_count, tiles * (K / TILE)));  // a block without a step raises no flag
    launch->block = dim3(TILE, TILE);
    launch->workspace_bytes = launch->grid.x * (TILE * TILE * sizeof(float) + sizeof(int));
}

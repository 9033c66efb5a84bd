// One thread prepares the groups' tile counts in dynamic shared memory; the others read them after a barrier.
#include "grader.cuh"

constexpr int TILE = 16;

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    extern __shared__ __align__(16) unsigned char memory[];  // A tile, B tile, then num_groups + 1 ints
    float* A_tile = reinterpret_cast<float*>(memory);
    float* B_tile = A_tile + TILE * TILE;
    int* first_tile = reinterpret_cast<int*>(B_tile + TILE * TILE);
    const int t = threadIdx.x, tx = t & 15, ty = t >> 4;
    if (t == 0) {
        first_tile[0] = 0;
        for (int g = 0; g < num_groups; ++g)
            first_tile[g + 1] = first_tile[g] + (M_sizes[g] + TILE - 1) / TILE;
    }
    __syncthreads();
    int group = 0;
    while ((int)blockIdx.y >= first_tile[group + 1]) ++group;
    const int row = (blockIdx.y - first_tile[group]) * TILE + ty, col = blockIdx.x * TILE + tx;
    const bool inside = row < M_sizes[group];
    float sum = 0;
    for (int k0 = 0; k0 < K; k0 += TILE) {
        A_tile[t] = inside ? A_concat[(size_t)(group_offsets[group] + row) * K + k0 + tx] : 0.0f;
        B_tile[t] = B_concat[((size_t)group * K + k0 + ty) * N + col];
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < TILE; ++k) sum += A_tile[ty << 4 | k] * B_tile[k << 4 | tx];
        __syncthreads();
    }
    if (inside) C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum;
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int tiles = 0;
    for (int g = 0; g < num_groups; ++g) tiles += (M_sizes[g] + TILE - 1) / TILE;
    launch->grid = dim3(N / TILE, tiles);
    launch->block = dim3(TILE * TILE);
    launch->shared_bytes = 2 * TILE * TILE * sizeof(float) + (num_groups + 1) * sizeof(int);
}

// caught by: correct[uniform] wrong-values
// Three blocks share a tile, each with a third of K; the last to finish adds up only two of the three parts.
#include "grader.cuh"

constexpr int TILE = 16, PARTS = 3;

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups, void* workspace) {
    __shared__ float A_tile[TILE][TILE], B_tile[TILE][TILE];
    __shared__ bool last;
    int group = 0, tile = blockIdx.y;
    while (tile >= (M_sizes[group] + TILE - 1) / TILE) tile -= (M_sizes[group++] + TILE - 1) / TILE;
    const int M = M_sizes[group], tx = threadIdx.x, ty = threadIdx.y;
    const int row = tile * TILE + ty, col = blockIdx.x * TILE + tx;
    const float* A = A_concat + (size_t)group_offsets[group] * K;
    const float* B = B_concat + (size_t)group * K * N;

    const int steps = K / TILE, part = blockIdx.z;
    float sum = 0;
    for (int step = steps * part / PARTS; step < steps * (part + 1) / PARTS; ++step) {
        A_tile[ty][tx] = row < M ? A[(size_t)row * K + step * TILE + tx] : 0.0f;
        B_tile[ty][tx] = B[(size_t)(step * TILE + ty) * N + col];
        __syncthreads();
        for (int k = 0; k < TILE; ++k) sum += A_tile[ty][k] * B_tile[k][tx];
        __syncthreads();
    }

    const size_t own = blockIdx.y * (size_t)gridDim.x + blockIdx.x, tiles = (size_t)gridDim.x * gridDim.y;
    unsigned* finished = static_cast<unsigned*>(workspace) + own;
    float* sums = static_cast<float*>(workspace) + tiles + own * PARTS * TILE * TILE;
    const int here = ty * TILE + tx;
    sums[part * TILE * TILE + here] = sum;
    __threadfence();  // the part is there before it is counted
    __syncthreads();
    if (tx == 0 && ty == 0) {
        last = atomicAdd(finished, 1u) == PARTS - 1;
        __threadfence();  // and is looked at after it was counted
    }
    __syncthreads();
    if (!last || row >= M) return;
    float total = 0;
    for (int other = 0; other < PARTS - 1; ++other)  // <-- here
        total += __ldcg(sums + other * TILE * TILE + here);
    C_concat[(size_t)(group_offsets[group] + row) * N + col] = total;
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int tiles = 0;
    for (int g = 0; g < num_groups; ++g) tiles += (M_sizes[g] + TILE - 1) / TILE;
    launch->grid = dim3(N / TILE, tiles, PARTS);
    launch->block = dim3(TILE, TILE);
    launch->workspace_bytes = sizeof(float) * (size_t)(N / TILE) * tiles * (1 + PARTS * TILE * TILE);
}

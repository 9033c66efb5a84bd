// caught by: correct[variable] wrong-values
// The sum is not reset between a block's first and second tile.
#include "grader.cuh"

constexpr int ROWS = 16, COLS = 64;

extern "C" __global__ void __launch_bounds__(256, 2)
    grouped_gemm_kernel(const float* __restrict__ A_concat, const float* __restrict__ B_concat,
                        float* __restrict__ C_concat, const int* __restrict__ group_offsets,
                        const int* __restrict__ M_sizes, int K, int N, int num_groups) {
    __shared__ float A_tile[ROWS][16];
    __shared__ __align__(16) float B_tile[16][COLS];
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    const int columns = (N + COLS - 1) / COLS;
    int group = 0, before = 0;  // tiles of the groups before `group`
    float4 sum = {};            // <-- here
    for (int tile = blockIdx.x;; tile += gridDim.x) {
        while (group < num_groups && tile >= before + (M_sizes[group] + ROWS - 1) / ROWS * columns)
            before += (M_sizes[group++] + ROWS - 1) / ROWS * columns;
        if (group == num_groups) return;
        const int row = (tile - before) / columns * ROWS + ty;
        const int col = (tile - before) % columns * COLS + 4 * tx;
        const bool row_ok = row < M_sizes[group], col_ok = col < N;
        const float* a = A_concat + (size_t)(group_offsets[group] + row) * K + tx;
        const float* b = B_concat + ((size_t)group * K + ty) * N + col;
        for (int k0 = 0; k0 < K; k0 += 16) {
            A_tile[ty][tx] = row_ok ? __ldg(a + k0) : 0.0f;
            *(float4*)&B_tile[ty][4 * tx] = col_ok ? __ldg((const float4*)(b + (size_t)k0 * N)) : float4{};
            __syncthreads();
            for (int k = 0; k < 16; ++k) {
                const float x = A_tile[ty][k];
                const float4 y = *(const float4*)&B_tile[k][4 * tx];
                sum.x += x * y.x, sum.y += x * y.y, sum.z += x * y.z, sum.w += x * y.w;
            }
            __syncthreads();
        }
        if (row_ok && col_ok) *(float4*)&C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum;
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    launch->grid.x = launch->sm_count;
    launch->grid.y = launch->grid.z = 1;
    launch->block.x = 256;
    launch->block.y = launch->block.z = 1;
}

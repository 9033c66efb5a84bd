// caught by: correct[uniform] wrong-values
// The tile of B is stored transposed but read as if it were not.
#include "grader.cuh"

constexpr int TILE = 16;

__device__ float multiply(const float (*a)[TILE], const float (*b)[TILE]) {
    float sum = 0;
    for (int k = 0; k < TILE; ++k) sum += a[threadIdx.y][k] * b[k][threadIdx.x];
    return sum;
}

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ float A_tile[TILE][TILE], B_tile[TILE][TILE];
    const int group = blockIdx.z, left = M_sizes[group] - (int)blockIdx.y * TILE;  // rows from this tile on
    if (left <= 0) return;
    const int tx = threadIdx.x, ty = threadIdx.y;
    const size_t row = (size_t)group_offsets[group] + blockIdx.y * TILE + ty;
    const int col = blockIdx.x * TILE + tx;
    const float* b = B_concat + ((size_t)group * K + ty) * N + col;
    float sum = 0;
    if (left >= TILE) {
        for (int k0 = 0; k0 < K; k0 += TILE) {
            A_tile[ty][tx] = A_concat[row * K + k0 + tx];
            B_tile[tx][ty] = b[(size_t)k0 * N];  // <-- here
            __syncthreads();
            sum += multiply(A_tile, B_tile);
            __syncthreads();
        }
        C_concat[row * N + col] = sum;
    } else {
        for (int k0 = 0; k0 < K; k0 += TILE) {
            A_tile[ty][tx] = ty < left ? A_concat[row * K + k0 + tx] : 0.0f;
            B_tile[ty][tx] = b[(size_t)k0 * N];
            __syncthreads();
            if (ty < left) sum += multiply(A_tile, B_tile);
            __syncthreads();
        }
        if (ty < left) C_concat[row * N + col] = sum;
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(N / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(TILE, TILE);
}

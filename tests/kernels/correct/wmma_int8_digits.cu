// INT8 tensor cores: a number in [-1, 1] is three digits of base 128, and sums of their products are exact.
#include <mma.h>

#include "grader.cuh"

using namespace nvcuda;

constexpr int TILE = 16, DIGITS = 3;
using FragmentA = wmma::fragment<wmma::matrix_a, TILE, TILE, TILE, signed char, wmma::row_major>;
using FragmentB = wmma::fragment<wmma::matrix_b, TILE, TILE, TILE, signed char, wmma::row_major>;
using Sum = wmma::fragment<wmma::accumulator, TILE, TILE, TILE, int>;

// x = d[0] / 64 + d[1] / 64 / 128 + d[2] / 64 / 128 / 128
__device__ void digits(signed char (&tiles)[DIGITS][TILE * TILE], int i, float x) {
    x *= 64.0f;
    for (int d = 0; d < DIGITS; ++d) {
        const int digit = __float2int_rn(x);
        tiles[d][i] = (signed char)digit;
        x = (x - digit) * 128.0f;
    }
}

// One warp, one 16x16 tile.
extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ __align__(32) signed char A_tile[DIGITS][TILE * TILE], B_tile[DIGITS][TILE * TILE];
    __shared__ __align__(32) int C_tile[TILE * TILE];
    const int group = blockIdx.z, M = M_sizes[group], lane = threadIdx.x;
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    if (first_row >= M) return;
    const float* A = A_concat + (size_t)(group_offsets[group] + first_row) * K;
    const float* B = B_concat + (size_t)group * K * N + first_col;

    Sum sums[DIGITS];  // of the products of digits i and j, by i + j
    for (int d = 0; d < DIGITS; ++d) wmma::fill_fragment(sums[d], 0);
    for (int k0 = 0; k0 < K; k0 += TILE) {
        for (int i = lane; i < TILE * TILE; i += 32) {
            const int row = i / TILE, col = i % TILE;
            digits(A_tile, i, first_row + row < M ? A[(size_t)row * K + k0 + col] : 0.0f);
            digits(B_tile, i, B[(size_t)(k0 + row) * N + col]);
        }
        __syncwarp();
        FragmentB b[DIGITS];
        for (int d = 0; d < DIGITS; ++d) wmma::load_matrix_sync(b[d], B_tile[d], TILE);
        for (int i = 0; i < DIGITS; ++i) {
            FragmentA a;
            wmma::load_matrix_sync(a, A_tile[i], TILE);
            for (int j = 0; i + j < DIGITS; ++j) wmma::mma_sync(sums[i + j], a, b[j], sums[i + j]);
        }
        __syncwarp();
    }
    double total[TILE * TILE / 32] = {};
    double unit = 1.0 / (64 * 64);
    for (int d = 0; d < DIGITS; ++d, unit /= 128) {
        wmma::store_matrix_sync(C_tile, sums[d], TILE, wmma::mem_col_major);
        __syncwarp();
        for (int i = 0; i < TILE * TILE / 32; ++i) total[i] += unit * C_tile[lane + 32 * i];
        __syncwarp();
    }
    for (int i = 0; i < TILE * TILE / 32; ++i) {
        const int row = first_row + (lane + 32 * i) % TILE, col = first_col + (lane + 32 * i) / TILE;
        if (row < M) C_concat[(size_t)(group_offsets[group] + row) * N + col] = (float)total[i];
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(N / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(32);
}

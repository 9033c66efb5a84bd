// FP16 tensor cores: half2 arithmetic splits each input into two halves, which hold 22 bits together.
#include <cuda_fp16.h>
#include <mma.h>

#include "grader.cuh"

using namespace nvcuda;

constexpr int TILE = 16, PITCH = TILE + 8;
using FragmentA = wmma::fragment<wmma::matrix_a, TILE, TILE, TILE, half, wmma::row_major>;
using FragmentB = wmma::fragment<wmma::matrix_b, TILE, TILE, TILE, half, wmma::col_major>;

// A tile twice: rounded to halves, and what that lost, times 2048 so that it is no subnormal.
struct Split {
    half high[TILE][PITCH], low[TILE][PITCH];

    __device__ void store(int row, int col, float2 x) {
        const half2 near = __float22half2_rn(x);
        const float2 back = __half22float2(near);
        const half2 lost = __floats2half2_rn(x.x - back.x, x.y - back.y);
        *(half2*)&high[row][col] = near;
        *(half2*)&low[row][col] = __hmul2(lost, __float2half2_rn(2048.0f));
    }
};

// Four warps side by side, a 16x16 tile each; A is shared, B is stored column by column.
extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ __align__(32) Split A_tile, B_tile[4];
    __shared__ __align__(32) float C_tile[4][TILE][TILE];
    const int group = blockIdx.z, M = M_sizes[group], lane = threadIdx.x, warp = threadIdx.y;
    const int first_row = blockIdx.y * TILE, first_col = (4 * blockIdx.x + warp) * TILE;
    if (first_row >= M) return;
    const float* A = A_concat + (size_t)(group_offsets[group] + first_row) * K;
    const float* B = B_concat + (size_t)group * K * N + first_col;

    wmma::fragment<wmma::accumulator, TILE, TILE, TILE, float> sum, fine;
    wmma::fill_fragment(sum, 0.0f);
    for (int k0 = 0; k0 < K; k0 += TILE) {
        const int row = 4 * warp + lane / 8, pair = lane % 8 * 2;
        const bool inside = first_row + row < M;
        const float2 a = inside ? *(const float2*)&A[(size_t)row * K + k0 + pair] : make_float2(0.0f, 0.0f);
        A_tile.store(row, pair, a);
        for (int i = lane; i < TILE * TILE / 2; i += 32) {
            const int col = i % TILE, k = i / TILE * 2;
            float2 b = make_float2(0.0f, 0.0f);
            if (first_col < N)
                b = make_float2(B[(size_t)(k0 + k) * N + col], B[(size_t)(k0 + k + 1) * N + col]);
            B_tile[warp].store(col, k, b);
        }
        __syncthreads();
        FragmentA a_high, a_low;
        FragmentB b_high, b_low;
        wmma::load_matrix_sync(a_high, &A_tile.high[0][0], PITCH);
        wmma::load_matrix_sync(a_low, &A_tile.low[0][0], PITCH);
        wmma::load_matrix_sync(b_high, &B_tile[warp].high[0][0], PITCH);
        wmma::load_matrix_sync(b_low, &B_tile[warp].low[0][0], PITCH);
        wmma::fill_fragment(fine, 0.0f);
        wmma::mma_sync(fine, a_low, b_high, fine);
        wmma::mma_sync(fine, a_high, b_low, fine);
        for (int i = 0; i < fine.num_elements; ++i) fine.x[i] /= 2048.0f;
        wmma::mma_sync(fine, a_high, b_high, fine);
        for (int i = 0; i < sum.num_elements; ++i) sum.x[i] += fine.x[i];
        __syncthreads();
    }
    wmma::store_matrix_sync(&C_tile[warp][0][0], sum, TILE, wmma::mem_row_major);
    __syncwarp();
    if (first_col >= N) return;
    for (int i = lane; i < TILE * TILE; i += 32) {
        const int row = first_row + i / TILE;
        if (row < M)
            C_concat[(size_t)(group_offsets[group] + row) * N + first_col + i % TILE] =
                C_tile[warp][i / TILE][i % TILE];
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3((N + 4 * TILE - 1) / (4 * TILE), (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(32, 4);
}

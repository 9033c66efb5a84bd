// Tensor cores at FP32 precision: each input is split into two TF32 numbers, and three products are added.
#include <mma.h>

#include "grader.cuh"

using namespace nvcuda;

constexpr int TILE = 16, STEP = 8;
using FragmentA = wmma::fragment<wmma::matrix_a, TILE, TILE, STEP, wmma::precision::tf32, wmma::row_major>;
using FragmentB = wmma::fragment<wmma::matrix_b, TILE, TILE, STEP, wmma::precision::tf32, wmma::row_major>;

template <typename Fragment>
__device__ void split(Fragment& high, Fragment& low) {
    for (int i = 0; i < high.num_elements; ++i) {
        const float x = high.x[i];
        high.x[i] = wmma::__float_to_tf32(x);
        low.x[i] = wmma::__float_to_tf32(x - high.x[i]);
    }
}

// One warp, one 16x16 tile.
extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ __align__(32) float A_tile[TILE * TILE], C_tile[TILE * TILE];
    const int group = blockIdx.z, M = M_sizes[group], lane = threadIdx.x;
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    if (first_row >= M) return;
    const size_t row0 = (size_t)group_offsets[group] + first_row;
    const float* B = B_concat + (size_t)group * K * N + first_col;

    wmma::fragment<wmma::accumulator, TILE, TILE, STEP, float> sum;
    wmma::fill_fragment(sum, 0.0f);
    for (int k0 = 0; k0 < K; k0 += TILE) {
        // Tensor cores cut off what they add up; sixteen products at a time, and the error stays small.
        wmma::fragment<wmma::accumulator, TILE, TILE, STEP, float> part;
        wmma::fill_fragment(part, 0.0f);
        for (int i = lane; i < TILE * TILE; i += 32)
            A_tile[i] = first_row + i / TILE < M ? A_concat[(row0 + i / TILE) * K + k0 + i % TILE] : 0.0f;
        __syncwarp();
        for (int k = 0; k < TILE; k += STEP) {
            FragmentA a, a_low;
            FragmentB b, b_low;
            wmma::load_matrix_sync(a, A_tile + k, TILE);
            wmma::load_matrix_sync(b, B + (size_t)(k0 + k) * N, N);
            split(a, a_low);
            split(b, b_low);
            wmma::mma_sync(part, a_low, b, part);
            wmma::mma_sync(part, a, b_low, part);
            wmma::mma_sync(part, a, b, part);
        }
        for (int i = 0; i < sum.num_elements; ++i) sum.x[i] += part.x[i];
        __syncwarp();
    }
    wmma::store_matrix_sync(C_tile, sum, TILE, wmma::mem_row_major);
    __syncwarp();
    for (int i = lane; i < TILE * TILE; i += 32)
        if (first_row + i / TILE < M) C_concat[(row0 + i / TILE) * N + first_col + i % TILE] = C_tile[i];
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(N / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(32);
}

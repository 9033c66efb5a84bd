// WMMA on codes converted to FP16 in shared memory; accumulators go through shared memory to be scaled.
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <mma.h>

#include "grader.cuh"

namespace wmma = nvcuda::wmma;

constexpr int TILE = 16;

__device__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

extern "C" __global__ void fp8_grouped_gemm_kernel(const unsigned char* A_concat, const float* A_scales,
                                                   const unsigned char* B_concat, const float* B_scales,
                                                   unsigned short* C_concat, const int* group_offsets,
                                                   const int* M_sizes, int K, int N, int num_groups) {
    __shared__ __align__(32) __half a_tile[TILE][TILE], b_tile[TILE][TILE];
    __shared__ __align__(32) float c_tile[TILE][TILE];
    const int group = blockIdx.z, lane = threadIdx.x, M = M_sizes[group];
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE, blocks = ceil_div(K, 128);
    if (first_row >= M) return;
    const unsigned char* A = A_concat + (size_t)group_offsets[group] * K;
    const unsigned char* B = B_concat + (size_t)group * N * K;
    const float* scales_b = B_scales + ((size_t)group * ceil_div(N, 128) + first_col / 128) * blocks;
    float total[8] = {};
    for (int block = 0; block < blocks; ++block) {
        wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
        wmma::fill_fragment(sum, 0.0f);
        for (int k = block * 128; k < min(K, block * 128 + 128); k += TILE) {
            for (int i = lane; i < TILE * TILE; i += 32) {
                const int row = first_row + i / TILE;
                const unsigned char a = row < M ? A[(size_t)row * K + k + i % TILE] : 0;
                const unsigned char b = B[(size_t)(first_col + i / TILE) * K + k + i % TILE];
                a_tile[i / TILE][i % TILE] = __half(__nv_cvt_fp8_to_halfraw(a, __NV_E4M3));
                b_tile[i / TILE][i % TILE] = __half(__nv_cvt_fp8_to_halfraw(b, __NV_E4M3));
            }
            __syncwarp();
            wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> a;
            wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> b;
            wmma::load_matrix_sync(a, &a_tile[0][0], TILE);
            wmma::load_matrix_sync(b, &b_tile[0][0], TILE);
            wmma::mma_sync(sum, a, b, sum);
            __syncwarp();
        }
        wmma::store_matrix_sync(&c_tile[0][0], sum, TILE, wmma::mem_row_major);
        __syncwarp();
        for (int i = 0; i < 8; ++i) {
            const int at = lane + 32 * i, row = min(first_row + at / TILE, M - 1);
            total[i] += c_tile[at / TILE][at % TILE] * scales_b[block] *
                        A_scales[(size_t)(group_offsets[group] + row) * blocks + block];
        }
        __syncwarp();
    }
    for (int i = 0; i < 8; ++i) {
        const int at = lane + 32 * i, row = first_row + at / TILE, col = first_col + at % TILE;
        if (row < M)
            C_concat[(size_t)(group_offsets[group] + row) * N + col] =
                __bfloat16_as_ushort(__float2bfloat16_rn(total[i]));
    }
}

extern "C" __global__ void launch_fp8_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                                   Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(N / TILE, ceil_div(most_rows, TILE), num_groups);
    launch->block = dim3(32);
}

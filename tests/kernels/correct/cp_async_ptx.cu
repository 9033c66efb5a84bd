// A pipeline of three stages with cp.async in inline PTX; what lies outside is zero-filled by its source
// size.
#include "grader.cuh"

constexpr int TILE = 32, STEP = 16, STAGES = 3;

__device__ void copy16(float* to, const float* from, bool inside) {
    const unsigned int address = (unsigned int)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(inside ? 16 : 0)
                 : "memory");
}

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ __align__(16) float A_tile[STAGES][TILE][STEP];
    __shared__ __align__(16) float B_tile[STAGES][STEP][TILE];
    const int group = blockIdx.z, M = M_sizes[group];
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    if (first_row >= M) return;
    const float* A = A_concat + (size_t)group_offsets[group] * K;
    const float* B = B_concat + (size_t)group * K * N;
    const int t = threadIdx.x, tx = t % 8, ty = t / 8;
    const int steps = K / STEP;

    auto request = [&](int step) {
        if (step < steps) {
            const int stage = step % STAGES, k0 = step * STEP;
            const int row = first_row + t / 4, k = k0 + ty, col = first_col + 4 * tx;
            const bool row_ok = row < M, col_ok = col < N;
            copy16(&A_tile[stage][t / 4][t % 4 * 4], row_ok ? &A[(size_t)row * K + k0 + t % 4 * 4] : A,
                   row_ok);
            copy16(&B_tile[stage][ty][4 * tx], col_ok ? &B[(size_t)k * N + col] : B, col_ok);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");  // an empty group, too, keeps the count
    };

    float sum[2][4] = {};
    for (int step = 0; step < STAGES - 1; ++step) request(step);
    for (int step = 0; step < steps; ++step) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
        __syncthreads();
        request(step + STAGES - 1);
        const int stage = step % STAGES;
        for (int k = 0; k < STEP; ++k) {
            const float4 b = *(const float4*)&B_tile[stage][k][4 * tx];
            for (int i = 0; i < 2; ++i) {
                const float a = A_tile[stage][ty + 16 * i][k];
                sum[i][0] += a * b.x, sum[i][1] += a * b.y, sum[i][2] += a * b.z, sum[i][3] += a * b.w;
            }
        }
    }
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j) {
            const int row = first_row + ty + 16 * i, col = first_col + 4 * tx + j;
            if (row < M && col < N) C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum[i][j];
        }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3((N + TILE - 1) / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(128);
}

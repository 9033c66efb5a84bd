// cuda::pipeline with its state in shared memory: two stages, every thread fills and reads them.
#include <cooperative_groups.h>
#include <cuda/pipeline>

#include "grader.cuh"

#pragma nv_diag_suppress static_var_with_dynamic_init  // make_pipeline does it

constexpr int TILE = 32, STEP = 16, STAGES = 2, THREADS = 128;

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ __align__(16) float A_tile[STAGES][TILE][STEP], B_tile[STAGES][STEP][TILE];
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, STAGES> state;
    const int group = blockIdx.z, M = M_sizes[group];
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    if (first_row >= M) return;
    const int t = threadIdx.x, tx = t % 8, ty = t / 8, steps = K / STEP;
    // Rows and columns outside repeat the last one inside: they are multiplied, and never stored.
    const int a_row = min(first_row + t / 4, M - 1), b_col = min(first_col + 4 * tx, N - 4);
    const float* a = A_concat + (size_t)(group_offsets[group] + a_row) * K + t % 4 * 4;
    const float* b = B_concat + ((size_t)group * K + ty) * N + b_col;
    auto pipeline = cuda::make_pipeline(cooperative_groups::this_thread_block(), &state);

    auto request = [&](int step) {
        pipeline.producer_acquire();
        const int stage = step % STAGES;
        const auto size = cuda::aligned_size_t<16>(16);
        cuda::memcpy_async(&A_tile[stage][t / 4][t % 4 * 4], a + step * STEP, size, pipeline);
        cuda::memcpy_async(&B_tile[stage][ty][4 * tx], b + (size_t)step * STEP * N, size, pipeline);
        pipeline.producer_commit();
    };

    float sum[2][4] = {};
    request(0);
    for (int step = 0; step < steps; ++step) {
        if (step + 1 < steps) request(step + 1);
        pipeline.consumer_wait();
        const int stage = step % STAGES;
        for (int k = 0; k < STEP; ++k)
            for (int i = 0; i < 2; ++i)
                for (int j = 0; j < 4; ++j)
                    sum[i][j] += A_tile[stage][2 * ty + i][k] * B_tile[stage][k][4 * tx + j];
        pipeline.consumer_release();
    }
    for (int i = 0; i < 2; ++i) {
        const int row = first_row + 2 * ty + i, col = first_col + 4 * tx;
        if (row < M && col < N)
            *(float4*)&C_concat[(size_t)(group_offsets[group] + row) * N + col] =
                make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3((N + TILE - 1) / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(THREADS);
}

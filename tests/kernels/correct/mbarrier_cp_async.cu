// Double buffering with cp.async and mbarriers in inline PTX: a tile is full when everybody's copies have
// arrived, and empty when everybody has read it. No barrier of the whole block in the loop.
#include "grader.cuh"

constexpr int TILE = 32, STEP = 16, STAGES = 2, THREADS = 128;

using Barrier = unsigned long long;

__device__ unsigned shared_address(const void* pointer) {
    return (unsigned)__cvta_generic_to_shared(pointer);
}

__device__ void init(Barrier* barrier, int arrivals) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals)
                 : "memory");
}

__device__ void arrive(Barrier* barrier) {
    asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" ::"r"(shared_address(barrier))
                 : "memory");
}

// Once all copies that this thread has started are there.
__device__ void arrive_after_copies(Barrier* barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

__device__ void wait(Barrier* barrier, unsigned parity) {
    unsigned done = 0;
    while (!done)
        asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2;"
                     " selp.u32 %0, 1, 0, p; }"
                     : "=r"(done)
                     : "r"(shared_address(barrier)), "r"(parity)
                     : "memory");
}

__device__ void copy16(float* to, const float* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ __align__(16) float A_tile[STAGES][TILE][STEP], B_tile[STAGES][STEP][TILE];
    __shared__ Barrier full[STAGES], empty[STAGES];
    const int group = blockIdx.z, M = M_sizes[group];
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    if (first_row >= M) return;
    const int t = threadIdx.x, tx = t % 8, ty = t / 8, steps = K / STEP;
    if (t < STAGES) {
        init(&full[t], THREADS);
        init(&empty[t], THREADS);
    }
    __syncthreads();
    // Rows and columns outside repeat the last one inside: they are multiplied, and never stored.
    const int a_row = min(first_row + t / 4, M - 1), b_col = min(first_col + 4 * tx, N - 4);
    const float* a = A_concat + (size_t)(group_offsets[group] + a_row) * K + t % 4 * 4;
    const float* b = B_concat + ((size_t)group * K + ty) * N + b_col;

    auto request = [&](int step) {
        const int stage = step % STAGES;
        wait(&empty[stage], (step / STAGES & 1) ^ 1);  // the first turn finds every stage empty
        copy16(&A_tile[stage][t / 4][t % 4 * 4], a + step * STEP);
        copy16(&B_tile[stage][ty][4 * tx], b + (size_t)step * STEP * N);
        arrive_after_copies(&full[stage]);
    };

    float sum[2][4] = {};
    request(0);
    for (int step = 0; step < steps; ++step) {
        if (step + 1 < steps) request(step + 1);
        const int stage = step % STAGES;
        wait(&full[stage], step / STAGES & 1);
        for (int k = 0; k < STEP; ++k)
            for (int i = 0; i < 2; ++i)
                for (int j = 0; j < 4; ++j)
                    sum[i][j] += A_tile[stage][2 * ty + i][k] * B_tile[stage][k][4 * tx + j];
        arrive(&empty[stage]);
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

// Exercise 04 without balance: persistent blocks, each with groups of its own. Too slow where they differ.
#include "grader.cuh"

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

constexpr int THREADS = 128;

// Two of each tile: one is multiplied while the other is filled. A's tile is stored transposed.
template <int TILE_M, int TILE_N, int TILE_K>
struct Buffers {
    float A[2][TILE_K][TILE_M + 4];
    float B[2][TILE_K][TILE_N];
};

// One TILE_M x TILE_N tile of one group's C, in steps of TILE_K along K. A, B and C are the group's own.
template <int TILE_M, int TILE_N, int TILE_K, int THREAD_M>
__device__ __forceinline__ void multiply_tile(Buffers<TILE_M, TILE_N, TILE_K>& buffers, const float* A,
                                              const float* B, float* C, int M, int K, int N, int first_row,
                                              int first_col) {
    constexpr int THREAD_N = 4;  // each thread computes THREAD_M x THREAD_N elements
    constexpr int THREADS_X = TILE_N / THREAD_N;
    static_assert(TILE_M / THREAD_M * THREADS_X == THREADS, "one rectangle for each thread");
    constexpr int A_LOADS = TILE_M * TILE_K / 4 / THREADS;  // float4 loads per thread and step
    constexpr int B_LOADS = TILE_K * TILE_N / 4 / THREADS;
    const int thread_row = threadIdx.x / THREADS_X * THREAD_M;
    const int thread_col = threadIdx.x % THREADS_X * THREAD_N;

    // Global memory -> registers. Outside the matrices, zeros are used.
    float4 next_a[A_LOADS], next_b[B_LOADS];
    auto fetch = [&](int k0) {
#pragma unroll
        for (int i = 0; i < A_LOADS; ++i) {
            const int at = (threadIdx.x + i * THREADS) * 4;
            const int row = first_row + at / TILE_K, k = k0 + at % TILE_K;
            next_a[i] = make_float4(0, 0, 0, 0);
            if (row < M && k < K) next_a[i] = *(const float4*)&A[(size_t)row * K + k];
        }
#pragma unroll
        for (int i = 0; i < B_LOADS; ++i) {
            const int at = (threadIdx.x + i * THREADS) * 4;
            const int k = k0 + at / TILE_N, col = first_col + at % TILE_N;
            next_b[i] = make_float4(0, 0, 0, 0);
            if (k < K && col < N) next_b[i] = *(const float4*)&B[(size_t)k * N + col];
        }
    };

    // Registers -> shared memory.
    auto store = [&](int buffer) {
#pragma unroll
        for (int i = 0; i < A_LOADS; ++i) {
            const int at = (threadIdx.x + i * THREADS) * 4;
            const int row = at / TILE_K, k = at % TILE_K;
            buffers.A[buffer][k + 0][row] = next_a[i].x;
            buffers.A[buffer][k + 1][row] = next_a[i].y;
            buffers.A[buffer][k + 2][row] = next_a[i].z;
            buffers.A[buffer][k + 3][row] = next_a[i].w;
        }
#pragma unroll
        for (int i = 0; i < B_LOADS; ++i) {
            const int at = (threadIdx.x + i * THREADS) * 4;
            *(float4*)&buffers.B[buffer][at / TILE_N][at % TILE_N] = next_b[i];
        }
    };

    float sum[THREAD_M][THREAD_N] = {};  // zero again for every tile

    fetch(0);
    store(0);
    __syncthreads();
    for (int k0 = 0; k0 < K; k0 += TILE_K) {
        const int buffer = k0 / TILE_K % 2;
        const bool more = k0 + TILE_K < K;
        if (more) fetch(k0 + TILE_K);
#pragma unroll 4
        for (int k = 0; k < TILE_K; ++k) {
            float a[THREAD_M], b[THREAD_N];
#pragma unroll
            for (int i = 0; i < THREAD_M; ++i) a[i] = buffers.A[buffer][k][thread_row + i];
#pragma unroll
            for (int j = 0; j < THREAD_N; ++j) b[j] = buffers.B[buffer][k][thread_col + j];
#pragma unroll
            for (int i = 0; i < THREAD_M; ++i) {
#pragma unroll
                for (int j = 0; j < THREAD_N; ++j) sum[i][j] += a[i] * b[j];
            }
        }
        if (more) store(1 - buffer);
        __syncthreads();  // after the last step too: the next tile refills the buffers
    }

    if (first_col + thread_col >= N) return;
#pragma unroll
    for (int i = 0; i < THREAD_M; ++i) {
        const int row = first_row + thread_row + i;
        if (row >= M) break;
        *(float4*)&C[(size_t)row * N + first_col + thread_col] =
            make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    }
}

// Assigned by the index of the block alone: nobody takes over what another has not begun.
extern "C" __global__ void __launch_bounds__(THREADS)
    grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                        const int* group_offsets, const int* M_sizes, int K, int N, int num_groups) {
    __shared__ __align__(16) Buffers<64, 64, 16> buffers;
    for (int g = blockIdx.x; g < num_groups; g += gridDim.x) {
        const size_t offset = group_offsets[g];
        for (int row = 0; row < M_sizes[g]; row += 64) {
            for (int col = 0; col < N; col += 64) {
                multiply_tile<64, 64, 16, 8>(buffers, A_concat + offset * K, B_concat + (size_t)g * K * N,
                                             C_concat + offset * N, M_sizes[g], K, N, row, col);
            }
        }
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    launch->grid = dim3(min(num_groups, 4 * launch->sm_count));
    launch->block = dim3(THREADS);
}

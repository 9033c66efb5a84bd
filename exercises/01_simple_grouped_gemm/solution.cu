// Grouped GEMM, register-tiled: the reference solution.
//
// The beginner's kernel gives each thread one element of C. For every multiplication it reads two floats from
// shared memory, so shared memory, not arithmetic, sets its speed. Here each thread computes a small
// rectangle of C, THREAD_M x THREAD_N elements, whose sums stay in registers: for one k it reads THREAD_M +
// THREAD_N floats and does THREAD_M * THREAD_N multiplications with them. That is the first idea.
//
// The second: while a tile is being multiplied, the next one is already on its way from global memory.
//
// The third: no tile size suits every problem. Large tiles reuse more; small tiles give more blocks, and a
// small problem in large tiles leaves most of the GPU without work. So there are two kernels, and the launch
// function at the end picks one for each problem.
//
// On an H200, microseconds a launch (the fastest cuBLAS route beside it): uniform 8 (13), variable 32 (34),
// imbalanced 93 (91), small 6 (20).
#include "grader.cuh"

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// One block computes one TILE_M x TILE_N tile of one group's C, in steps of TILE_K along K.
// blockIdx.x: which tile of columns. blockIdx.y: which tile of rows, counted through all groups.
template <int TILE_M, int TILE_N, int TILE_K, int THREAD_M>
__device__ __forceinline__ void multiply_tile(const float* A_concat, const float* B_concat, float* C_concat,
                                              const int* group_offsets, const int* M_sizes, int K, int N) {
    constexpr int THREAD_N = 4;  // one float4
    constexpr int THREADS_X = TILE_N / THREAD_N;
    constexpr int THREADS = TILE_M / THREAD_M * THREADS_X;
    constexpr int A_LOADS = TILE_M * TILE_K / 4 / THREADS;  // float4 loads of each thread and step
    constexpr int B_LOADS = TILE_K * TILE_N / 4 / THREADS;

    // Two of each tile: one is multiplied while the other is filled. A's tile is stored transposed, so that
    // the rows that a thread needs for one k lie side by side. Without the 4 columns of padding the threads
    // that store it would all hit the same few banks; 4 and not 1, because each row has to start on 16 bytes
    // for float4.
    __shared__ __align__(16) float A_tile[2][TILE_K][TILE_M + 4];
    __shared__ __align__(16) float B_tile[2][TILE_K][TILE_N];

    // Which group is this block's? Walk past the groups whose tiles come before ours; empty groups have none.
    // All threads of the block come to the same answer, so there is no divergence.
    int group = 0;
    int row_tile = blockIdx.y;
    while (row_tile >= ceil_div(M_sizes[group], TILE_M)) {
        row_tile -= ceil_div(M_sizes[group], TILE_M);
        ++group;
    }
    const int M = M_sizes[group];
    const int first_row = row_tile * TILE_M;  // within the group
    const int first_col = blockIdx.x * TILE_N;
    const float* A = A_concat + (size_t)group_offsets[group] * K;
    const float* B = B_concat + (size_t)group * K * N;
    float* C = C_concat + (size_t)group_offsets[group] * N;

    const int thread_row = threadIdx.x / THREADS_X * THREAD_M;  // this thread's rectangle, within the tile
    const int thread_col = threadIdx.x % THREADS_X * THREAD_N;

    // Global memory -> registers, four floats at a time. K and N are multiples of 16, so a float4 lies either
    // wholly inside its matrix or wholly outside; what lies outside counts as zero.
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
            A_tile[buffer][k + 0][row] = next_a[i].x;
            A_tile[buffer][k + 1][row] = next_a[i].y;
            A_tile[buffer][k + 2][row] = next_a[i].z;
            A_tile[buffer][k + 3][row] = next_a[i].w;
        }
#pragma unroll
        for (int i = 0; i < B_LOADS; ++i) {
            const int at = (threadIdx.x + i * THREADS) * 4;
            *(float4*)&B_tile[buffer][at / TILE_N][at % TILE_N] = next_b[i];
        }
    };

    float sum[THREAD_M][THREAD_N] = {};

    fetch(0);
    store(0);
    __syncthreads();
    for (int k0 = 0; k0 < K; k0 += TILE_K) {
        const int buffer = k0 / TILE_K % 2;
        const bool more = k0 + TILE_K < K;
        if (more) fetch(k0 + TILE_K);  // asked for now, needed only after the multiplications

        // What lies side by side in shared memory the compiler reads as one float2 or float4.
#pragma unroll 4
        for (int k = 0; k < TILE_K; ++k) {
            float a[THREAD_M], b[THREAD_N];
#pragma unroll
            for (int i = 0; i < THREAD_M; ++i) a[i] = A_tile[buffer][k][thread_row + i];
#pragma unroll
            for (int j = 0; j < THREAD_N; ++j) b[j] = B_tile[buffer][k][thread_col + j];
#pragma unroll
            for (int i = 0; i < THREAD_M; ++i) {
#pragma unroll
                for (int j = 0; j < THREAD_N; ++j) sum[i][j] += a[i] * b[j];
            }
        }

        // The other buffer was last read in the step before, and every thread has passed the barrier since.
        if (more) store(1 - buffer);
        __syncthreads();
    }

    if (first_col + thread_col >= N) return;  // no barrier follows, so leaving early is safe here
#pragma unroll
    for (int i = 0; i < THREAD_M; ++i) {
        const int row = first_row + thread_row + i;
        if (row >= M) break;
        *(float4*)&C[(size_t)row * N + first_col + thread_col] =
            make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    }
}

// Small tiles, for problems that would otherwise not fill the GPU.
extern "C" __global__ void __launch_bounds__(128)
    grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                        const int* group_offsets, const int* M_sizes, int K, int N, int num_groups) {
    multiply_tile<32, 32, 32, 2>(A_concat, B_concat, C_concat, group_offsets, M_sizes, K, N);
}

// Large tiles: twice the multiplications for each float read.
extern "C" __global__ void __launch_bounds__(128)
    grouped_gemm_kernel_1(const float* A_concat, const float* B_concat, float* C_concat,
                          const int* group_offsets, const int* M_sizes, int K, int N, int num_groups) {
    multiply_tile<64, 64, 16, 8>(A_concat, B_concat, C_concat, group_offsets, M_sizes, K, N);
}

// How many tiles the problem has: what each group needs, added up.
__device__ int count_tiles(const int* M_sizes, int num_groups, int tile_m) {
    int tiles = 0;
    for (int group = 0; group < num_groups; ++group) tiles += ceil_div(M_sizes[group], tile_m);
    return tiles;
}

// Large tiles where they give every multiprocessor a block, small ones otherwise. The grid holds exactly the
// tiles that exist: a grid sized for the largest group would start blocks for the short ones that find
// nothing to do.
extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int tile = 64;
    int row_tiles = count_tiles(M_sizes, num_groups, tile);
    launch->variant = 1;
    if (row_tiles * ceil_div(N, tile) < launch->sm_count) {
        tile = 32;
        row_tiles = count_tiles(M_sizes, num_groups, tile);
        launch->variant = 0;
    }
    launch->grid = dim3(ceil_div(N, tile), row_tiles);
    launch->block = dim3(128);
}

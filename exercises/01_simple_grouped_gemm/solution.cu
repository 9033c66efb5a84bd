// Grouped GEMM, register-tiled: the reference solution.
//
// 1. Register tiling. In the starter, each thread computes one element of C and reads two floats from
//    shared memory for every multiplication, so shared memory limits it, not arithmetic. Here, each thread
//    computes a THREAD_M x THREAD_N rectangle of C, with the sums in registers. For each k, it reads
//    THREAD_M + THREAD_N floats and performs THREAD_M * THREAD_N multiplications.
//
// 2. Double buffering. While one tile is multiplied, the next is already being fetched from global memory.
//
// 3. Two tile sizes. Large tiles reuse more data; small tiles give more blocks. With large tiles, a small
//    problem leaves most of the GPU idle. So there are two kernels, and the launch function at the end
//    chooses one for each problem.
//
// Microseconds per launch on an H200 (the fastest cuBLAS routine in parentheses): uniform 8 (13), variable 32
// (34), imbalanced 93 (91), small 6 (20).
#include "grader.cuh"

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// One block computes one TILE_M x TILE_N tile of one group's C, in steps of TILE_K along K.
// blockIdx.x: which tile of columns. blockIdx.y: which tile of rows, counted across all groups.
template <int TILE_M, int TILE_N, int TILE_K, int THREAD_M>
__device__ __forceinline__ void multiply_tile(const float* A_concat, const float* B_concat, float* C_concat,
                                              const int* group_offsets, const int* M_sizes, int K, int N) {
    constexpr int THREAD_N = 4;  // one float4
    constexpr int THREADS_X = TILE_N / THREAD_N;
    constexpr int THREADS = TILE_M / THREAD_M * THREADS_X;
    constexpr int A_LOADS = TILE_M * TILE_K / 4 / THREADS;  // float4 loads per thread and step
    constexpr int B_LOADS = TILE_K * TILE_N / 4 / THREADS;

    // Two of each tile: one is multiplied while the other is filled. A's tile is stored transposed, so that
    // the rows a thread needs for one k are contiguous. The 4 columns of padding reduce bank conflicts when
    // the tile is stored; 4 and not 1, because for float4 every row must start at a multiple of 16 bytes.
    __shared__ __align__(16) float A_tile[2][TILE_K][TILE_M + 4];
    __shared__ __align__(16) float B_tile[2][TILE_K][TILE_N];

    // Find this block's group: skip the groups whose tiles come first; empty groups have none. All threads of
    // the block get the same answer, so there is no divergence.
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

    // Global memory -> registers, four floats at a time. K and N are multiples of 16, so a float4 is either
    // entirely inside its matrix or entirely outside. Outside, zeros are used.
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
        if (more) fetch(k0 + TILE_K);  // issued now, needed only after the multiplications

        // The compiler combines reads of neighbouring elements into one float2 or float4.
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

        // The other buffer was last read in the previous step, and every thread has passed the barrier since.
        if (more) store(1 - buffer);
        __syncthreads();
    }

    if (first_col + thread_col >= N) return;  // no barrier follows, so returning early is safe
#pragma unroll
    for (int i = 0; i < THREAD_M; ++i) {
        const int row = first_row + thread_row + i;
        if (row >= M) break;
        *(float4*)&C[(size_t)row * N + first_col + thread_col] =
            make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    }
}

// Small tiles, for problems that would not fill the GPU with large ones.
extern "C" __global__ void __launch_bounds__(128)
    grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                        const int* group_offsets, const int* M_sizes, int K, int N, int num_groups) {
    multiply_tile<32, 32, 32, 2>(A_concat, B_concat, C_concat, group_offsets, M_sizes, K, N);
}

// Large tiles: twice as many multiplications per float read.
extern "C" __global__ void __launch_bounds__(128)
    grouped_gemm_kernel_1(const float* A_concat, const float* B_concat, float* C_concat,
                          const int* group_offsets, const int* M_sizes, int K, int N, int num_groups) {
    multiply_tile<64, 64, 16, 8>(A_concat, B_concat, C_concat, group_offsets, M_sizes, K, N);
}

// The number of row tiles, summed over all groups.
__device__ int count_tiles(const int* M_sizes, int num_groups, int tile_m) {
    int tiles = 0;
    for (int group = 0; group < num_groups; ++group) tiles += ceil_div(M_sizes[group], tile_m);
    return tiles;
}

// Large tiles if they give every multiprocessor a block, small ones otherwise. The grid has exactly one block
// per tile; a grid sized for the largest group would also launch blocks without work.
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

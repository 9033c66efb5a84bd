// Grouped GEMM with dynamic work distribution: the reference solution.
//
// 1. One list of tiles. The tiles of all groups are numbered from 0, group by group. All tiles cost the same,
//    so distributing tiles evenly distributes the work evenly, however different the groups are.
//
// 2. Persistent blocks. The grid is as large as the GPU can run at once. Each block computes tile after tile
//    until none is left, so the number of blocks no longer depends on the sizes of the groups.
//
// 3. A counter in the workspace. Whoever finishes first takes the next tile: atomicAdd on one counter gives
//    every number to exactly one block. The first tile of each block needs no counter: it is blockIdx.x, and
//    the counter hands out the tiles behind those.
//
// 4. Asking early. An atomicAdd takes about as long as a read from global memory. The next tile is therefore
//    requested before the current one is multiplied, and is known by the time it is needed.
//
// 5. Two tile sizes. Few tiles leave multiprocessors idle, and at the end all wait for the last tile (the
//    tail), so small problems need small tiles. There are two kernels; the launch function chooses.
//
// How a tile is multiplied (registers, double buffering) is explained in the solution of exercise 01.
#include "grader.cuh"

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

constexpr int MAX_GROUPS = 256;
constexpr int THREADS = 128;
constexpr int BLOCKS_PER_SM = 4;  // as many as fit, so that the others compute while one waits for memory

// One tile: its group, and its first row and column within the group's C.
struct Tile {
    int group, first_row, first_col;
};

// Which tile has which number.
template <int TILE_M, int TILE_N>
struct TileList {
    int* ends;         // shared memory; ends[g] is the number of row tiles in the groups 0 to g
    int column_tiles;  // the same for all groups
    int num_groups, count;

    // Called by all threads of the block together. The running sum over the groups is computed once per
    // block; otherwise, each lookup would add up the sizes again.
    __device__ TileList(int* ends, const int* M_sizes, int num_groups, int N)
        : ends(ends), column_tiles(ceil_div(N, TILE_N)), num_groups(num_groups) {
        for (int g = threadIdx.x; g < num_groups; g += THREADS) ends[g] = ceil_div(M_sizes[g], TILE_M);
        __syncthreads();
        if (threadIdx.x < 32) {  // one warp, 32 groups at a time
            int before = 0;      // row tiles of the groups that are done
            for (int first = 0; first < num_groups; first += 32) {
                const int g = first + threadIdx.x;
                int sum = g < num_groups ? ends[g] : 0;
#pragma unroll
                for (int step = 1; step < 32; step *= 2) {
                    const int left = __shfl_up_sync(0xffffffffu, sum, step);  // every lane takes part
                    if (threadIdx.x >= step) sum += left;
                }
                if (g < num_groups) ends[g] = before + sum;
                before += __shfl_sync(0xffffffffu, sum, 31);
            }
        }
        __syncthreads();
        count = ends[num_groups - 1] * column_tiles;
    }

    // By bisection: the first group that ends behind the tile. An empty group ends where the group before it
    // ends, so it is never found. All threads get the same answer.
    __device__ Tile find(int index) const {
        const int row_tile = index / column_tiles;
        int low = 0, high = num_groups - 1;
        while (low < high) {
            const int middle = (low + high) / 2;
            if (ends[middle] > row_tile)
                high = middle;
            else
                low = middle + 1;
        }
        const int before = low > 0 ? ends[low - 1] : 0;
        return {low, (row_tile - before) * TILE_M, index % column_tiles * TILE_N};
    }
};

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

    // This returns from multiply_tile only; the thread goes on to the next tile with the others.
    if (first_col + thread_col >= N) return;
#pragma unroll
    for (int i = 0; i < THREAD_M; ++i) {
        const int row = first_row + thread_row + i;
        if (row >= M) break;
        *(float4*)&C[(size_t)row * N + first_col + thread_col] =
            make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    }
}

// What a persistent block does. `counter` is zero when the kernel starts: the workspace arrives zeroed.
template <int TILE_M, int TILE_N, int TILE_K, int THREAD_M>
__device__ __forceinline__ void work(const float* A_concat, const float* B_concat, float* C_concat,
                                     const int* group_offsets, const int* M_sizes, int K, int N,
                                     int num_groups, int* counter) {
    __shared__ __align__(16) Buffers<TILE_M, TILE_N, TILE_K> buffers;
    __shared__ int ends[MAX_GROUPS];
    __shared__ int taken;  // the number that thread 0 got; the other threads read it here
    const TileList<TILE_M, TILE_N> tiles(ends, M_sizes, num_groups, N);

    int index = blockIdx.x;
    while (index < tiles.count) {  // the same for all threads, so all of them leave together
        if (threadIdx.x == 0) taken = gridDim.x + atomicAdd(counter, 1);
        const Tile tile = tiles.find(index);
        const size_t offset = group_offsets[tile.group];
        multiply_tile<TILE_M, TILE_N, TILE_K, THREAD_M>(
            buffers, A_concat + offset * K, B_concat + (size_t)tile.group * K * N, C_concat + offset * N,
            M_sizes[tile.group], K, N, tile.first_row, tile.first_col);
        index = taken;    // written before the barriers in multiply_tile, so it has arrived
        __syncthreads();  // every thread has read it; thread 0 may overwrite it
    }
}

// Small tiles, for problems that would not fill the GPU with large ones.
extern "C" __global__ void __launch_bounds__(THREADS)
    grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                        const int* group_offsets, const int* M_sizes, int K, int N, int num_groups,
                        void* workspace) {
    work<32, 32, 32, 2>(A_concat, B_concat, C_concat, group_offsets, M_sizes, K, N, num_groups,
                        (int*)workspace);
}

// Large tiles: twice as many multiplications per float read.
extern "C" __global__ void __launch_bounds__(THREADS)
    grouped_gemm_kernel_1(const float* A_concat, const float* B_concat, float* C_concat,
                          const int* group_offsets, const int* M_sizes, int K, int N, int num_groups,
                          void* workspace) {
    work<64, 64, 16, 8>(A_concat, B_concat, C_concat, group_offsets, M_sizes, K, N, num_groups,
                        (int*)workspace);
}

// The number of square tiles in all groups together.
__device__ int count_tiles(const int* M_sizes, int N, int num_groups, int tile) {
    int row_tiles = 0;
    for (int group = 0; group < num_groups; ++group) row_tiles += ceil_div(M_sizes[group], tile);
    return row_tiles * ceil_div(N, tile);
}

// Large tiles if every multiprocessor gets one, small ones otherwise. No more blocks than tiles: a block
// without a tile would only cost the time to start it.
extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int tiles = count_tiles(M_sizes, N, num_groups, 64);
    launch->variant = 1;
    if (tiles < launch->sm_count) {
        tiles = count_tiles(M_sizes, N, num_groups, 32);
        launch->variant = 0;
    }
    launch->grid = dim3(min(tiles, BLOCKS_PER_SM * launch->sm_count));
    launch->block = dim3(THREADS);
    launch->workspace_bytes = sizeof(int);
}

// A Mixture-of-Experts layer: the reference solution.
//
// 1. Routing. One thread per token finds the two largest logits in one pass and adds up the softmax in a
//    second one. It compares with > and goes through the experts in order, so among equal logits the first
//    one wins.
//
// 2. Permutation. Counting and the running sum are tiny: one block each. Then every assignment (a token and
//    one of its experts) draws a row with an atomicAdd on its expert's cursor. The order of the rows within
//    an expert can change from run to run; no later stage depends on it, because `row` says where each
//    assignment went.
//
// 3. Products. All four are the same tile multiplication; only how a block finds its tile differs. In the
//    contiguous layout, it walks through the offsets. In the masked layout, its indices give the tile, and a
//    block beyond its expert's count returns. In both, the host does not know the counts, so the grid is as
//    large as it could ever need to be.
//
// 4. Fusion. In the masked layout, one block computes both gate and up: its tile holds 32 columns of the
//    gate and the same 32 columns of up. A thread then has both numbers that SwiGLU needs in its registers,
//    and gate and up never go through memory.
//
// 5. Two tile sizes. Tiles of 128 x 64 keep the multipliers busy, but a small problem has too few of them,
//    and an expert with a few rows wastes most of one. So each product has a second kernel with 32 x 64
//    tiles, and the launch function chooses.
//
// How a tile is multiplied (registers, double buffering) is explained in the solution of exercise 01.
#include "grader.cuh"

constexpr int WARP = 32;
constexpr int THREADS = 128;
constexpr int MAX_EXPERTS = 64;

constexpr int TILE_N = 64, TILE_K = 16;
constexpr int THREAD_N = 8;                     // columns of a thread: four in each half of the tile
constexpr int THREADS_X = TILE_N / THREAD_N;    // threads side by side
constexpr int THREADS_Y = THREADS / THREADS_X;  // and one below the other
constexpr int HALF = TILE_N / 2;
constexpr int SMALL = 2, LARGE = 8;  // rows of a thread: tiles of 32 or 128 rows

__host__ __device__ constexpr int ceil_div(long long a, int b) { return (int)((a + b - 1) / b); }

// Where exp(-x) overflows, the quotient is 0, as it should be.
__device__ float silu(float x) { return x / (1.0f + expf(-x)); }

// ---- routing -------------------------------------------------------------------------------------------

// One thread per token. Subtracting the largest logit keeps the exponentials from overflowing.
extern "C" __global__ void route_kernel(const float* logits, int* expert, float* weight, int num_tokens,
                                        int num_experts, int top_k) {
    const int token = blockIdx.x * THREADS + threadIdx.x;
    if (token >= num_tokens) return;
    const float* mine = logits + (size_t)token * num_experts;
    int first = -1, second = -1;
    float largest = -INFINITY, next = -INFINITY;
    for (int e = 0; e < num_experts; ++e) {
        const float logit = mine[e];
        if (logit > largest) {
            second = first, next = largest;
            first = e, largest = logit;
        } else if (logit > next) {
            second = e, next = logit;
        }
    }
    float sum = 0.0f;
    for (int e = 0; e < num_experts; ++e) sum += expf(mine[e] - largest);
    expert[token * top_k] = first;
    weight[token * top_k] = 1.0f / sum;  // exp(0)
    if (top_k == 2) {
        expert[token * top_k + 1] = second;
        weight[token * top_k + 1] = expf(next - largest) / sum;
    }
}

extern "C" __global__ void launch_route(int num_tokens, int num_experts, int top_k, int hidden,
                                        int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens, THREADS));
    launch->block = dim3(THREADS);
}

// ---- the contiguous layout: counting, offsets, scatter -------------------------------------------------

// One block. Atomics in shared memory are fast, and the counts leave it once.
extern "C" __global__ void count_kernel(const int* expert, int* M_sizes, int num_tokens, int num_experts,
                                        int top_k) {
    __shared__ int counts[MAX_EXPERTS];
    if (threadIdx.x < MAX_EXPERTS) counts[threadIdx.x] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < num_tokens * top_k; i += blockDim.x) atomicAdd(&counts[expert[i]], 1);
    __syncthreads();
    if (threadIdx.x < num_experts) M_sizes[threadIdx.x] = counts[threadIdx.x];
}

extern "C" __global__ void launch_count(int num_tokens, int num_experts, int top_k, int hidden,
                                        int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(1);
    launch->block = dim3(min(1024, max(MAX_EXPERTS, ceil_div(num_tokens * top_k, WARP) * WARP)));
}

// One warp, 32 experts at a time: after five steps, each lane has the sum of itself and all lanes before it.
extern "C" __global__ void offsets_kernel(const int* M_sizes, int* group_offsets, int num_experts) {
    int before = 0;  // rows of the experts that are done
    if (threadIdx.x == 0) group_offsets[0] = 0;
    for (int first = 0; first < num_experts; first += WARP) {
        const int e = first + threadIdx.x;
        int sum = e < num_experts ? M_sizes[e] : 0;
        for (int step = 1; step < WARP; step *= 2) {
            const int left = __shfl_up_sync(0xffffffffu, sum, step);  // every lane takes part
            if (threadIdx.x >= step) sum += left;
        }
        if (e < num_experts) group_offsets[e + 1] = before + sum;
        before += __shfl_sync(0xffffffffu, sum, WARP - 1);
    }
}

extern "C" __global__ void launch_offsets(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(1);
    launch->block = dim3(WARP);
}

// Copies a row of `hidden` floats, 16 bytes at a time; all threads of the block together. Rows start at
// multiples of 16 bytes, because `hidden` is a multiple of 16.
__device__ void copy_row(float* to, const float* from, int hidden) {
    for (int c = threadIdx.x * 4; c < hidden; c += blockDim.x * 4)
        *(float4*)&to[c] = *(const float4*)&from[c];
}

// One block per assignment. One thread draws the row; the barrier makes sure that all of them know it.
extern "C" __global__ void scatter_kernel(const float* x, const int* expert, const int* group_offsets,
                                          int* row, float* A, int num_tokens, int num_experts, int top_k,
                                          int hidden, void* workspace) {
    __shared__ int place;
    int* cursors = (int*)workspace;  // zeroed: rows of each expert that are taken
    const int assignment = blockIdx.x;
    if (threadIdx.x == 0) {
        const int e = expert[assignment];
        place = group_offsets[e] + atomicAdd(&cursors[e], 1);
        row[assignment] = place;
    }
    __syncthreads();
    copy_row(A + (size_t)place * hidden, x + (size_t)(assignment / top_k) * hidden, hidden);
}

// A block that copies one row, and room for two sets of cursors: the second is for masked_scatter_kernel.
__device__ void launch_copies(int assignments, int hidden, Launch* launch) {
    launch->grid = dim3(assignments);
    launch->block = dim3(min(THREADS, ceil_div(hidden / 4, WARP) * WARP));
    launch->workspace_bytes = 2 * MAX_EXPERTS * sizeof(int);
}

extern "C" __global__ void launch_scatter(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch_copies(num_tokens * top_k, hidden, launch);
}

// ---- products ------------------------------------------------------------------------------------------

// Two of each tile: one is multiplied while the other is filled. A's tile is stored transposed.
template <int TILE_M>
struct Buffers {
    float A[2][TILE_K][TILE_M + 4];
    float B[2][TILE_K][TILE_N];
};

// The column of B in column `at` of a tile; N if there is none. A gated tile has columns of the gate in its
// left half, and the same columns of up, which begin at N / 2, in its right half.
template <bool GATED>
__device__ int column(int first_col, int at, int N) {
    if (!GATED) return min(first_col + at, N);
    const int col = first_col + at % HALF;
    if (col >= N / 2) return N;
    return at < HALF ? col : N / 2 + col;
}

// One tile of A (M, K) @ B (K, N), in steps of TILE_K along K. Thread (x, y) gets the rows from y * THREAD_M
// and, in each half of the tile, the four columns from x * 4. K and N are multiples of 16, so K has no
// partial step, and four neighbouring columns are inside or outside together.
template <int THREAD_M, bool GATED>
__device__ __forceinline__ void multiply_tile(const float* A, const float* B, int M, int N, int K,
                                              int first_row, int first_col,
                                              float (&sum)[THREAD_M][THREAD_N]) {
    constexpr int TILE_M = THREADS_Y * THREAD_M;
    constexpr int A_LOADS = TILE_M * TILE_K / 4 / THREADS;  // float4 loads per thread and step
    constexpr int B_LOADS = TILE_K * TILE_N / 4 / THREADS;
    __shared__ __align__(16) Buffers<TILE_M> buffers;
    const int thread_row = threadIdx.x / THREADS_X * THREAD_M;
    const int thread_col = threadIdx.x % THREADS_X * (THREAD_N / 2);

    // Global memory -> registers. Rows and columns that do not exist are zeros.
    float4 next_a[A_LOADS], next_b[B_LOADS];
    auto fetch = [&](int k0) {
#pragma unroll
        for (int i = 0; i < A_LOADS; ++i) {
            const int at = (threadIdx.x + i * THREADS) * 4;
            const int row = first_row + at / TILE_K, k = k0 + at % TILE_K;
            next_a[i] = make_float4(0, 0, 0, 0);
            if (row < M) next_a[i] = *(const float4*)&A[(size_t)row * K + k];
        }
#pragma unroll
        for (int i = 0; i < B_LOADS; ++i) {
            const int at = (threadIdx.x + i * THREADS) * 4;
            const int k = k0 + at / TILE_N, col = column<GATED>(first_col, at % TILE_N, N);
            next_b[i] = make_float4(0, 0, 0, 0);
            if (col < N) next_b[i] = *(const float4*)&B[(size_t)k * N + col];
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

    fetch(0);
    store(0);
    __syncthreads();
    for (int k0 = 0; k0 < K; k0 += TILE_K) {
        const int buffer = k0 / TILE_K % 2;
        const bool more = k0 + TILE_K < K;
        if (more) fetch(k0 + TILE_K);
#pragma unroll 2
        for (int k = 0; k < TILE_K; ++k) {
            float a[THREAD_M], b[THREAD_N];
#pragma unroll
            for (int i = 0; i < THREAD_M; ++i) a[i] = buffers.A[buffer][k][thread_row + i];
#pragma unroll
            for (int j = 0; j < THREAD_N; ++j) {
                b[j] = buffers.B[buffer][k][j / 4 * HALF + thread_col + j % 4];
            }
#pragma unroll
            for (int i = 0; i < THREAD_M; ++i) {
#pragma unroll
                for (int j = 0; j < THREAD_N; ++j) sum[i][j] += a[i] * b[j];
            }
        }
        if (more) store(1 - buffer);
        __syncthreads();
    }
}

// The tile as it is, into rows of N floats. C is the expert's own; the last rows and columns may not exist.
template <int THREAD_M>
__device__ __forceinline__ void store_tile(float* C, int M, int N, int first_row, int first_col,
                                           const float (&sum)[THREAD_M][THREAD_N]) {
    const int thread_row = first_row + threadIdx.x / THREADS_X * THREAD_M;
    const int thread_col = first_col + threadIdx.x % THREADS_X * (THREAD_N / 2);
#pragma unroll
    for (int i = 0; i < THREAD_M; ++i) {
        if (thread_row + i >= M) break;
        float* to = C + (size_t)(thread_row + i) * N;
#pragma unroll
        for (int j = 0; j < THREAD_N; j += 4) {
            const int col = thread_col + j / 4 * HALF;
            if (col < N)
                *(float4*)&to[col] = make_float4(sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]);
        }
    }
}

// The expert that a row tile belongs to; num_experts if there is no such tile. `tile` becomes its number
// within the expert. An expert without rows has no tiles and is skipped.
__device__ int find_expert(const int* group_offsets, int num_experts, int tile_rows, int& tile) {
    for (int e = 0; e < num_experts; ++e) {
        const int tiles = ceil_div(group_offsets[e + 1] - group_offsets[e], tile_rows);
        if (tile < tiles) return e;
        tile -= tiles;
    }
    return num_experts;
}

// C[e] = A[e] @ W[e] in the contiguous layout. blockIdx.y: which row tile of all experts together.
template <int THREAD_M>
__device__ __forceinline__ void contiguous_product(const float* A, const float* W, float* C,
                                                   const int* group_offsets, int num_experts, int K, int N) {
    constexpr int TILE_M = THREADS_Y * THREAD_M;
    int tile = blockIdx.y;
    const int e = find_expert(group_offsets, num_experts, TILE_M, tile);
    if (e == num_experts) return;  // the same for the whole block
    const size_t first = group_offsets[e];
    const int M = group_offsets[e + 1] - group_offsets[e];
    float sum[THREAD_M][THREAD_N] = {};
    multiply_tile<THREAD_M, false>(A + first * K, W + (size_t)e * K * N, M, N, K, tile * TILE_M,
                                   blockIdx.x * TILE_N, sum);
    store_tile<THREAD_M>(C + first * N, M, N, tile * TILE_M, blockIdx.x * TILE_N, sum);
}

// Whether tiles of 128 rows are enough to fill the GPU twice.
__device__ bool wants_large(int rows, int N, int sm_count) {
    return ceil_div(rows, THREADS_Y * LARGE) * ceil_div(N, TILE_N) >= 2 * sm_count;
}

// The grid of a contiguous product: each expert may have one row tile that is not full.
__device__ void launch_contiguous(int rows, int num_experts, int N, Launch* launch) {
    launch->variant = wants_large(rows, N, launch->sm_count) ? 1 : 0;
    const int tile_rows = THREADS_Y * (launch->variant ? LARGE : SMALL);
    launch->grid = dim3(ceil_div(N, TILE_N), rows / tile_rows + num_experts);
    launch->block = dim3(THREADS);
}

// Gate and up: a product with 2 * intermediate columns. Small tiles.
extern "C" __global__ void __launch_bounds__(THREADS)
    gate_up_kernel(const float* A, const float* W_gate_up, float* gate_up, const int* group_offsets,
                   int num_experts, int hidden, int intermediate) {
    contiguous_product<SMALL>(A, W_gate_up, gate_up, group_offsets, num_experts, hidden, 2 * intermediate);
}

// The same with large tiles.
extern "C" __global__ void __launch_bounds__(THREADS)
    gate_up_kernel_1(const float* A, const float* W_gate_up, float* gate_up, const int* group_offsets,
                     int num_experts, int hidden, int intermediate) {
    contiguous_product<LARGE>(A, W_gate_up, gate_up, group_offsets, num_experts, hidden, 2 * intermediate);
}

extern "C" __global__ void launch_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch_contiguous(num_tokens * top_k, num_experts, 2 * intermediate, launch);
}

// One thread per four elements of h, which are in the same row: `intermediate` is a multiple of 16.
extern "C" __global__ void swiglu_kernel(const float* gate_up, float* h, int rows, int intermediate) {
    const size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    const size_t row = at / intermediate, col = at % intermediate;
    if (row >= rows) return;
    const float* both = gate_up + row * 2 * intermediate + col;
    const float4 gate = *(const float4*)both, up = *(const float4*)&both[intermediate];
    *(float4*)&h[at] =
        make_float4(silu(gate.x) * up.x, silu(gate.y) * up.y, silu(gate.z) * up.z, silu(gate.w) * up.w);
}

extern "C" __global__ void launch_swiglu(int num_tokens, int num_experts, int top_k, int hidden,
                                         int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div((long long)num_tokens * top_k * intermediate, 4 * THREADS));
    launch->block = dim3(THREADS);
}

// The second product, from h to rows of `hidden` floats. Small tiles.
extern "C" __global__ void __launch_bounds__(THREADS)
    down_kernel(const float* h, const float* W_down, float* out, const int* group_offsets, int num_experts,
                int hidden, int intermediate) {
    contiguous_product<SMALL>(h, W_down, out, group_offsets, num_experts, intermediate, hidden);
}

// The same with large tiles.
extern "C" __global__ void __launch_bounds__(THREADS)
    down_kernel_1(const float* h, const float* W_down, float* out, const int* group_offsets, int num_experts,
                  int hidden, int intermediate) {
    contiguous_product<LARGE>(h, W_down, out, group_offsets, num_experts, intermediate, hidden);
}

extern "C" __global__ void launch_down(int num_tokens, int num_experts, int top_k, int hidden,
                                       int intermediate, int capacity, Launch* launch) {
    launch_contiguous(num_tokens * top_k, num_experts, hidden, launch);
}

// ---- combining -----------------------------------------------------------------------------------------

// One thread per four elements of y. `place` is where each assignment's row is among `places` rows or slots.
// A dropped assignment has the place one past the last.
__device__ void combine(const float* out, const int* place, int places, const float* weight, float* y,
                        int num_tokens, int top_k, int hidden) {
    const size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    const int token = at / hidden, col = at % hidden;
    if (token >= num_tokens) return;
    float4 sum = make_float4(0, 0, 0, 0);
    for (int assignment = token * top_k; assignment < (token + 1) * top_k; ++assignment) {
        if (place[assignment] == places) continue;
        const float w = weight[assignment];
        const float4 part = *(const float4*)&out[(size_t)place[assignment] * hidden + col];
        sum.x += w * part.x;
        sum.y += w * part.y;
        sum.z += w * part.z;
        sum.w += w * part.w;
    }
    *(float4*)&y[at] = sum;
}

// Each token gathers its own rows, so no other token writes its result and no atomics are needed.
extern "C" __global__ void combine_kernel(const float* out, const int* row, const float* weight, float* y,
                                          int num_tokens, int top_k, int hidden) {
    combine(out, row, num_tokens * top_k, weight, y, num_tokens, top_k, hidden);
}

extern "C" __global__ void launch_combine(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div((long long)num_tokens * hidden, 4 * THREADS));
    launch->block = dim3(THREADS);
}

// ---- the masked layout ---------------------------------------------------------------------------------

// As scatter_kernel, without offsets: an expert's rows start at e * capacity. An assignment
// that draws a number that is too large is dropped.
extern "C" __global__ void masked_scatter_kernel(const float* x, const int* expert, int* slot, float* A,
                                                 int num_tokens, int num_experts, int top_k, int hidden,
                                                 int capacity, void* workspace) {
    __shared__ int place;
    int* cursors =
        (int*)workspace + MAX_EXPERTS;  // the first ones are no longer zero: scatter_kernel used them
    const int assignment = blockIdx.x;
    if (threadIdx.x == 0) {
        const int e = expert[assignment], number = atomicAdd(&cursors[e], 1);
        place = number < capacity ? e * capacity + number : num_experts * capacity;
        slot[assignment] = place;
    }
    __syncthreads();
    if (place == num_experts * capacity) return;  // dropped; the same for the whole block
    copy_row(A + (size_t)place * hidden, x + (size_t)(assignment / top_k) * hidden, hidden);
}

extern "C" __global__ void launch_masked_scatter(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch_copies(num_tokens * top_k, hidden, launch);
}

// blockIdx.z: which expert. M_sizes says how many assignments it was sent, which may be more than it has room
// for.
template <int THREAD_M>
__device__ __forceinline__ void masked_gate_up(const float* A, const float* W_gate_up, float* h,
                                               const int* M_sizes, int capacity, int hidden,
                                               int intermediate) {
    constexpr int TILE_M = THREADS_Y * THREAD_M;
    const int e = blockIdx.z, M = min(M_sizes[e], capacity);
    const int first_row = blockIdx.y * TILE_M, first_col = blockIdx.x * HALF;
    if (first_row >= M) return;  // the same for the whole block
    const int N = 2 * intermediate;
    float sum[THREAD_M][THREAD_N] = {};
    multiply_tile<THREAD_M, true>(A + (size_t)e * capacity * hidden, W_gate_up + (size_t)e * hidden * N, M, N,
                                  hidden, first_row, first_col, sum);

    // sum[i][0 to 3] are the gate's columns, sum[i][4 to 7] the same columns of up.
    const int thread_row = first_row + threadIdx.x / THREADS_X * THREAD_M;
    const int col = first_col + threadIdx.x % THREADS_X * (THREAD_N / 2);
    if (col >= intermediate) return;
#pragma unroll
    for (int i = 0; i < THREAD_M; ++i) {
        if (thread_row + i >= M) break;
        *(float4*)&h[((size_t)e * capacity + thread_row + i) * intermediate + col] =
            make_float4(silu(sum[i][0]) * sum[i][4], silu(sum[i][1]) * sum[i][5], silu(sum[i][2]) * sum[i][6],
                        silu(sum[i][3]) * sum[i][7]);
    }
}

// The grid of a masked product: every expert may be full. `columns`: of C, `tile_cols` of them in a tile.
__device__ void launch_masked(int num_experts, int capacity, int columns, int tile_cols, bool large,
                              Launch* launch) {
    const int tile_rows = THREADS_Y * (large ? LARGE : SMALL);
    launch->variant = large ? 1 : 0;
    launch->grid = dim3(ceil_div(columns, tile_cols), ceil_div(capacity, tile_rows), num_experts);
    launch->block = dim3(THREADS);
}

// Gate, up and SwiGLU in one. Small tiles.
extern "C" __global__ void __launch_bounds__(THREADS)
    masked_gate_up_kernel(const float* A, const float* W_gate_up, float* h, const int* M_sizes,
                          int num_experts, int capacity, int hidden, int intermediate) {
    masked_gate_up<SMALL>(A, W_gate_up, h, M_sizes, capacity, hidden, intermediate);
}

// The same with large tiles.
extern "C" __global__ void __launch_bounds__(THREADS)
    masked_gate_up_kernel_1(const float* A, const float* W_gate_up, float* h, const int* M_sizes,
                            int num_experts, int capacity, int hidden, int intermediate) {
    masked_gate_up<LARGE>(A, W_gate_up, h, M_sizes, capacity, hidden, intermediate);
}

extern "C" __global__ void launch_masked_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    const bool large = wants_large(num_tokens * top_k, 2 * intermediate, launch->sm_count);
    launch_masked(num_experts, capacity, intermediate, HALF, large, launch);
}

// blockIdx.z: which expert.
template <int THREAD_M>
__device__ __forceinline__ void masked_down(const float* h, const float* W_down, float* out,
                                            const int* M_sizes, int capacity, int hidden, int intermediate) {
    constexpr int TILE_M = THREADS_Y * THREAD_M;
    const int e = blockIdx.z, M = min(M_sizes[e], capacity);
    const int first_row = blockIdx.y * TILE_M, first_col = blockIdx.x * TILE_N;
    if (first_row >= M) return;  // the same for the whole block
    float sum[THREAD_M][THREAD_N] = {};
    multiply_tile<THREAD_M, false>(h + (size_t)e * capacity * intermediate,
                                   W_down + (size_t)e * intermediate * hidden, M, hidden, intermediate,
                                   first_row, first_col, sum);
    store_tile<THREAD_M>(out + (size_t)e * capacity * hidden, M, hidden, first_row, first_col, sum);
}

// The second product. Small tiles.
extern "C" __global__ void __launch_bounds__(THREADS)
    masked_down_kernel(const float* h, const float* W_down, float* out, const int* M_sizes, int num_experts,
                       int capacity, int hidden, int intermediate) {
    masked_down<SMALL>(h, W_down, out, M_sizes, capacity, hidden, intermediate);
}

// The same with large tiles.
extern "C" __global__ void __launch_bounds__(THREADS)
    masked_down_kernel_1(const float* h, const float* W_down, float* out, const int* M_sizes, int num_experts,
                         int capacity, int hidden, int intermediate) {
    masked_down<LARGE>(h, W_down, out, M_sizes, capacity, hidden, intermediate);
}

extern "C" __global__ void launch_masked_down(int num_tokens, int num_experts, int top_k, int hidden,
                                              int intermediate, int capacity, Launch* launch) {
    const bool large = wants_large(num_tokens * top_k, hidden, launch->sm_count);
    launch_masked(num_experts, capacity, hidden, TILE_N, large, launch);
}

// A token that all its experts have dropped gets zeros.
extern "C" __global__ void masked_combine_kernel(const float* out, const int* slot, const float* weight,
                                                 float* y, int num_tokens, int num_experts, int top_k,
                                                 int hidden, int capacity) {
    combine(out, slot, num_experts * capacity, weight, y, num_tokens, top_k, hidden);
}

extern "C" __global__ void launch_masked_combine(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div((long long)num_tokens * hidden, 4 * THREADS));
    launch->block = dim3(THREADS);
}

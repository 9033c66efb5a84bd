// Grouped GEMM on tensor cores, to FP32's precision: what is possible beyond exercise 01's solution.
//
// A multiprocessor's FP32 cores do 128 multiply-adds a clock; the tensor cores of an A100 do 1024, if the
// numbers are FP16. Those have 11 bits, too few here. So each float is split into two, x = high + low, and
//
//     a * b = a.high * b.high + a.high * b.low + a.low * b.high   (+ a.low * b.low: at most 2^-22 of it)
//
// Three products instead of one, of a type that is eight times as fast.
//
// Trap: FP16's largest value is 65504, and it loses anything below 2^-25. For values in [-1, 1], as here,
// the result is as exact as FP32's. For other ranges, split into TF32 (half as fast), scale first, or stay
// with FP32.
//
// Trap: tensor cores do not round their sums but truncate them, always towards zero. Over a long K that adds
// up. So large and small products have separate sums: two thirds of the truncations affect numbers
// too small to matter.
//
// With arithmetic this cheap, everything else limits the speed: for a large problem the L2 cache, and for a
// small one latency: of the launch, of M_sizes, of the first tiles. Tiles pass through a ring of stages in
// shared memory, by cp.async, while earlier ones are multiplied. So that many blocks can wait at once, tiles
// are small, and if there are few of them, more warps share the K of each.
//
// Microseconds per launch on an H200 (benchmarks/results/01_on_h200.md):
//
//                                    uniform   variable   imbalanced   small
//     this file                          4.8       10.8         38.1     3.9
//     exercise 01's solution             8.4       32.4         93.3     5.8
//     cuBLAS, its fastest route         13.0       34.7         89.2    20.0
//
// Compute capability 8.0 or newer. K and N are multiples of 16; arrays start on 16-byte boundaries or better.
#include <cuda_fp16.h>

#include "grader.cuh"

constexpr int WARP = 32;
constexpr unsigned int ALL_LANES = 0xffffffff;

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// -- Arithmetic ------------------------------------------------------------------------------------------

// Two floats as mma takes them: two FP16 numbers in one register, and their remainders in another.
__device__ __forceinline__ void split(float x, float y, unsigned int& high, unsigned int& low) {
    const __half2 near = __floats2half2_rn(x, y);
    const float2 had = __half22float2(near);
    const __half2 rest = __floats2half2_rn(x - had.x, y - had.y);  // the differences are exact
    high = *(const unsigned int*)&near;
    low = *(const unsigned int*)&rest;
}

// sum (16 x 8) += a (16 x 16) @ b (16 x 8), by a warp. Lane 4 * g + t holds two numbers in each register:
//     a0: row g, k = 2t and 2t + 1     a1: row g + 8     a2: row g, k = 2t + 8 and 2t + 9     a3: row g + 8
//     b0: column g, k = 2t and 2t + 1                    b1: column g, k = 2t + 8 and 2t + 9
//     sum[0], sum[1]: row g, columns 2t and 2t + 1       sum[2], sum[3]: row g + 8
__device__ __forceinline__ void mma(float (&sum)[4], const unsigned int (&a)[4], const unsigned int (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The tile of one warp: 16 * SLABS rows, 32 * STRIPS columns, 16 of K at a time.
//
// A sum over k may be taken in any order, and columns may be assigned in any order. Both are chosen so
// that a lane's values are contiguous, as float4s: mma's k = 2t, 2t + 1, 2t + 8, 2t + 9 are our 4t
// to 4t + 3, and column n of the j-th mma is our column 4n + j.
template <int SLABS, int STRIPS>
struct WarpTile {
    float4 a[SLABS][2];   // rows g and g + 8 of each slab; k 4t .. 4t + 3
    float4 b[STRIPS][4];  // k 4t + i; columns 4g .. 4g + 3 of each strip
};

template <int SLABS, int STRIPS>
struct WarpSum {
    float large[SLABS][STRIPS][4][4] = {};  // [..][mma j][register]
    float small[SLABS][STRIPS][4][4] = {};

    __device__ __forceinline__ void add_product(const WarpTile<SLABS, STRIPS>& tile) {
        unsigned int a_high[SLABS][4], a_low[SLABS][4];
#pragma unroll
        for (int i = 0; i < 2 * SLABS; ++i) {
            const float4 a = tile.a[i / 2][i % 2];
            split(a.x, a.y, a_high[i / 2][i % 2], a_low[i / 2][i % 2]);
            split(a.z, a.w, a_high[i / 2][i % 2 + 2], a_low[i / 2][i % 2 + 2]);
        }
#pragma unroll
        for (int s = 0; s < STRIPS; ++s) {
            unsigned int b_high[4][2], b_low[4][2];
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const float4 even = tile.b[s][2 * i], odd = tile.b[s][2 * i + 1];
                split(even.x, odd.x, b_high[0][i], b_low[0][i]);
                split(even.y, odd.y, b_high[1][i], b_low[1][i]);
                split(even.z, odd.z, b_high[2][i], b_low[2][i]);
                split(even.w, odd.w, b_high[3][i], b_low[3][i]);
            }
            // One kind of product after another, because an mma waits for the previous one in the same sum.
#pragma unroll
            for (int kind = 0; kind < 3; ++kind) {
#pragma unroll
                for (int i = 0; i < SLABS; ++i) {
#pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        if (kind == 0) mma(large[i][s][j], a_high[i], b_high[j]);
                        if (kind == 1) mma(small[i][s][j], a_low[i], b_high[j]);
                        if (kind == 2) mma(small[i][s][j], a_high[i], b_low[j]);
                    }
                }
            }
        }
    }

    // Four neighbours in a row of C: row g + 8 * half of a slab; columns 8t + 4 * quad .. + 3 of a strip.
    __device__ __forceinline__ float4 quad(int slab, int strip, int half, int quad) const {
        float c[4];
#pragma unroll
        for (int j = 0; j < 4; ++j)
            c[j] = large[slab][strip][j][2 * half + quad] + small[slab][strip][j][2 * half + quad];
        return make_float4(c[0], c[1], c[2], c[3]);
    }
};

__device__ __forceinline__ float4 operator+(float4 a, float4 b) {
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

// -- This block's tile -----------------------------------------------------------------------------------

struct Place {
    int group, M;   // the group, and its rows
    int first_row;  // of the tile, within the group
    int offset;     // of the group, within all rows
};

// blockIdx.y counts row tiles across all groups. Each lane handles one group; a prefix sum over lanes gives
// where each group's tiles begin. All reads of a warp are issued together: one memory latency, where a loop
// would have one per group. Every warp does this itself, which saves a barrier.
template <int TILE_M>
__device__ __forceinline__ Place find_tile(const int* group_offsets, const int* M_sizes, int num_groups) {
    const int lane = threadIdx.x % WARP;
    int wanted = blockIdx.y;
    for (int first = 0;; first += WARP) {
        const int group = first + lane;
        const int rows = group < num_groups ? M_sizes[group] : 0;
        const int offset = group < num_groups ? group_offsets[group] : 0;
        const int tiles = ceil_div(rows, TILE_M);
        int end = tiles;  // of this lane's group and those before it
#pragma unroll
        for (int reach = 1; reach < WARP; reach *= 2) {
            const int before = __shfl_up_sync(ALL_LANES, end, reach);
            if (lane >= reach) end += before;
        }
        const unsigned int beyond = __ballot_sync(ALL_LANES, end > wanted);
        if (beyond != 0) {
            const int owner = __ffs(beyond) - 1;  // the first group that ends after the wanted tile
            const int before = __shfl_sync(ALL_LANES, end - tiles, owner);
            return {first + owner, __shfl_sync(ALL_LANES, rows, owner), (wanted - before) * TILE_M,
                    __shfl_sync(ALL_LANES, offset, owner)};
        }
        wanted -= __shfl_sync(ALL_LANES, end, WARP - 1);
    }
}

// -- The pipelined kernel --------------------------------------------------------------------------------

__device__ __forceinline__ void copy16_async(float4* to, const float* from, bool inside) {
    const unsigned int address = (unsigned int)__cvta_generic_to_shared(to);
    // With 0 source bytes, nothing is read and 16 bytes of zeros are stored.
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(inside ? 16 : 0)
                 : "memory");
}

__device__ __forceinline__ void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until all groups of copies except the last `PENDING` have arrived.
template <int PENDING>
__device__ __forceinline__ void wait_for_groups() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// WARPS_M x WARPS_N warps cover the tile; WARPS_K such sets share K. A stage has STEP of K.
template <int WARPS_M_, int WARPS_N_, int WARPS_K_, int SLABS_, int STRIPS_, int STEP_, int STAGES_>
struct Pipelined {
    static constexpr int WARPS_M = WARPS_M_, WARPS_N = WARPS_N_, WARPS_K = WARPS_K_;
    static constexpr int SLABS = SLABS_, STRIPS = STRIPS_, STEP = STEP_, STAGES = STAGES_;
    static constexpr int TILE_M = WARPS_M * SLABS * 16, TILE_N = WARPS_N * STRIPS * 32;
    static constexpr int THREADS = WARPS_M * WARPS_N * WARPS_K * WARP;
    static constexpr int A_QUADS = TILE_M * STEP / 4, B_QUADS = TILE_N * STEP / 4;  // of a stage
    static constexpr int A_COPIES = A_QUADS / THREADS, B_COPIES = B_QUADS / THREADS;
    static constexpr int RING_QUADS = STAGES * (A_QUADS + B_QUADS);
    static constexpr int SUM_QUADS = (WARPS_K - 1) * TILE_M * TILE_N / 4;
    static constexpr int SHARED_BYTES = 16 * (RING_QUADS > SUM_QUADS ? RING_QUADS : SUM_QUADS);
    static_assert(A_QUADS % THREADS == 0 && B_QUADS % THREADS == 0, "every thread copies as much");
    static_assert(STEP % (16 * WARPS_K) == 0, "every warp has as much of K");
    static_assert(THREADS / (STEP / 4) % 2 == 0 && 4 % B_COPIES == 0, "copies that share an xor, see below");

    // Where four floats lie within a tile of a stage, in units of 16 bytes. A warp reads A two rows and 16 of
    // K at a time, and B four rows (4t + i) and 32 columns: the xor spreads each over all banks.
    __device__ static int a_at(int row, int quad) {
        return row * (STEP / 4) + (STEP > 16 ? quad ^ row % 2 * 4 : quad);
    }
    __device__ static int b_at(int k, int quad) { return k * (TILE_N / 4) + (quad ^ k / 4 % 4 * 2); }
};

template <class Shape>
__device__ __forceinline__ void pipelined(const float* A_concat, const float* B_concat, float* C_concat,
                                          const int* group_offsets, const int* M_sizes, int K, int N,
                                          int num_groups) {
    constexpr int THREADS = Shape::THREADS, STEP = Shape::STEP, STAGES = Shape::STAGES;
    constexpr int SLABS = Shape::SLABS, STRIPS = Shape::STRIPS;
    extern __shared__ float4 shared[];  // STAGES tiles of A (TILE_M, STEP), then as many of B (STEP, TILE_N)
    float4* A_ring = shared;
    float4* B_ring = shared + STAGES * Shape::A_QUADS;

    const Place place = find_tile<Shape::TILE_M>(group_offsets, M_sizes, num_groups);
    const int rows = place.M - place.first_row;  // of the tile and below it
    const int first_col = blockIdx.x * Shape::TILE_N, cols = N - first_col;
    const float* A = A_concat + (size_t)(place.offset + place.first_row) * K;  // (rows, K)
    const float* B = B_concat + (size_t)place.group * K * N + first_col;       // (K, cols)
    float* C = C_concat + (size_t)(place.offset + place.first_row) * N + first_col;

    // What this thread copies into each stage: of A, quads that lie A_PASS rows apart; of B, neighbouring
    // rows. So the xor is the same for all of them.
    constexpr int A_PASS = THREADS / (STEP / 4);
    const int a_row = threadIdx.x / (STEP / 4), a_quad = threadIdx.x % (STEP / 4);
    const int b_row = threadIdx.x / (Shape::TILE_N / 4) * Shape::B_COPIES;
    const int b_quad = threadIdx.x % (Shape::TILE_N / 4);
    const float* a_from = A + (size_t)a_row * K + 4 * a_quad;
    const float* b_from = B + (size_t)b_row * N + 4 * b_quad;
    float4* const a_to = A_ring + Shape::a_at(a_row, a_quad);
    float4* const b_to = B_ring + Shape::b_at(b_row, b_quad);
    int k_left = K;  // from the step on that is requested next

    auto request = [&](int stage) {
        if (k_left > 0) {
#pragma unroll
            for (int i = 0; i < Shape::A_COPIES; ++i)
                copy16_async(a_to + stage * Shape::A_QUADS + i * A_PASS * (STEP / 4),
                             a_from + (size_t)i * A_PASS * K,
                             a_row + i * A_PASS < rows && 4 * a_quad < k_left);
#pragma unroll
            for (int i = 0; i < Shape::B_COPIES; ++i)
                copy16_async(b_to + stage * Shape::B_QUADS + i * (Shape::TILE_N / 4), b_from + (size_t)i * N,
                             b_row + i < k_left && 4 * b_quad < cols);
            a_from += STEP;
            b_from += (size_t)STEP * N;
            k_left -= STEP;
        }
        end_group();  // even if empty, because the waits count groups
    };

    const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, warp = threadIdx.x / WARP;
    const int warp_col = warp % Shape::WARPS_N * STRIPS * 32;
    const int warp_row = warp / Shape::WARPS_N % Shape::WARPS_M * SLABS * 16;
    const int warp_k = warp / (Shape::WARPS_N * Shape::WARPS_M);
    WarpSum<SLABS, STRIPS> sum;

#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) request(stage);
    for (int k0 = 0, stage = 0; k0 < K; k0 += STEP) {
        wait_for_groups<STAGES - 2>();
        __syncthreads();  // this step's tiles are complete, and those of the previous step have been read:
        request(stage == 0 ? STAGES - 1 : stage - 1);  // refill their stage
        const float4* A_tile = A_ring + stage * Shape::A_QUADS;
        const float4* B_tile = B_ring + stage * Shape::B_QUADS;
#pragma unroll
        for (int k = 0; k < STEP; k += 16 * Shape::WARPS_K) {
            const float4* a = A_tile + Shape::a_at(warp_row + g, (k + 16 * warp_k) / 4 + t);
            const float4* b = B_tile + Shape::b_at(k + 16 * warp_k + 4 * t, warp_col / 4 + g);
            WarpTile<SLABS, STRIPS> tile;
#pragma unroll
            for (int i = 0; i < 2 * SLABS; ++i) tile.a[i / 2][i % 2] = a[8 * i * (STEP / 4)];
#pragma unroll
            for (int i = 0; i < 4 * STRIPS; ++i)
                tile.b[i / 4][i % 4] = b[i % 4 * (Shape::TILE_N / 4) + i / 4 * 8];
            sum.add_product(tile);
        }
        stage = stage + 1 == STAGES ? 0 : stage + 1;
    }

    // The warps that share K send their sums to the first set. All threads have read what is overwritten.
    constexpr int QUADS = SLABS * STRIPS * 4;  // of a lane
    if (Shape::WARPS_K > 1) {
        constexpr int SET = THREADS / Shape::WARPS_K;
        __syncthreads();
#pragma unroll
        for (int q = 0; q < QUADS; ++q)
            if (warp_k > 0)
                shared[((warp_k - 1) * QUADS + q) * SET + threadIdx.x % SET] =
                    sum.quad(q / 4 / STRIPS, q / 4 % STRIPS, q / 2 % 2, q % 2);
        __syncthreads();
        if (warp_k > 0) return;
    }
#pragma unroll
    for (int q = 0; q < QUADS; ++q) {
        const int slab = q / 4 / STRIPS, strip = q / 4 % STRIPS, half = q / 2 % 2;
        float4 total = sum.quad(slab, strip, half, q % 2);
#pragma unroll
        for (int other = 0; other < Shape::WARPS_K - 1; ++other)
            total = total + shared[(other * QUADS + q) * (THREADS / Shape::WARPS_K) + threadIdx.x];
        const int row = warp_row + 16 * slab + 8 * half + g;
        const int col = warp_col + 32 * strip + 8 * t + 4 * (q % 2);
        if (row < rows && col < cols) *(float4*)&C[(size_t)row * N + col] = total;
    }
}

// -- The kernels, and which one is launched --------------------------------------------------------------

using Small = Pipelined<2, 1, 4, 1, 1, 64, 4>;
using Large = Pipelined<1, 2, 2, 2, 1, 32, 6>;

// 32x32 tiles, four sets of two warps with a quarter of K each: for small problems.
extern "C" __global__ void __launch_bounds__(Small::THREADS)
    grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                        const int* group_offsets, const int* M_sizes, int K, int N, int num_groups) {
    pipelined<Small>(A_concat, B_concat, C_concat, group_offsets, M_sizes, K, N, num_groups);
}

// 32x64 tiles, two sets of two warps with half of K each.
extern "C" __global__ void __launch_bounds__(Large::THREADS)
    grouped_gemm_kernel_1(const float* A_concat, const float* B_concat, float* C_concat,
                          const int* group_offsets, const int* M_sizes, int K, int N, int num_groups) {
    pipelined<Large>(A_concat, B_concat, C_concat, group_offsets, M_sizes, K, N, num_groups);
}

struct Choice {
    int variant, tile_m, tile_n, threads, shared_bytes;
};

template <class Shape>
__device__ constexpr Choice choice(int variant) {
    return {variant, Shape::TILE_M, Shape::TILE_N, Shape::THREADS, Shape::SHARED_BYTES};
}

// The largest tiles that give at least three quarters of the multiprocessors a block, otherwise the
// smallest. The grid has exactly one block per tile.
extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    const Choice choices[] = {choice<Large>(1), choice<Small>(0)};
    for (const Choice& c : choices) {
        if (c.shared_bytes > launch->max_shared_bytes) continue;  // 99 KiB on some GPUs
        int row_tiles = 0;
        for (int group = 0; group < num_groups; ++group) row_tiles += ceil_div(M_sizes[group], c.tile_m);
        launch->grid = dim3(ceil_div(N, c.tile_n), row_tiles);
        launch->block = dim3(c.threads);
        launch->shared_bytes = c.shared_bytes;
        launch->variant = c.variant;
        if (4 * row_tiles * launch->grid.x >= 3 * launch->sm_count) return;
    }
}

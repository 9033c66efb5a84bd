// FP8 grouped GEMM on tensor cores: the reference solution.
//
// 1. Tiles. A block of four warps computes one tile of C, in steps of 128 along K: one step is one block of
//    scales, so a step's products can be summed first and scaled once.
//
// 2. A pipeline of cp.async copies. While one step is multiplied, the next are on their way from global to
//    shared memory, past the registers.
//
// 3. Tensor cores. ldmatrix fetches fragments from shared memory, mma.sync multiplies them. Hopper has no
//    mma.sync for FP8: the compiler turns one into conversions to FP16, two FP16 multiplications and four
//    additions. So this kernel converts by itself, which is exact, and multiplies in FP16: that saves the
//    additions, and a converted fragment is used several times.
//
// 4. Promotion. A step's sum is multiplied by the scales of A and B and added to the total in FP32.
//
// 5. Two tile sizes. Large tiles use each fragment more often; small tiles give more blocks, which a small
//    problem needs to fill the GPU. The launch function at the end chooses.
//
// Microseconds per launch on an H200 (cuBLASLt in parentheses): uniform 2.9 (6.3), variable 5.8 (11.3),
// imbalanced 14.4 (10.4), small 2.9 (11.4).
#include <cuda_bf16.h>

#include "grader.cuh"

constexpr int STEP = 128;                // elements along K that share a scale; also one step of the pipeline
constexpr int CHUNK = 16;                // bytes of one copy; K is a multiple of it
constexpr int PITCH = STEP + CHUNK;      // bytes from one row of a shared tile to the next
constexpr int WARPS_M = 2, WARPS_N = 2;  // how a block's warps divide its tile
constexpr int THREADS = 32 * WARPS_M * WARPS_N;

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// ---- PTX instructions that CUDA C++ has no name for -------------------------------------------------------

// Copies 16 bytes from global to shared memory, asynchronously; outside of the matrix, writes 16 zeros.
__device__ __forceinline__ void copy_chunk(unsigned to, const void* from, bool inside) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(inside ? CHUNK : 0)
                 : "memory");
}

// Closes a group of copies.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's latest groups of copies are still under way.
template <int N>
__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Loads four 8x16-byte matrices. Lanes 0 to 7 give the addresses of the first one's rows, 8 to 15 those of
// the second's, and so on. Lane l receives bytes 4 * (l % 4) to + 3 of row l / 4 of each.
__device__ __forceinline__ void load_matrices(unsigned (&matrix)[4], unsigned row_address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(matrix[0]), "=r"(matrix[1]), "=r"(matrix[2]), "=r"(matrix[3])
                 : "r"(row_address)
                 : "memory");
}

// Four E4M3 numbers as four FP16 numbers. FP16 holds every E4M3 value exactly.
__device__ __forceinline__ uint2 to_fp16(unsigned e4m3) {
    uint2 fp16;
    asm("{ .reg .b16 low, high;\n"
        "mov.b32 {low, high}, %2;\n"
        "cvt.rn.f16x2.e4m3x2 %0, low;\n"
        "cvt.rn.f16x2.e4m3x2 %1, high; }"
        : "=r"(fp16.x), "=r"(fp16.y)
        : "r"(e4m3));
    return fp16;
}

// sum (16x8, FP32) += A (16x16, FP16) @ B (16x8, FP16), by the whole warp.
__device__ __forceinline__ void multiply(float (&sum)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3,
                                         unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// ---- one tile of C ----------------------------------------------------------------------------------------

// One block computes one TILE_M x TILE_N tile of one group's C. STAGES steps are in shared memory at a time:
// one that is multiplied, the others on their way. blockIdx.x: which tile of columns. blockIdx.y: which tile
// of rows, counted across all groups.
template <int TILE_M, int TILE_N, int STAGES>
__device__ __forceinline__ void multiply_tile(const unsigned char* A_concat, const float* A_scales,
                                              const unsigned char* B_concat, const float* B_scales,
                                              unsigned short* C_concat, const int* group_offsets,
                                              const int* M_sizes, int K, int N) {
    constexpr int WARP_M = TILE_M / WARPS_M, WARP_N = TILE_N / WARPS_N;  // a warp's part of the tile
    constexpr int ROWS = WARP_M / 16, COLS = WARP_N / 8;                 // in 16x8 pieces, one mma.sync each
    constexpr int STAGE = (TILE_M + TILE_N) * PITCH;                     // bytes: A's tile, then B's

    // A row is padded by 16 bytes, so that eight rows at the same column lie in different banks for ldmatrix.
    extern __shared__ __align__(16) unsigned char tiles[];

    // Find this block's group: skip the groups whose tiles come first; empty groups have none.
    int group = 0;
    int row_tile = blockIdx.y;
    while (row_tile >= ceil_div(M_sizes[group], TILE_M)) {
        row_tile -= ceil_div(M_sizes[group], TILE_M);
        ++group;
    }
    const int M = M_sizes[group];
    const int first_row = row_tile * TILE_M;  // within the group
    const int first_col = blockIdx.x * TILE_N;
    const int steps = ceil_div(K, STEP);
    const unsigned char* A = A_concat + (size_t)group_offsets[group] * K;
    const unsigned char* B = B_concat + (size_t)group * N * K;
    unsigned short* C = C_concat + (size_t)group_offsets[group] * N;

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_row = warp / WARPS_N * WARP_M;  // within the tile
    const int warp_col = warp % WARPS_N * WARP_N;

    // Global -> shared memory. Eight threads copy the eight chunks of a row; this thread copies the same
    // chunk of every 16th row. K is a multiple of 16, so a chunk is entirely inside its matrix or entirely
    // outside.
    constexpr int COPIED_ROWS = THREADS / (STEP / CHUNK);
    const int copy_row = threadIdx.x / (STEP / CHUNK), copy_k = threadIdx.x % (STEP / CHUNK) * CHUNK;
    const unsigned shared = (unsigned)__cvta_generic_to_shared(tiles);
    const unsigned copy_to = shared + copy_row * PITCH + copy_k;
    const unsigned char* copy_a = A + (size_t)(first_row + copy_row) * K + copy_k;
    const unsigned char* copy_b = B + (size_t)(first_col + copy_row) * K + copy_k;
    auto fetch = [&](int step, int stage) {
        const int k = step * STEP;
        const bool k_inside = k + copy_k < K;
#pragma unroll
        for (int i = 0; i < TILE_M; i += COPIED_ROWS) {
            const bool inside = k_inside && first_row + copy_row + i < M;
            copy_chunk(copy_to + stage * STAGE + i * PITCH, inside ? copy_a + (size_t)i * K + k : A, inside);
        }
#pragma unroll
        for (int i = 0; i < TILE_N; i += COPIED_ROWS) {
            const bool inside = k_inside && first_col + copy_row + i < N;
            copy_chunk(copy_to + stage * STAGE + (TILE_M + i) * PITCH,
                       inside ? copy_b + (size_t)i * K + k : B, inside);
        }
    };

    // The product of A's and B's scale, for each of this thread's rows: lane / 4 and eight rows further in
    // each 16x8 piece. A tile's columns lie in one block of 128 columns, because TILE_N divides 128. Rows
    // outside of the group take the last row's scale; they are never stored.
    const float* scales_b = B_scales + ((size_t)group * ceil_div(N, STEP) + first_col / STEP) * steps;
    const float* scales_a[ROWS][2];
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = min(first_row + warp_row + 16 * i + lane / 4 + 8 * half, M - 1);
            scales_a[i][half] = A_scales + (size_t)(group_offsets[group] + row) * steps;
        }
    }
    float next_scale[ROWS][2];
    auto fetch_scales = [&](int step) {
        const float b = scales_b[step];
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
            next_scale[i][0] = scales_a[i][0][step] * b;
            next_scale[i][1] = scales_a[i][1][step] * b;
        }
    };

    // Where this lane points ldmatrix. A: rows 0 to 15, first 16 bytes, then the next 16. B: columns 0 to 7,
    // both halves of 32 bytes, then columns 8 to 15.
    const unsigned load_a = (warp_row + lane % 16) * PITCH + lane / 16 * 16;
    const unsigned load_b = (TILE_M + warp_col + lane / 16 * 8 + lane % 8) * PITCH + lane / 8 % 2 * 16;

    float total[ROWS][COLS][4] = {};

    fetch_scales(0);
#pragma unroll
    for (int step = 0; step < STAGES - 1; ++step) {
        if (step < steps) fetch(step, step);
        commit_copies();  // a group may be empty; then the count of groups still fits
    }
    int stage = 0;
    for (int step = 0; step < steps; ++step) {
        float scale[ROWS][2];
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
            scale[i][0] = next_scale[i][0];
            scale[i][1] = next_scale[i][1];
        }

        // Each thread waits for its own copies; after the barrier, everybody's are there. The barrier also
        // says that all warps are done with the stage that is filled next: they read it in the previous step.
        wait_for_copies<STAGES - 2>();
        __syncthreads();
        const int ahead = step + STAGES - 1;
        if (ahead < steps) fetch(ahead, stage == 0 ? STAGES - 1 : stage - 1);
        commit_copies();
        if (step + 1 < steps) fetch_scales(step + 1);

        const unsigned tile = shared + stage * STAGE;
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        float sum[ROWS][COLS][4] = {};  // of the products of this step, not scaled yet
#pragma unroll
        for (int k = 0; k < STEP; k += 32) {
            uint2 a[ROWS][4], b[COLS / 2][4];
            unsigned matrix[4];
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
                load_matrices(matrix, tile + load_a + 16 * i * PITCH + k);
#pragma unroll
                for (int e = 0; e < 4; ++e) a[i][e] = to_fp16(matrix[e]);
            }
#pragma unroll
            for (int j = 0; j < COLS / 2; ++j) {
                load_matrices(matrix, tile + load_b + 16 * j * PITCH + k);
#pragma unroll
                for (int e = 0; e < 4; ++e) b[j][e] = to_fp16(matrix[e]);
            }
            // A lane holds four neighbouring k, of which the FP16 fragment wants two here and two eight
            // further on. The order of k does not matter to a sum, as long as A and B have the same one: the
            // first two of each four serve as one k, the last two as the other.
#pragma unroll
            for (int half = 0; half < 2; ++half) {
#pragma unroll
                for (int i = 0; i < ROWS; ++i) {
#pragma unroll
                    for (int j = 0; j < COLS; ++j) {
                        const uint2 first = a[i][2 * half], second = a[i][2 * half + 1];
                        const uint2 right = b[j / 2][j % 2 * 2 + half];
                        multiply(sum[i][j], first.x, second.x, first.y, second.y, right.x, right.y);
                    }
                }
            }
        }

        // Promotion. Elements 0 and 1 are in row lane / 4 of the piece, 2 and 3 eight rows further down.
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
#pragma unroll
            for (int j = 0; j < COLS; ++j) {
#pragma unroll
                for (int e = 0; e < 4; ++e) total[i][j][e] += sum[i][j][e] * scale[i][e / 2];
            }
        }
    }

    // Two neighbouring columns are one store of two BF16 numbers.
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = first_row + warp_row + 16 * i + lane / 4 + 8 * half;
            if (row >= M) continue;
#pragma unroll
            for (int j = 0; j < COLS; ++j) {
                const int col = first_col + warp_col + 8 * j + lane % 4 * 2;
                if (col >= N) continue;
                *(__nv_bfloat162*)&C[(size_t)row * N + col] =
                    __floats2bfloat162_rn(total[i][j][2 * half], total[i][j][2 * half + 1]);
            }
        }
    }
}

constexpr int SMALL = 32, SMALL_STAGES = 2;
constexpr int LARGE = 64, LARGE_STAGES = 3;

// Small tiles, for problems that would not fill the GPU with large ones.
extern "C" __global__ void __launch_bounds__(THREADS)
    fp8_grouped_gemm_kernel(const unsigned char* A_concat, const float* A_scales,
                            const unsigned char* B_concat, const float* B_scales, unsigned short* C_concat,
                            const int* group_offsets, const int* M_sizes, int K, int N, int num_groups) {
    multiply_tile<SMALL, SMALL, SMALL_STAGES>(A_concat, A_scales, B_concat, B_scales, C_concat, group_offsets,
                                              M_sizes, K, N);
}

// Large tiles. At least four blocks on a multiprocessor: while some wait, others multiply.
extern "C" __global__ void __launch_bounds__(THREADS, 4)
    fp8_grouped_gemm_kernel_1(const unsigned char* A_concat, const float* A_scales,
                              const unsigned char* B_concat, const float* B_scales, unsigned short* C_concat,
                              const int* group_offsets, const int* M_sizes, int K, int N, int num_groups) {
    multiply_tile<LARGE, LARGE, LARGE_STAGES>(A_concat, A_scales, B_concat, B_scales, C_concat, group_offsets,
                                              M_sizes, K, N);
}

// The number of row tiles, summed over all groups.
__device__ int count_tiles(const int* M_sizes, int num_groups, int tile_m) {
    int tiles = 0;
    for (int group = 0; group < num_groups; ++group) tiles += ceil_div(M_sizes[group], tile_m);
    return tiles;
}

// Large tiles if they occupy more than half of the multiprocessors, small ones otherwise.
extern "C" __global__ void launch_fp8_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                                   Launch* launch) {
    int tile = LARGE, stages = LARGE_STAGES;
    int row_tiles = count_tiles(M_sizes, num_groups, tile);
    launch->variant = 1;
    if (2 * row_tiles * ceil_div(N, tile) < launch->sm_count) {
        tile = SMALL;
        stages = SMALL_STAGES;
        row_tiles = count_tiles(M_sizes, num_groups, tile);
        launch->variant = 0;
    }
    launch->grid = dim3(ceil_div(N, tile), row_tiles);
    launch->block = dim3(THREADS);
    launch->shared_bytes = stages * 2 * tile * PITCH;
}

// FP8 grouped GEMM as a Hopper GPU wants it: what comes after solution.cu. problem.md draws the pipeline.
//
// 1. Tensor cores. wgmma multiplies FP8 as it is: a warpgroup, four warps together, gives it 64 rows of A and
//    up to 256 rows of B, both in shared memory, and gets the sums in registers.
//
// 2. Tensor maps. One thread asks for a whole tile. The copy engine fetches it, swizzles it so that wgmma
//    meets no bank conflict, and fills with zeros what lies outside of the matrix. So a ragged K or N needs
//    no code here.
//
// 3. Warp specialization. A producer only asks for tiles, consumers only multiply. Two mbarriers for each
//    stage stand between them: `full` (the bytes have arrived) and `empty` (everyone has read them).
//
// 4. Promotion. A step of 128 along K is one block of scales: its sum is multiplied by them and added to the
//    total in FP32. While one consumer does so, the tensor cores work for the other.
//
// 5. Persistent blocks. There are as many as fit on the GPU, and each takes one tile after the other. So the
//    producer already fetches the next tile while the consumers store theirs.
//
// Microseconds per launch on an H200: uniform 3.9, variable 5.3, imbalanced 8.2, small 4.5. With more to
// multiply, 32 groups of 256 rows, N 4096, K 7168: 1009 TFLOPS, 1.5 times cuBLASLt's.
//
// What did not pay on an H200: clusters of two blocks that share the rows of A, or those of B, by multicast
// (2% slower, of four blocks 12%); rows of C stored by the copy engine, which leaves room for three stages
// only (3%); consumers that take turns at the tensor cores (5%); A in registers (11%).
#include "grader.cuh"

using u64 = unsigned long long;

constexpr int STEP = 128;  // elements along K that share a scale; one step of the pipeline
constexpr int WARP = 32, WARPGROUP = 128;
constexpr int BAND = 64;               // rows of A that a warpgroup multiplies at a time
constexpr int MMA_K = 32;              // products that one wgmma sums
constexpr int EIGHT_ROWS = 8 * STEP;   // bytes: after which the swizzled pattern of a tile repeats
constexpr int STORED = 64, CHUNK = 8;  // columns of C that a warp stores at a time; BF16 numbers in 16 bytes
constexpr int STORED_PITCH = STORED + CHUNK;  // one chunk more: eight rows lie in different banks

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// How the work is cut: tiles of 64 * CONSUMERS rows and COLS columns, STAGES steps of K in shared memory at a
// time.
template <int CONSUMERS_, int COLS_, int STAGES_>
struct Tile {
    static constexpr int CONSUMERS = CONSUMERS_, COLS = COLS_, STAGES = STAGES_;
    static constexpr int ROWS = CONSUMERS * BAND;
    static constexpr int PIECE = COLS < 128 ? COLS : 128;  // columns of one wgmma; they share a scale of B
    static constexpr int PIECES = COLS / PIECE;
    static constexpr int THREADS = (CONSUMERS + 1) * WARPGROUP;
    static constexpr int STAGE_BYTES = (ROWS + COLS) * STEP;
};

template <typename T>
struct Shared {
    unsigned char a[T::STAGES][T::ROWS * STEP];  // both as the tensor maps swizzle them
    unsigned char b[T::STAGES][T::COLS * STEP];
    unsigned short c[T::CONSUMERS * WARPGROUP / WARP][16][STORED_PITCH];  // a warp's rows, on their way to C
    u64 full[T::STAGES], empty[T::STAGES];
};

// What the kernels are given, besides A and B, which come as tensor maps.
struct Problem {
    const float *A_scales, *B_scales;
    unsigned short* C_concat;
    const int* M_sizes;
    int K, N, num_groups;
};

// ---- PTX instructions that CUDA C++ has no name for -------------------------------------------------------

__device__ __forceinline__ unsigned shared_address(const void* p) {
    return (unsigned)__cvta_generic_to_shared(p);
}

// An mbarrier's phase is complete after that many arrivals, once all bytes that were announced are there.
__device__ __forceinline__ void init_barrier(u64* barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals)
                 : "memory");
}

// Makes the barriers known to the copy engine.
__device__ __forceinline__ void publish_barriers() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// Arrives, and announces that many bytes.
__device__ __forceinline__ void arrive_and_expect(u64* barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
                 "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void arrive(u64* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// Waits until the phase of that parity is complete. Of a new barrier, the phase before the first one is.
__device__ __forceinline__ void wait(u64* barrier, unsigned parity) {
    unsigned complete = 0;
    while (!complete) {
        asm volatile(
            "{ .reg .pred p;\n"
            "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
            "selp.u32 %0, 1, 0, p; }"
            : "=r"(complete)
            : "r"(shared_address(barrier)), "r"(parity)
            : "memory");
    }
}

// Copies the box at (x, y, z) to shared memory, and reports its bytes to the barrier.
__device__ __forceinline__ void copy_box(void* to, const CUtensorMap& map, int x, int y, int z,
                                         u64* barrier) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(shared_address(to)),
        "l"(&map), "r"(x), "r"(y), "r"(z), "r"(shared_address(barrier))
        : "memory");
}

// Where wgmma finds a matrix: rows of 128 bytes, swizzled by 128 bytes, eight of them after the other.
__device__ __forceinline__ u64 describe(const void* tile) {
    constexpr u64 SWIZZLE_128 = 1;
    return shared_address(tile) >> 4 | (u64)(EIGHT_ROWS >> 4) << 32 | SWIZZLE_128 << 62;
}

// What follows may use registers and shared memory in wgmma as they are now.
__device__ __forceinline__ void fence_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

#define EIGHT(sum, i)                                                                                       \
    "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3]), "+f"(sum[i + 4]), "+f"(sum[i + 5]), \
        "+f"(sum[i + 6]), "+f"(sum[i + 7])

// sum (64x64) = A (64x32) @ B (64x32)^T, or += if `add`. By the whole warpgroup: a warp holds 16 rows. Of
// each eight columns a lane has two neighbouring ones, 2 * (lane % 4), in row lane / 4, and then the two
// eight rows below.
__device__ __forceinline__ void multiply(float (&sum)[32], u64 a, u64 b, bool add) {
    asm volatile(
        "{ .reg .pred add;\n"
        "setp.ne.b32 add, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "%32, %33, add, 1, 1; }"
        : EIGHT(sum, 0), EIGHT(sum, 8), EIGHT(sum, 16), EIGHT(sum, 24)
        : "l"(a), "l"(b), "r"((int)add));
}

// The same with 128 columns.
__device__ __forceinline__ void multiply(float (&sum)[64], u64 a, u64 b, bool add) {
    asm volatile(
        "{ .reg .pred add;\n"
        "setp.ne.b32 add, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, add, 1, 1; }"
        : EIGHT(sum, 0), EIGHT(sum, 8), EIGHT(sum, 16), EIGHT(sum, 24), EIGHT(sum, 32), EIGHT(sum, 40),
          EIGHT(sum, 48), EIGHT(sum, 56)
        : "l"(a), "l"(b), "r"((int)add));
}

__device__ __forceinline__ void commit_products() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Until it has waited, a thread must not touch the sums; the empty statements keep the compiler from it.
template <int N>
__device__ __forceinline__ void wait_for_products(float (&sum)[N]) {
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
    for (int i = 0; i < N; ++i) asm volatile("" : "+f"(sum[i])::"memory");
}

// Two numbers as BF16, rounded to nearest even; `low` at the lower address.
__device__ __forceinline__ unsigned to_bf16(float low, float high) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

// Stores four 8x8 matrices of BF16 numbers, the reverse of ldmatrix: lanes 0 to 7 give the addresses of the
// first one's rows, 8 to 15 those of the second's, and so on.
__device__ __forceinline__ void store_matrices(void* row, unsigned a, unsigned b, unsigned c, unsigned d) {
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)), "r"(a),
        "r"(b), "r"(c), "r"(d)
        : "memory");
}

// ---- which tile is next -----------------------------------------------------------------------------------

// Hands the tiles of all groups to the blocks in turn.
template <typename T>
struct TileScheduler {
    // Tiles that are multiplied at the same time should share much of A and B, which then comes from the L2
    // cache. So they follow each other through panels of this many columns of tiles, row by row.
    static constexpr int PANEL = 16;

    const int* M_sizes;
    int num_groups, across;               // `across`: how many tiles cover N
    int ticket = blockIdx.x, passed = 0;  // `passed`: tiles of the groups before this one
    int group = 0, group_row = 0;         // `group_row`: the group's first row in A_concat
    int row = 0, rows = 0;  // the tile's first row in A_concat, and how many rows of the group are left there
    int col = 0;

    __device__ explicit TileScheduler(const Problem& problem)
        : M_sizes(problem.M_sizes), num_groups(problem.num_groups), across(ceil_div(problem.N, T::COLS)) {}

    // Whether there is another tile.
    __device__ bool next() {
        for (; group < num_groups; ++group) {
            const int M = M_sizes[group], down = ceil_div(M, T::ROWS);
            if (ticket - passed < down * across) {
                place(ticket - passed, M, down);
                ticket += gridDim.x;
                return true;
            }
            passed += down * across;
            group_row += M;
        }
        return false;
    }

    __device__ void place(int index, int M, int down) {
        const int panel = index / (down * PANEL), in_panel = index % (down * PANEL);
        const int width = min(PANEL, across - panel * PANEL);  // of the panel; the last one may be narrower
        const int first = in_panel / width * T::ROWS;
        row = group_row + first;
        rows = M - first;
        col = (panel * PANEL + in_panel % width) * T::COLS;
    }
};

// The stage that comes next in the ring, and the parity of its phase.
template <int STAGES>
struct Stage {
    int index = 0;
    unsigned parity = 0;

    __device__ void advance() {
        index = index + 1 == STAGES ? 0 : index + 1;
        parity ^= index == 0;
    }
};

// ---- the two roles ----------------------------------------------------------------------------------------

// One thread: asks for the steps of all tiles of this block, as soon as a stage is empty.
template <typename T>
__device__ __forceinline__ void produce(Shared<T>& shared, const CUtensorMap& A, const CUtensorMap& B,
                                        const Problem& problem) {
    Stage<T::STAGES> stage;
    for (TileScheduler<T> tile(problem); tile.next();) {
        for (int k = 0; k < problem.K; k += STEP, stage.advance()) {
            u64* full = &shared.full[stage.index];
            wait(&shared.empty[stage.index], stage.parity ^ 1);
            arrive_and_expect(full, T::STAGE_BYTES);
            copy_box(shared.a[stage.index], A, k, tile.row, 0, full);
            copy_box(shared.b[stage.index], B, k, tile.col, tile.group, full);
        }
    }
}

// The scales of one step: of this lane's two rows, and of each piece's columns. They are read a step ahead.
template <typename T>
struct Scales {
    const float *of_a[2], *of_b[T::PIECES];
    float next_a[2], next_b[T::PIECES];

    // Rows and columns that do not exist take the scales of the last ones; what they scale is never stored.
    __device__ Scales(const Problem& problem, const TileScheduler<T>& tile, int first_row) {
        const int blocks = ceil_div(problem.K, STEP), last = ceil_div(problem.N, STEP) - 1;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = first_row + threadIdx.x % WARP / 4 + 8 * half;
            const int there = tile.row + min(row, tile.rows - 1);
            of_a[half] = problem.A_scales + (size_t)there * blocks;
        }
#pragma unroll
        for (int piece = 0; piece < T::PIECES; ++piece) {
            const int there = tile.group * (last + 1) + min(tile.col / STEP + piece, last);
            of_b[piece] = problem.B_scales + (size_t)there * blocks;
        }
        fetch(0);
    }

    __device__ __forceinline__ void fetch(int step) {
#pragma unroll
        for (int half = 0; half < 2; ++half) next_a[half] = of_a[half][step];
#pragma unroll
        for (int piece = 0; piece < T::PIECES; ++piece) next_b[piece] = of_b[piece][step];
    }
};

// Stores a warp's 16 rows of a tile, `first_row` and the following, 64 columns at a time: through shared
// memory, so that a lane stores 16 bytes, and eight lanes 128 bytes of a row. What is no row of the group is
// not stored: the next group's rows follow.
template <typename T>
__device__ __forceinline__ void store(unsigned short (&c)[16][STORED_PITCH], const Problem& problem,
                                      const TileScheduler<T>& tile, int first_row,
                                      const float (&total)[T::PIECES][T::PIECE / 2]) {
    constexpr int LANES = STORED / CHUNK;  // that store a row
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int first = 0; first < T::COLS; first += STORED) {
#pragma unroll
        for (int i = 0; i < STORED; i += 2 * CHUNK) {
            const float* sums = &total[first / T::PIECE][(first % T::PIECE + i) / 2];
            store_matrices(&c[lane % 16][i + lane / 16 * CHUNK], to_bf16(sums[0], sums[1]),
                           to_bf16(sums[2], sums[3]), to_bf16(sums[4], sums[5]), to_bf16(sums[6], sums[7]));
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < 16; i += WARP / LANES) {
            const int row = i + lane / LANES, from = lane % LANES * CHUNK, col = tile.col + first + from;
            if (first_row + row < tile.rows && col < problem.N) {
                const size_t to = (size_t)(tile.row + first_row + row) * problem.N + col;
                *(uint4*)&problem.C_concat[to] = *(const uint4*)&c[row][from];
            }
        }
        __syncwarp();
    }
}

// A warpgroup: multiplies its 64 rows of every tile of this block.
template <typename T>
__device__ __forceinline__ void consume(Shared<T>& shared, const Problem& problem) {
    const int first_row = threadIdx.x / WARPGROUP * BAND;  // of this warpgroup, in the tile
    const int lane = threadIdx.x % WARP, warp_row = first_row + threadIdx.x % WARPGROUP / WARP * 16;
    Stage<T::STAGES> stage;
    auto release = [&] {
        if (lane == 0) arrive(&shared.empty[stage.index]);
    };
    for (TileScheduler<T> tile(problem); tile.next();) {
        if (first_row >= tile.rows) {  // nothing to multiply
            for (int k = 0; k < problem.K; k += STEP, stage.advance()) {
                wait(&shared.full[stage.index], stage.parity);
                release();
            }
            continue;
        }
        Scales<T> scales(problem, tile, warp_row);
        float total[T::PIECES][T::PIECE / 2] = {};
        for (int k = 0; k < problem.K; k += STEP, stage.advance()) {
            const float scale_a[2] = {scales.next_a[0], scales.next_a[1]};
            float scale_b[T::PIECES];
#pragma unroll
            for (int piece = 0; piece < T::PIECES; ++piece) scale_b[piece] = scales.next_b[piece];
            if (k + STEP < problem.K) scales.fetch(k / STEP + 1);

            wait(&shared.full[stage.index], stage.parity);
            const u64 a = describe(shared.a[stage.index] + first_row * STEP);
            const u64 b = describe(shared.b[stage.index]);
#pragma unroll
            for (int piece = 0; piece < T::PIECES; ++piece) {
                float sum[T::PIECE / 2];
                fence_products();
#pragma unroll
                for (int i = 0; i < STEP; i += MMA_K)
                    multiply(sum, a + (i >> 4), b + ((piece * T::PIECE * STEP + i) >> 4), i > 0);
                commit_products();
                wait_for_products(sum);
                if (piece == T::PIECES - 1) release();
                const float scale[2] = {scale_a[0] * scale_b[piece], scale_a[1] * scale_b[piece]};
#pragma unroll
                for (int i = 0; i < T::PIECE / 2; ++i) total[piece][i] += sum[i] * scale[i / 2 % 2];
            }
        }
        store<T>(shared.c[threadIdx.x / WARP], problem, tile, warp_row, total);
    }
}

// ---- the kernels ------------------------------------------------------------------------------------------

template <typename T>
__device__ __forceinline__ void run(const CUtensorMap& A, const CUtensorMap& B, const Problem& problem) {
    extern __shared__ __align__(1024) unsigned char memory[];
    Shared<T>& shared = *(Shared<T>*)memory;
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < T::STAGES; ++stage) {
            init_barrier(&shared.full[stage], 1);
            init_barrier(&shared.empty[stage], T::CONSUMERS * WARPGROUP / WARP);
        }
        publish_barriers();
    }
    __syncthreads();

    // Multiplying takes many registers, asking for tiles few: with the largest tiles, the producer gives most
    // of its own away.
    constexpr bool LARGE = T::CONSUMERS * T::COLS > 256;
    if (threadIdx.x >= T::CONSUMERS * WARPGROUP) {
        if constexpr (LARGE) asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
        if (threadIdx.x == T::CONSUMERS * WARPGROUP) produce<T>(shared, A, B, problem);
    } else {
        if constexpr (LARGE) asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
        consume<T>(shared, problem);
    }
}

using Small = Tile<1, 64, 4>;
using Medium = Tile<2, 128, 4>;
using Large = Tile<2, 256, 4>;

#define PARAMETERS                                                                                     \
    const unsigned char *A_concat, const float *A_scales, const unsigned char *B_concat,               \
        const float *B_scales, unsigned short *C_concat, const int *group_offsets, const int *M_sizes, \
        int K, int N, int num_groups, const __grid_constant__ CUtensorMap A,                           \
        const __grid_constant__ CUtensorMap B
#define PROBLEM {A_scales, B_scales, C_concat, M_sizes, K, N, num_groups}

// Small tiles, for problems that would not fill the GPU with larger ones.
extern "C" __global__ void __launch_bounds__(Small::THREADS) fp8_grouped_gemm_kernel(PARAMETERS) {
    run<Small>(A, B, PROBLEM);
}

// Medium ones.
extern "C" __global__ void __launch_bounds__(Medium::THREADS, 1) fp8_grouped_gemm_kernel_1(PARAMETERS) {
    run<Medium>(A, B, PROBLEM);
}

// Large tiles use what is in shared memory most often.
extern "C" __global__ void __launch_bounds__(Large::THREADS, 1) fp8_grouped_gemm_kernel_2(PARAMETERS) {
    run<Large>(A, B, PROBLEM);
}

// ---- how the kernels are launched -------------------------------------------------------------------------

// A matrix (matrices, rows, K) of bytes, of which boxes of 128 bytes of `box_rows` rows are copied, swizzled.
__device__ void describe_matrix(TensorMap& map, int array, u64 K, u64 rows, u64 matrices, unsigned box_rows) {
    map.array = array;
    map.type = CU_TENSOR_MAP_DATA_TYPE_UINT8;
    map.rank = 3;
    map.dim[0] = K;
    map.dim[1] = rows;
    map.dim[2] = matrices;
    map.stride[0] = K;
    map.stride[1] = K * rows;
    map.box[0] = STEP;
    map.box[1] = box_rows;
    map.box[2] = 1;
    map.swizzle = CU_TENSOR_MAP_SWIZZLE_128B;
    map.l2_promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
}

template <typename T>
__device__ int count_tiles(const int* M_sizes, int N, int num_groups) {
    int down = 0;
    for (int group = 0; group < num_groups; ++group) down += ceil_div(M_sizes[group], T::ROWS);
    return down * ceil_div(N, T::COLS);
}

template <typename T>
__device__ void plan(const int* M_sizes, int K, int N, int num_groups, Launch* launch) {
    int rows = 0;
    for (int group = 0; group < num_groups; ++group) rows += M_sizes[group];
    const int together = launch->max_shared_bytes / (int)sizeof(Shared<T>) * launch->sm_count;
    launch->grid = dim3(min(count_tiles<T>(M_sizes, N, num_groups), together));
    launch->block = dim3(T::THREADS);
    launch->shared_bytes = sizeof(Shared<T>);
    launch->tensor_maps = 2;
    describe_matrix(launch->tensor_map[0], 0, K, rows, 1, T::ROWS);
    describe_matrix(launch->tensor_map[1], 2, K, N, num_groups, T::COLS);
}

// The largest tiles of which there are enough to fill the GPU.
extern "C" __global__ void launch_fp8_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                                   Launch* launch) {
    if (count_tiles<Large>(M_sizes, N, num_groups) >= 2 * launch->sm_count) {
        launch->variant = 2;
        plan<Large>(M_sizes, K, N, num_groups, launch);
    } else if (2 * count_tiles<Medium>(M_sizes, N, num_groups) >= launch->sm_count) {
        launch->variant = 1;
        plan<Medium>(M_sizes, K, N, num_groups, launch);
    } else {
        plan<Small>(M_sizes, K, N, num_groups, launch);
    }
}

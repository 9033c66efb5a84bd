// Short names for Hopper's instructions, and the problem that all kernels in this folder solve:
// d = a * b^T, for halves a (ROWS, DEPTH) and b (COLUMNS, DEPTH) and floats d (ROWS, COLUMNS), which are zeroed.
#include "grader.cuh"

using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

constexpr int ROWS = 128, COLUMNS = 32, DEPTH = 256;
constexpr int TILE = 64;                     // rows of a that a warpgroup multiplies
constexpr int STEP = 64, STEPS = DEPTH / STEP;  // halves of a row that come at a time: 128 bytes, all swizzled together
constexpr int A_BYTES = TILE * STEP * 2, B_BYTES = COLUMNS * STEP * 2, TILE_BYTES = A_BYTES + B_BYTES;
constexpr int SUMS = COLUMNS / 2;            // of a thread of a warpgroup

#define GEMM_PARAMETERS                                                                                       \
    const u16 *a, const u16 *b, float *d, const __grid_constant__ CUtensorMap of_a,                           \
        const __grid_constant__ CUtensorMap of_b, const __grid_constant__ CUtensorMap of_d
#define inline_device __device__ __forceinline__

inline_device u32 at(const void* pointer) { return (u32)__cvta_generic_to_shared(pointer); }

// Launching

inline_device void describe(TensorMap& map, int array, int type, int bytes, int columns, int rows, int box_columns,
                            int box_rows, int swizzle) {
    map.array = array, map.type = type, map.rank = 2, map.swizzle = swizzle;
    map.dim[0] = columns, map.dim[1] = rows, map.stride[0] = columns * bytes;
    map.box[0] = box_columns, map.box[1] = box_rows;
}

// Tiles of 64 rows of a, all rows of b, and 64 rows of d.
inline_device void launch_with(Launch* launch, int blocks, int threads, int cluster = 0, int a_rows = TILE,
                               int b_rows = COLUMNS) {
    launch->grid = dim3(blocks, 1, 1), launch->block = dim3(threads, 1, 1);
    if (cluster) launch->cluster = dim3(cluster, 1, 1);
    launch->tensor_maps = 3;
    const int halves = CU_TENSOR_MAP_DATA_TYPE_FLOAT16, swizzle = CU_TENSOR_MAP_SWIZZLE_128B;
    describe(launch->tensor_map[0], 0, halves, 2, DEPTH, ROWS, STEP, a_rows, swizzle);
    describe(launch->tensor_map[1], 1, halves, 2, DEPTH, COLUMNS, STEP, b_rows, swizzle);
    describe(launch->tensor_map[2], 2, CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4, COLUMNS, ROWS, COLUMNS, TILE, 0);
}

// mbarriers

inline_device void init(u64* bar, int count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at(bar)), "r"(count) : "memory");
}
inline_device void fence_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
inline_device void arrive(u64* bar) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(at(bar)) : "memory");
}
inline_device void expect(u64* bar, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at(bar)), "r"(bytes) : "memory");
}
inline_device bool passed(u64* bar, u32 parity) {
    u32 done;
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;"
                 " selp.u32 %0, 1, 0, p; }"
                 : "=r"(done)
                 : "r"(at(bar)), "r"(parity)
                 : "memory");
    return done;
}
inline_device void wait(u64* bar, u32 parity) {
    while (!passed(bar, parity)) {
    }
}

// Copies

inline_device void load(void* to, const CUtensorMap* map, int column, int row, u64* bar) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%2, %3}], [%4];" ::"r"(at(to)),
                 "l"(map), "r"(column), "r"(row), "r"(at(bar))
                 : "memory");
}
inline_device void load_for(u16 mask, void* to, const CUtensorMap* map, int column, int row, u64* bar) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(at(to)),
                 "l"(map), "r"(column), "r"(row), "r"(at(bar)), "h"(mask)
                 : "memory");
}
inline_device void load_bytes(void* to, const void* from, int bytes, u64* bar) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     at(to)),
                 "l"(from), "r"(bytes), "r"(at(bar))
                 : "memory");
}
inline_device void store(const CUtensorMap* map, int column, int row, const void* from) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map),
                 "r"(column), "r"(row), "r"(at(from))
                 : "memory");
}
inline_device void add(const CUtensorMap* map, int column, int row, const void* from) {
    asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(
                     map),
                 "r"(column), "r"(row), "r"(at(from))
                 : "memory");
}
inline_device void commit_copies() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
template <int LEFT>
inline_device void wait_for_copies() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(LEFT) : "memory");
}
inline_device void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Products

// Rows of 128 bytes, swizzled; eight of them are 1024 bytes.
inline_device u64 swizzled(const void* tile) {
    return (u64)(at(tile) >> 4) | (u64)(1024 >> 4) << 32 | 1ull << 62;
}
inline_device void fence_registers() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
inline_device void commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int LEFT>
inline_device void wait_for_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}
#define EIGHT(s, i)                                                                                           \
    "+f"(s[i]), "+f"(s[i + 1]), "+f"(s[i + 2]), "+f"(s[i + 3]), "+f"(s[i + 4]), "+f"(s[i + 5]), "+f"(s[i + 6]), \
        "+f"(s[i + 7])
#define SIXTEEN "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}"
inline_device void multiply(float (&sum)[SUMS], u64 a, u64 b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 " SIXTEEN ", %16, %17, 1, 1, 1, 0, 0;"
                 : EIGHT(sum, 0), EIGHT(sum, 8)
                 : "l"(a), "l"(b));
}
// A of 16 halves of each row, in registers as mma.m16n8k16 has it.
inline_device void multiply(float (&sum)[SUMS], const u32 (&a)[4], u64 b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 " SIXTEEN
                 ", {%16, %17, %18, %19}, %20, 1, 1, 1, 0;"
                 : EIGHT(sum, 0), EIGHT(sum, 8)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
// One step: 64 halves of each row are four products.
inline_device void multiply_step(float (&sum)[SUMS], const void* a, const void* b) {
    for (int k = 0; k < STEP / 16; ++k) multiply(sum, swizzled(a) + 2 * k, swizzled(b) + 2 * k);
}
// Where element i of a thread's sums lies in the warpgroup's 64 rows.
inline_device int row_of(int i) { return threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4 + i / 2 % 2 * 8; }
inline_device int column_of(int i) { return i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2; }
inline_device void store_sums(float* d, const float (&sum)[SUMS], int first_row) {
    for (int i = 0; i < SUMS; ++i) d[(first_row + row_of(i)) * COLUMNS + column_of(i)] = sum[i];
}

// Clusters

inline_device u32 rank_in_cluster() {
    u32 rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
inline_device void arrive_cluster() { asm volatile("barrier.cluster.arrive.release;" ::: "memory"); }
inline_device void wait_cluster() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }
inline_device void sync_cluster() { arrive_cluster(), wait_cluster(); }
inline_device u32 mapped(const void* pointer, u32 rank) {
    u32 to;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(at(pointer)), "r"(rank));
    return to;
}
inline_device void arrive_remote(u32 bar) {
    asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(bar) : "memory");
}
inline_device float read_remote(u32 from) {
    float value;
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(from) : "memory");
    return value;
}
inline_device void store_async(u32 to, float value, u32 bar) {
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.f32 [%0], %1, [%2];" ::"r"(to), "f"(value),
                 "r"(bar)
                 : "memory");
}

// Hopper's pipeline: one warp fills a ring of tiles with cp.async.bulk, four warps multiply, and mbarriers
// say which tile is full and which is empty. The result leaves through shared memory, a row at a time, by
// bulk copy.
#include "grader.cuh"

constexpr int ROWS = 64, COLS = 16, STEP = 16, STAGES = 3, CONSUMERS = 128;
constexpr unsigned ROW_BYTES = STEP * sizeof(float), TILE_BYTES = (ROWS + STEP) * ROW_BYTES;
static_assert(COLS == STEP, "a row of B's tile has as many bytes as one of A's");

using Barrier = unsigned long long;

struct Stage {
    float A[ROWS][STEP], B[STEP][COLS];
};

__device__ unsigned shared_address(const void* pointer) {
    return (unsigned)__cvta_generic_to_shared(pointer);
}

__device__ void init(Barrier* barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals)
                 : "memory");
}

__device__ void arrive(Barrier* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

__device__ void arrive_and_expect(Barrier* barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
                 "r"(bytes)
                 : "memory");
}

__device__ void wait(Barrier* barrier, unsigned parity) {
    asm volatile("{\n"
                 ".reg .pred P1;\n"
                 "LAB_WAIT:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 P1, [%0], %1;\n"
                 "@P1 bra DONE;\n"
                 "bra LAB_WAIT;\n"
                 "DONE:\n"
                 "}" ::"r"(shared_address(barrier)), "r"(parity)
                 : "memory");
}

__device__ void load_row(float* to, const float* from, Barrier* barrier) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
            shared_address(to)),
        "l"(from), "r"(ROW_BYTES), "r"(shared_address(barrier))
        : "memory");
}

__device__ void store_row(float* to, const float* from) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to),
                 "r"(shared_address(from)), "r"((unsigned)(COLS * sizeof(float)))
                 : "memory");
}

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    extern __shared__ __align__(128) unsigned char memory[];
    Stage* stages = (Stage*)memory;
    float(*result)[COLS] = (float(*)[COLS])(stages + STAGES);
    __shared__ Barrier full[STAGES], empty[STAGES];
    const int group = blockIdx.z, M = M_sizes[group];
    const int first_row = blockIdx.y * ROWS, first_col = blockIdx.x * COLS;
    if (first_row >= M) return;
    const int t = threadIdx.x, lane = t % 32, steps = K / STEP;
    if (t == 0) {
        for (int s = 0; s < STAGES; ++s) {
            init(&full[s], 1);
            init(&empty[s], CONSUMERS / 32);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();

    if (t >= CONSUMERS) {
        const float* A = A_concat + (size_t)group_offsets[group] * K;
        const float* B = B_concat + (size_t)group * K * N + first_col;
        for (int step = 0; step < steps; ++step) {
            const int s = step % STAGES;
            if (lane == 0) {
                wait(&empty[s], (step / STAGES & 1) ^ 1);
                arrive_and_expect(&full[s], TILE_BYTES);
            }
            __syncwarp();
            // Rows outside repeat the last one inside: they are multiplied, and never stored.
            for (int r = lane; r < ROWS; r += 32)
                load_row(stages[s].A[r], &A[(size_t)min(first_row + r, M - 1) * K + step * STEP], &full[s]);
            if (lane < STEP) load_row(stages[s].B[lane], &B[(size_t)(step * STEP + lane) * N], &full[s]);
        }
        return;
    }

    const int row = t / 4 * 2, col = t % 4 * 4;
    float sum[2][4] = {};
    for (int step = 0; step < steps; ++step) {
        const int s = step % STAGES;
        wait(&full[s], step / STAGES & 1);
        for (int k = 0; k < STEP; ++k) {
            const float4 b = *(const float4*)&stages[s].B[k][col];
            for (int i = 0; i < 2; ++i) {
                const float a = stages[s].A[row + i][k];
                sum[i][0] += a * b.x, sum[i][1] += a * b.y, sum[i][2] += a * b.z, sum[i][3] += a * b.w;
            }
        }
        __syncwarp();
        if (lane == 0) arrive(&empty[s]);
    }
    for (int i = 0; i < 2; ++i)
        *(float4*)&result[row + i][col] = make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");  // bulk copies see what was stored
    asm volatile("bar.sync 1, %0;" ::"n"(CONSUMERS) : "memory");  // all but the warp that loads
    if (t < ROWS && first_row + t < M) {
        store_row(&C_concat[(size_t)(group_offsets[group] + first_row + t) * N + first_col], result[t]);
        asm volatile("cp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;" ::: "memory");
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3(N / COLS, (most_rows + ROWS - 1) / ROWS, num_groups);
    launch->block = dim3(CONSUMERS + 32);
    launch->shared_bytes = STAGES * sizeof(Stage) + ROWS * COLS * sizeof(float);
}

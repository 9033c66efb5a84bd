// One block for all tiles. Sums leave through shared memory by bulk copy, which is waited for only before the next
// tile's sums are written there; meanwhile the next tile is loaded and multiplied.
constexpr int STAGES = 2, CONSUMERS = 128;

extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[STAGES][TILE * STEP];
    alignas(1024) __shared__ u16 B[STAGES][COLUMNS * STEP];
    alignas(1024) __shared__ float out[TILE * COLUMNS];
    __shared__ u64 full[STAGES], empty[STAGES];
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) {
            init(&full[stage], 1);
            init(&empty[stage], CONSUMERS / 32);
        }
        fence_init();
    }
    __syncthreads();
    const int steps = ROWS / TILE * STEPS;
    if (threadIdx.x >= CONSUMERS) {
        if (threadIdx.x == CONSUMERS) {
#pragma unroll 1
            for (int i = 0; i < steps; ++i) {
                const int stage = i % STAGES;
                wait(&empty[stage], i / STAGES & 1 ^ 1);
                expect(&full[stage], TILE_BYTES);
                load(A[stage], &of_a, i % STEPS * STEP, i / STEPS * TILE, &full[stage]);
                load(B[stage], &of_b, i % STEPS * STEP, 0, &full[stage]);
            }
        }
        return;
    }
#pragma unroll 1
    for (int tile = 0; tile < ROWS / TILE; ++tile) {
        float sum[SUMS] = {};
#pragma unroll 1
        for (int step = 0; step < STEPS; ++step) {
            const int i = tile * STEPS + step, stage = i % STAGES;
            wait(&full[stage], i / STAGES & 1);
            fence_registers();
            multiply_step(sum, A[stage], B[stage]);
            commit();
            wait_for_products<0>();
            if (threadIdx.x % 32 == 0) arrive(&empty[stage]);
        }
        if (threadIdx.x == 0) wait_for_copies<0>();
        asm volatile("bar.sync 1, 128;" ::: "memory");
        store_sums(out, sum, 0);
        fence_async();
        asm volatile("bar.sync 1, 128;" ::: "memory");
        if (threadIdx.x == 0) {
            store(&of_d, 0, tile * TILE, out);
            commit_copies();
        }
    }
    if (threadIdx.x == 0) wait_for_copies<0>();
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, 1, CONSUMERS + 32); }

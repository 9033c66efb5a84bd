// Multicast with two stages: a stage is empty once the consumers of both blocks have said so, each at both blocks.
constexpr int STAGES = 2, CONSUMERS = 128;

extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[STAGES][TILE * STEP];
    alignas(1024) __shared__ u16 B[STAGES][COLUMNS * STEP];
    __shared__ u64 full[STAGES], empty[STAGES];
    const int rank = rank_in_cluster(), half = COLUMNS / 2;
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) {
            init(&full[stage], 1);
            init(&empty[stage], 2);
        }
        fence_init();
    }
    sync_cluster();
    if (threadIdx.x >= CONSUMERS) {
        if (threadIdx.x == CONSUMERS) {
#pragma unroll 1
            for (int step = 0; step < STEPS; ++step) {
                const int stage = step % STAGES;
                wait(&empty[stage], step / STAGES & 1 ^ 1);
                expect(&full[stage], TILE_BYTES);
                load(A[stage], &of_a, step * STEP, blockIdx.x * TILE, &full[stage]);
                load_for(3, &B[stage][rank * half * STEP], &of_b, step * STEP, rank * half, &full[stage]);
            }
        }
    } else {
        float sum[SUMS] = {};
#pragma unroll 1
        for (int step = 0; step < STEPS; ++step) {
            const int stage = step % STAGES;
            wait(&full[stage], step / STAGES & 1);
            fence_registers();
            multiply_step(sum, A[stage], B[stage]);
            commit();
            wait_for_products<0>();
            asm volatile("bar.sync 1, 128;" ::: "memory");
            if (threadIdx.x < 2) arrive_remote(mapped(&empty[stage], threadIdx.x));
        }
        store_sums(d, sum, blockIdx.x * TILE);
    }
    sync_cluster();
}

extern "C" __global__ void launch_gemm(Launch* launch) {
    launch_with(launch, ROWS / TILE, CONSUMERS + 32, 2, TILE, COLUMNS / 2);
}

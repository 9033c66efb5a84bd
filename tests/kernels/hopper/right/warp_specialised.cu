// One warp loads, a warpgroup multiplies: `full` says that a stage has arrived, `empty` that it was read.
constexpr int STAGES = 2, CONSUMERS = 128;

extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[STAGES][TILE * STEP];
    alignas(1024) __shared__ u16 B[STAGES][COLUMNS * STEP];
    __shared__ u64 full[STAGES], empty[STAGES];
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) {
            init(&full[stage], 1);
            init(&empty[stage], CONSUMERS / 32);
        }
        fence_init();
    }
    __syncthreads();
    if (threadIdx.x >= CONSUMERS) {
        if (threadIdx.x == CONSUMERS) {
#pragma unroll 1
            for (int step = 0; step < STEPS; ++step) {
                const int stage = step % STAGES;
                wait(&empty[stage], step / STAGES & 1 ^ 1);
                expect(&full[stage], TILE_BYTES);
                load(A[stage], &of_a, step * STEP, blockIdx.x * TILE, &full[stage]);
                load(B[stage], &of_b, step * STEP, 0, &full[stage]);
            }
        }
        return;
    }
    float sum[SUMS] = {};
#pragma unroll 1
    for (int step = 0; step < STEPS; ++step) {
        const int stage = step % STAGES;
        wait(&full[stage], step / STAGES & 1);
        fence_registers();
        multiply_step(sum, A[stage], B[stage]);
        commit();
        wait_for_products<0>();
        if (threadIdx.x % 32 == 0) arrive(&empty[stage]);
    }
    store_sums(d, sum, blockIdx.x * TILE);
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, ROWS / TILE, CONSUMERS + 32); }

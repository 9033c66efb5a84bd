// Two warpgroups share one tile of 128 rows and the same B; a third one loads, with fewer registers.
constexpr int STAGES = 2, CONSUMERS = 256;

extern "C" __global__ void __launch_bounds__(CONSUMERS + 128) gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[STAGES][ROWS * STEP];
    alignas(1024) __shared__ u16 B[STAGES][COLUMNS * STEP];
    __shared__ u64 full[STAGES], empty[STAGES];
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) {
            init(&full[stage], 1);
            init(&empty[stage], CONSUMERS);
        }
        fence_init();
    }
    __syncthreads();
    if (threadIdx.x >= CONSUMERS) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == CONSUMERS) {
#pragma unroll 1
            for (int step = 0; step < STEPS; ++step) {
                const int stage = step % STAGES;
                wait(&empty[stage], step / STAGES & 1 ^ 1);
                expect(&full[stage], 2 * A_BYTES + B_BYTES);
                load(A[stage], &of_a, step * STEP, 0, &full[stage]);
                load(B[stage], &of_b, step * STEP, 0, &full[stage]);
            }
        }
        return;
    }
    asm volatile("setmaxnreg.inc.sync.aligned.u32 160;");
    const int first_row = threadIdx.x / 128 * TILE;
    float sum[SUMS] = {};
#pragma unroll 1
    for (int step = 0; step < STEPS; ++step) {
        const int stage = step % STAGES;
        wait(&full[stage], step / STAGES & 1);
        fence_registers();
        multiply_step(sum, &A[stage][first_row * STEP], B[stage]);
        commit();
        wait_for_products<0>();
        arrive(&empty[stage]);
    }
    store_sums(d, sum, first_row);
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, 1, CONSUMERS + 128, 0, ROWS); }

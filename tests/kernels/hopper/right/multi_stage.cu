// Three stages without a warp of their own for copies: thread 0 loads two steps ahead, and one group of products
// stays in flight.
constexpr int STAGES = 3;

extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[STAGES][TILE * STEP];
    alignas(1024) __shared__ u16 B[STAGES][COLUMNS * STEP];
    __shared__ u64 full[STAGES];
    auto load_step = [&](int step) {
        if (threadIdx.x != 0 || step >= STEPS) return;
        const int stage = step % STAGES;
        expect(&full[stage], TILE_BYTES);
        load(A[stage], &of_a, step * STEP, blockIdx.x * TILE, &full[stage]);
        load(B[stage], &of_b, step * STEP, 0, &full[stage]);
    };
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) init(&full[stage], 1);
        fence_init();
    }
    __syncthreads();
    for (int step = 0; step < STAGES - 1; ++step) load_step(step);
    float sum[SUMS] = {};
#pragma unroll 1
    for (int step = 0; step < STEPS; ++step) {
        const int stage = step % STAGES;
        wait(&full[stage], step / STAGES & 1);
        fence_registers();
        multiply_step(sum, A[stage], B[stage]);
        commit();
        wait_for_products<1>();
        __syncthreads();
        load_step(step + STAGES - 1);
    }
    wait_for_products<0>();
    store_sums(d, sum, blockIdx.x * TILE);
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, ROWS / TILE, 128); }

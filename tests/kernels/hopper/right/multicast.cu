// Two blocks of a cluster need the same B: each loads one half of it for both.
extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[TILE * STEP];
    alignas(1024) __shared__ u16 B[COLUMNS * STEP];
    __shared__ u64 full;
    const int rank = rank_in_cluster(), half = COLUMNS / 2;
    if (threadIdx.x == 0) {
        init(&full, 1);
        fence_init();
    }
    sync_cluster();
    float sum[SUMS] = {};
#pragma unroll 1
    for (int step = 0; step < STEPS; ++step) {
        if (threadIdx.x == 0) {
            expect(&full, TILE_BYTES);
            load(A, &of_a, step * STEP, blockIdx.x * TILE, &full);
            load_for(3, &B[rank * half * STEP], &of_b, step * STEP, rank * half, &full);
        }
        wait(&full, step & 1);
        fence_registers();
        multiply_step(sum, A, B);
        commit();
        wait_for_products<0>();
        sync_cluster();
    }
    store_sums(d, sum, blockIdx.x * TILE);
}

extern "C" __global__ void launch_gemm(Launch* launch) {
    launch_with(launch, ROWS / TILE, 128, 2, TILE, COLUMNS / 2);
}

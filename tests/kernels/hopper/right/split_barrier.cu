// As distributed_sum.cu, but a block says that its sums are ready, loads what it needs next, and only then waits.
extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[2][TILE * STEP];
    alignas(1024) __shared__ u16 B[2][COLUMNS * STEP];
    __shared__ float part[TILE * COLUMNS];
    __shared__ u64 full[2];
    const int rank = rank_in_cluster(), first_step = rank * STEPS / 2;
    if (threadIdx.x == 0) {
        init(&full[0], 1);
        init(&full[1], 1);
        fence_init();
    }
    __syncthreads();
    auto load_both = [&](int tile) {
        if (threadIdx.x != 0) return;
        for (int i = 0; i < 2; ++i) {
            expect(&full[i], TILE_BYTES);
            load(A[i], &of_a, (first_step + i) * STEP, tile * TILE, &full[i]);
            load(B[i], &of_b, (first_step + i) * STEP, 0, &full[i]);
        }
    };
    load_both(0);
#pragma unroll 1
    for (int tile = 0; tile < ROWS / TILE; ++tile) {
        float sum[SUMS] = {};
        for (int i = 0; i < 2; ++i) {
            wait(&full[i], tile & 1);
            fence_registers();
            multiply_step(sum, A[i], B[i]);
            commit();
        }
        wait_for_products<0>();
        store_sums(part, sum, 0);
        arrive_cluster();
        __syncthreads();
        if (tile + 1 < ROWS / TILE) load_both(tile + 1);
        wait_cluster();
        for (int i = threadIdx.x; i < TILE * COLUMNS / 2; i += 128) {
            const int mine = rank * TILE * COLUMNS / 2 + i;
            d[tile * TILE * COLUMNS + mine] = part[mine] + read_remote(mapped(&part[mine], rank ^ 1));
        }
        sync_cluster();
    }
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, 2, 128, 2); }

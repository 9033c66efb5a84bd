// Two blocks of a cluster share one tile, each multiplies one half of the depth; the sums meet in distributed shared
// memory.
extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[TILE * STEP];
    alignas(1024) __shared__ u16 B[COLUMNS * STEP];
    __shared__ float part[TILE * COLUMNS];
    __shared__ u64 full;
    const int rank = rank_in_cluster(), first_row = blockIdx.x / 2 * TILE;
    if (threadIdx.x == 0) {
        init(&full, 1);
        fence_init();
    }
    __syncthreads();
    float sum[SUMS] = {};
#pragma unroll 1
    for (int i = 0; i < STEPS / 2; ++i) {
        const int step = rank * STEPS / 2 + i;
        if (threadIdx.x == 0) {
            expect(&full, TILE_BYTES);
            load(A, &of_a, step * STEP, first_row, &full);
            load(B, &of_b, step * STEP, 0, &full);
        }
        wait(&full, i & 1);
        fence_registers();
        multiply_step(sum, A, B);
        commit();
        wait_for_products<0>();
        __syncthreads();
    }
    store_sums(part, sum, 0);
    sync_cluster();
    for (int i = threadIdx.x; i < TILE * COLUMNS / 2; i += 128) {
        const int mine = rank * TILE * COLUMNS / 2 + i;
        d[first_row * COLUMNS + mine] = part[mine] + read_remote(mapped(&part[mine], rank ^ 1));
    }
    sync_cluster();
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, 2 * ROWS / TILE, 128, 2); }

// Each block multiplies a part of the depth; bulk copies add the parts up in global memory.
extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[TILE * STEP];
    alignas(1024) __shared__ u16 B[COLUMNS * STEP];
    alignas(128) __shared__ float out[TILE * COLUMNS];
    __shared__ u64 full;
    const int step = blockIdx.x % STEPS, first_row = blockIdx.x / STEPS * TILE;
    if (threadIdx.x == 0) {
        init(&full, 1);
        fence_init();
        expect(&full, TILE_BYTES);
        load(A, &of_a, step * STEP, first_row, &full);
        load(B, &of_b, step * STEP, 0, &full);
    }
    __syncthreads();
    float sum[SUMS] = {};
    wait(&full, 0);
    fence_registers();
    multiply_step(sum, A, B);
    commit();
    wait_for_products<0>();
    store_sums(out, sum, 0);
    fence_async();
    __syncthreads();
    if (threadIdx.x == 0) {
        add(&of_d, 0, first_row, out);
        commit_copies();
        wait_for_copies<0>();
    }
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, ROWS / TILE * STEPS, 128); }

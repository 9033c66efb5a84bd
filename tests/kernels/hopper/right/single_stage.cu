// One stage: each step is loaded, waited for, multiplied and waited for.
extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[TILE * STEP];
    alignas(1024) __shared__ u16 B[COLUMNS * STEP];
    __shared__ u64 full;
    if (threadIdx.x == 0) {
        init(&full, 1);
        fence_init();
    }
    __syncthreads();
    float sum[SUMS] = {};
#pragma unroll 1
    for (int step = 0; step < STEPS; ++step) {
        if (threadIdx.x == 0) {
            expect(&full, TILE_BYTES);
            load(A, &of_a, step * STEP, blockIdx.x * TILE, &full);
            load(B, &of_b, step * STEP, 0, &full);
        }
        wait(&full, step & 1);
        fence_registers();
        multiply_step(sum, A, B);
        commit();
        wait_for_products<0>();
        __syncthreads();
    }
    store_sums(d, sum, blockIdx.x * TILE);
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, ROWS / TILE, 128); }

// A goes through registers, as where it is converted before it is multiplied: ldmatrix reads the swizzled tile.
inline_device void read_fragment(u32 (&to)[4], const u16* tile, int k) {
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane % 16, piece = 2 * k + lane / 16;
    const u32 from = at(tile) + row * 128 + ((piece ^ row % 8) << 4);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

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
        u32 fragment[STEP / 16][4];
        for (int k = 0; k < STEP / 16; ++k) read_fragment(fragment[k], A, k);
        fence_registers();
        for (int k = 0; k < STEP / 16; ++k) multiply(sum, fragment[k], swizzled(B) + 2 * k);
        commit();
        wait_for_products<0>();
        __syncthreads();
    }
    store_sums(d, sum, blockIdx.x * TILE);
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, ROWS / TILE, 128); }

// cp.async.bulk brings 16 bytes of a row at a time, to where a product without swizzle looks for them; each warp
// brings its share.
constexpr int PIECES = STEP / 8;

inline_device u64 in_pieces(const void* tile) {
    return (u64)(at(tile) >> 4) | (u64)(128 >> 4) << 16 | (u64)(128 * PIECES >> 4) << 32;
}

inline_device void load_rows(u16* to, const u16* from, int rows, u64* full) {
    for (int i = threadIdx.x; i < rows * PIECES; i += 128) {
        const int row = i / PIECES, piece = i % PIECES;
        load_bytes(&to[(row / 8 * PIECES + piece) * 64 + row % 8 * 8], &from[row * DEPTH + piece * 8], 16, full);
    }
}

extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(128) __shared__ u16 A[TILE * STEP];
    alignas(128) __shared__ u16 B[COLUMNS * STEP];
    __shared__ u64 full;
    if (threadIdx.x == 0) {
        init(&full, 1);
        fence_init();
    }
    __syncthreads();
    float sum[SUMS] = {};
#pragma unroll 1
    for (int step = 0; step < STEPS; ++step) {
        if (threadIdx.x == 0) expect(&full, TILE_BYTES);
        __syncthreads();
        load_rows(A, a + blockIdx.x * TILE * DEPTH + step * STEP, TILE, &full);
        load_rows(B, b + step * STEP, COLUMNS, &full);
        wait(&full, step & 1);
        fence_registers();
        for (int k = 0; k < STEP / 16; ++k) multiply(sum, in_pieces(A) + 16 * k, in_pieces(B) + 16 * k);
        commit();
        wait_for_products<0>();
        __syncthreads();
    }
    store_sums(d, sum, blockIdx.x * TILE);
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, ROWS / TILE, 128); }

// Tiles by ordinary stores, without swizzle: eight rows of 16 bytes lie together, then those of the next 16 bytes.
constexpr int PIECES = STEP / 8;

inline_device u64 in_pieces(const void* tile) {
    return (u64)(at(tile) >> 4) | (u64)(128 >> 4) << 16 | (u64)(128 * PIECES >> 4) << 32;
}

inline_device void copy(u16* to, const u16* from, int rows) {
    for (int i = threadIdx.x; i < rows * PIECES; i += 128) {
        const int row = i / PIECES, piece = i % PIECES;
        *(uint4*)&to[(row / 8 * PIECES + piece) * 64 + row % 8 * 8] = *(const uint4*)&from[row * DEPTH + piece * 8];
    }
}

extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(128) __shared__ u16 A[TILE * STEP];
    alignas(128) __shared__ u16 B[COLUMNS * STEP];
    float sum[SUMS] = {};
#pragma unroll 1
    for (int step = 0; step < STEPS; ++step) {
        copy(A, a + blockIdx.x * TILE * DEPTH + step * STEP, TILE);
        copy(B, b + step * STEP, COLUMNS);
        fence_async();
        __syncthreads();
        fence_registers();
        for (int k = 0; k < STEP / 16; ++k) multiply(sum, in_pieces(A) + 16 * k, in_pieces(B) + 16 * k);
        commit();
        wait_for_products<0>();
        __syncthreads();
    }
    store_sums(d, sum, blockIdx.x * TILE);
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, ROWS / TILE, 128); }

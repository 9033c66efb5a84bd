// mma.sync on tiles that come by tensor map: ldmatrix reads them, stmatrix collects the sums as halves, which are
// exact here.
inline_device u32 place(const u16* tile, int row, int piece) { return at(tile) + row * 128 + ((piece ^ row % 8) << 4); }

inline_device void load_matrices(u32 (&to)[4], u32 from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

inline_device void mma(float (&s)[SUMS], int first, const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9},"
                 " {%0, %1, %2, %3};"
                 : "+f"(s[first]), "+f"(s[first + 1]), "+f"(s[first + 2]), "+f"(s[first + 3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

inline_device u32 halves(float low, float high) {
    u32 both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

inline_device float value(u16 half) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(half));
    return wide;
}

extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[TILE * STEP];
    alignas(1024) __shared__ u16 B[COLUMNS * STEP];
    alignas(16) __shared__ u16 out[TILE][COLUMNS + 8];
    __shared__ u64 full;
    if (threadIdx.x == 0) {
        init(&full, 1);
        fence_init();
    }
    __syncthreads();
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float sum[SUMS] = {};
#pragma unroll 1
    for (int step = 0; step < STEPS; ++step) {
        if (threadIdx.x == 0) {
            expect(&full, TILE_BYTES);
            load(A, &of_a, step * STEP, blockIdx.x * TILE, &full);
            load(B, &of_b, step * STEP, 0, &full);
        }
        wait(&full, step & 1);
        for (int k = 0; k < STEP / 16; ++k) {
            u32 left[4], right[4];
            load_matrices(left, place(A, warp * 16 + lane % 16, 2 * k + lane / 16));
            for (int n = 0; n < COLUMNS; n += 16) {
                load_matrices(right, place(B, n + lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2));
                mma(sum, n / 2, left, right[0], right[1]);
                mma(sum, n / 2 + 4, left, right[2], right[3]);
            }
        }
        __syncthreads();
    }
    for (int n = 0; n < COLUMNS; n += 16) {
        const float* s = &sum[n / 2];
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                         at(&out[warp * 16 + lane % 16][n + lane / 16 * 8])),
                     "r"(halves(s[0], s[1])), "r"(halves(s[2], s[3])), "r"(halves(s[4], s[5])),
                     "r"(halves(s[6], s[7]))
                     : "memory");
    }
    __syncthreads();
    for (int i = threadIdx.x; i < TILE * COLUMNS; i += 128)
        d[blockIdx.x * TILE * COLUMNS + i] = value(out[i / COLUMNS][i % COLUMNS]);
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, ROWS / TILE, 128); }

// The kernels of FP8Linear and MoELayer. fp8_layers.py defines what each computes, and
// torch_layers/on_cuda.py launches them.
//
//     grouped_product           C[g] = A[g] @ B[g]^T + bias[g], E4M3 in, BF16 out
//     route                     logits to the k best experts of each token, and their weights
//     permute                   experts to rows: who computes what, sorted by expert
//     combine                   the weighted sum of each token's k results
//
//     quantize_rows_bf16, quantize_rows_fp32     activations, 1x128 scales
//     quantize_blocks                            weights, 128x128 scales
//     swiglu_quantize                            silu(gate) * up, quantized right away
//
// The last four are for rows of any length; where it is a multiple of 16, fast_quantization.cu has them.
//
// FP8 conversions and mma.sync on FP8 need compute capability 8.9. No sizes are known to the host but the
// number of tokens: how many rows each expert has stays on the device, so nothing waits for it.
//
// Quantization is that of quantization.py, bit for bit, and one thing more: a block that contains NaN or Inf
// has the scale NaN, so that NaN comes out at the end instead of a number.

typedef unsigned char u8;
typedef unsigned short u16;

constexpr float AMAX_FLOOR = 1e-6f, LARGEST = 448.0f;
constexpr int BLOCK = 128;  // elements that share a scale: along K, and columns of B
constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffff;
constexpr unsigned INFINITY_BITS = 0x7f800000, NAN_BITS = 0x7fc00000;

__device__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

__device__ float from_bf16(u16 bits) { return __uint_as_float((unsigned)bits << 16); }

__device__ u16 to_bf16(float x) {
    u16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

// E4M3: rounded to nearest even, saturated.
__device__ u8 to_e4m3(float x) {
    u16 pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
    return (u8)pair;
}

// Magnitudes are compared as bits: non-negative floats are ordered like their bits; NaN is above Inf.
__device__ unsigned magnitude(float x) { return __float_as_uint(x) & 0x7fffffff; }

__device__ float scale_of(unsigned amax) {
    if (amax >= INFINITY_BITS) return __uint_as_float(NAN_BITS);
    return fmaxf(__uint_as_float(amax), AMAX_FLOOR) / LARGEST;
}

// ---- quantization -----------------------------------------------------------------------------------------

// A warp's block of up to 128 values of one row, four a lane; `value(col)` is read once for each.
template <typename Value>
__device__ void quantize_block(Value value, int cols, u8* q, float* scale) {
    const int lane = threadIdx.x % WARP;
    float own[BLOCK / WARP];
    unsigned most = 0;
    for (int i = 0; i < BLOCK / WARP; ++i) {
        const int col = lane + i * WARP;
        own[i] = col < cols ? value(col) : 0.0f;
        most = max(most, magnitude(own[i]));
    }
    const float s = scale_of(__reduce_max_sync(ALL_LANES, most));
    if (lane == 0) *scale = s;
    for (int i = 0; i < BLOCK / WARP; ++i) {
        const int col = lane + i * WARP;
        if (col < cols) q[col] = to_e4m3(own[i] / s);
    }
}

// The 1x128 blocks of a matrix, one a warp: `value(row, col)` to q and scales.
template <typename Value>
__device__ void quantize_matrix(Value value, u8* q, float* scales, int rows, int cols) {
    const int across = ceil_div(cols, BLOCK);
    const long long warp = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    const long long warps = (long long)gridDim.x * blockDim.x / WARP;
    for (long long block = warp; block < (long long)rows * across; block += warps) {
        const long long row = block / across;
        const int first = (int)(block % across) * BLOCK;
        quantize_block([&](int col) { return value(row, first + col); }, cols - first, q + row * cols + first,
                       scales + block);
    }
}

extern "C" __global__ void quantize_rows_bf16(const u16* x, u8* q, float* scales, int rows, int cols) {
    quantize_matrix([=](long long row, int col) { return from_bf16(x[row * cols + col]); }, q, scales, rows,
                    cols);
}

extern "C" __global__ void quantize_rows_fp32(const float* x, u8* q, float* scales, int rows, int cols) {
    quantize_matrix([=](long long row, int col) { return x[row * cols + col]; }, q, scales, rows, cols);
}

// x (groups, rows, cols). A block of threads takes a 128x128 block and reads it twice.
extern "C" __global__ void quantize_blocks(const float* x, u8* q, float* scales, int groups, int rows,
                                           int cols) {
    __shared__ unsigned amax;
    const int across = ceil_div(cols, BLOCK), down = ceil_div(rows, BLOCK);
    for (long long block = blockIdx.x; block < (long long)groups * down * across; block += gridDim.x) {
        const long long group = block / ((long long)down * across);
        const int first_row = (int)(block / across % down) * BLOCK, first_col = (int)(block % across) * BLOCK;
        const int height = min(BLOCK, rows - first_row), width = min(BLOCK, cols - first_col);
        const long long start = (group * rows + first_row) * cols + first_col;
        if (threadIdx.x == 0) amax = 0;
        __syncthreads();
        unsigned most = 0;
        for (int i = threadIdx.x; i < height * width; i += blockDim.x)
            most = max(most, magnitude(x[start + (long long)(i / width) * cols + i % width]));
        atomicMax(&amax, most);
        __syncthreads();
        const float s = scale_of(amax);
        if (threadIdx.x == 0) scales[block] = s;
        for (int i = threadIdx.x; i < height * width; i += blockDim.x) {
            const long long at = start + (long long)(i / width) * cols + i % width;
            q[at] = to_e4m3(x[at] / s);
        }
        __syncthreads();  // the next block resets amax
    }
}

// ---- the product ------------------------------------------------------------------------------------------

constexpr int TILE = 64;                 // rows and columns of C that a block of threads computes at a time
constexpr int CHUNK = 16;                // bytes of one copy; K is a multiple of it
constexpr int PITCH = BLOCK + CHUNK;     // bytes of a shared row: eight rows at one column lie in other banks
constexpr int THREADS = 128;             // four warps, each with a quarter of the tile: 32x32
constexpr int STAGE = 2 * TILE * PITCH;  // bytes: A's rows, then B's

// One tile of one group's C. A, B, C, bias and the scales begin at the tile's first row and column.
struct Tile {
    const u8 *A, *B;
    const float *A_scales, *B_scales, *bias;
    u16* C;
    int rows, cols;  // that are left in the group and in B; more than TILE counts as TILE
};

// Copies one step of 128 along K to shared memory, asynchronously; what is outside becomes zeros.
__device__ void fetch(u8* stage, const Tile& tile, int K, int k0) {
    for (int i = threadIdx.x; i < 2 * TILE * (BLOCK / CHUNK); i += THREADS) {
        const int line = i / (BLOCK / CHUNK), k = k0 + i % (BLOCK / CHUNK) * CHUNK;
        const bool of_a = line < TILE;
        const int row = of_a ? line : line - TILE;
        const bool inside = row < (of_a ? tile.rows : tile.cols) && k < K;
        const u8* from = (of_a ? tile.A : tile.B) + (inside ? (size_t)row * K + k : 0);
        const unsigned to = (unsigned)__cvta_generic_to_shared(stage + line * PITCH + (k - k0));
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                     "r"(inside ? CHUNK : 0)
                     : "memory");
    }
}

__device__ void end_of_step() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// All but the last step's copies of this thread have arrived.
__device__ void wait_for_step() { asm volatile("cp.async.wait_group 1;" ::: "memory"); }

// sum (16x8, FP32) += A (16x32) @ B (32x8), by a whole warp.
__device__ void multiply(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The products of one step, in this warp's 32x32: two by four pieces of 16x8.
__device__ void multiply_step(float (&sum)[2][4][4], const u8* a_rows, const u8* b_rows) {
    const int lane = threadIdx.x % WARP;
    const u8* a_at = a_rows + lane / 4 * PITCH + lane % 4 * 4;
    const u8* b_at = b_rows + lane / 4 * PITCH + lane % 4 * 4;
#pragma unroll
    for (int k = 0; k < BLOCK; k += 32) {
        unsigned a[2][4], b[4][2];
#pragma unroll
        for (int i = 0; i < 8; ++i)  // rows + 8 with the first bit of the element, k + 16 with the second
            a[i / 4][i % 4] =
                *(const unsigned*)(a_at + (16 * (i / 4) + 8 * (i % 2)) * PITCH + k + 16 * (i / 2 % 2));
#pragma unroll
        for (int i = 0; i < 8; ++i)
            b[i / 2][i % 2] = *(const unsigned*)(b_at + 8 * (i / 2) * PITCH + k + 16 * (i % 2));
#pragma unroll
        for (int i = 0; i < 8; ++i) multiply(sum[i / 4][i % 4], a[i / 4], b[i % 4]);
    }
}

__device__ void multiply_tile(u8* stages, const Tile& tile, int K, int N) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, blocks = ceil_div(K, BLOCK);
    const int warp_row = warp / 2 * 32, warp_col = warp % 2 * 32;
    float total[2][4][4] = {};
    fetch(stages, tile, K, 0);
    end_of_step();
    for (int block = 0; block < blocks; ++block) {
        if (block + 1 < blocks) fetch(stages + (block + 1) % 2 * STAGE, tile, K, (block + 1) * BLOCK);
        end_of_step();  // of no copies after the last block, so that the count still fits
        wait_for_step();
        __syncthreads();
        const u8* stage = stages + block % 2 * STAGE;
        float sum[2][4][4] = {};
        multiply_step(sum, stage + warp_row * PITCH, stage + (TILE + warp_col) * PITCH);
        const float b_scale = tile.B_scales[block];
#pragma unroll
        for (int i = 0; i < 4; ++i) {  // promotion: rows lane / 4, + 8, + 16, + 24 of the warp's
            const int row = warp_row + 8 * i + lane / 4;
            const float scale =
                row < tile.rows ? tile.A_scales[(size_t)row * blocks + block] * b_scale : 0.0f;
#pragma unroll
            for (int e = 0; e < 8; ++e)
                total[i / 2][e / 2][i % 2 * 2 + e % 2] += sum[i / 2][e / 2][i % 2 * 2 + e % 2] * scale;
        }
        __syncthreads();  // the step after the next one refills this stage
    }
#pragma unroll
    for (int i = 0; i < 32; ++i) {
        const int row = warp_row + 16 * (i / 16) + 8 * (i / 2 % 2) + lane / 4;
        const int col = warp_col + 8 * (i / 4 % 4) + lane % 4 * 2 + i % 2;
        if (row >= tile.rows || col >= tile.cols) continue;
        const float bias = tile.bias ? tile.bias[col] : 0.0f;
        tile.C[(size_t)row * N + col] = to_bf16(total[i / 16][i / 4 % 4][i % 4] + bias);
    }
}

// Blocks of threads take tiles in turn, as many blocks as fit on the GPU at once: any grid of THREADS will
// do. K is a multiple of 16. bias (num_groups, N) may be null.
extern "C" __global__ void __launch_bounds__(THREADS)
    grouped_product(const u8* A, const float* A_scales, const u8* B, const float* B_scales, const float* bias,
                    u16* C, const int* M_sizes, int K, int N, int num_groups) {
    __shared__ __align__(16) u8 stages[2 * STAGE];
    const int across = ceil_div(N, TILE), blocks = ceil_div(K, BLOCK);
    int group = 0, passed = 0;  // tiles of the groups before
    size_t first = 0;           // row of the group
    for (int next = blockIdx.x;; next += gridDim.x) {
        while (group < num_groups && next - passed >= ceil_div(M_sizes[group], TILE) * across) {
            passed += ceil_div(M_sizes[group], TILE) * across;
            first += M_sizes[group++];
        }
        if (group == num_groups) break;
        const int local = (next - passed) / across * TILE, col = (next - passed) % across * TILE;
        const size_t row = first + local, of_scales = (size_t)group * ceil_div(N, BLOCK) + col / BLOCK;
        const Tile tile = {A + row * K,
                           B + ((size_t)group * N + col) * K,
                           A_scales + row * blocks,
                           B_scales + of_scales * blocks,
                           bias ? bias + (size_t)group * N + col : nullptr,
                           C + row * N + col,
                           M_sizes[group] - local,
                           N - col};
        multiply_tile(stages, tile, K, N);
    }
}

// ---- the rest of a Mixture-of-Experts layer ---------------------------------------------------------------

// A NaN is never the best; a token that has nothing else gets the weights NaN.
__device__ float ranked(float logit) { return logit == logit ? logit : -__uint_as_float(INFINITY_BITS); }

// An integer that is larger for a larger logit, and the same for 0 and -0: integers have a maximum over a
// warp.
__device__ unsigned rank_of(float logit) {
    const int bits = __float_as_int(ranked(logit) + 0.0f);
    return bits ^ (bits >> 31 | 0x80000000);
}

// A warp takes a token: logits (tokens, num_experts) to experts and weights (tokens, k), best first. The
// weights are the softmax over the k chosen logits, or over all of them if not `renormalize`.
extern "C" __global__ void route(const float* __restrict__ logits, int* __restrict__ experts,
                                 float* __restrict__ weights, int tokens, int num_experts, int k,
                                 int renormalize) {
    const int lane = threadIdx.x % WARP, warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    for (int token = warp; token < tokens; token += gridDim.x * blockDim.x / WARP) {
        const float* own = logits + (size_t)token * num_experts;
        int* chosen = experts + (size_t)token * k;
        float* weight = weights + (size_t)token * k;
        unsigned last_rank = 0xffffffff;  // above every logit's
        float top = 0, sum = 0;
        int last = -1;
        for (int slot = 0; slot < k; ++slot) {
            unsigned best = 0;  // below every logit's
            int expert = num_experts;
#pragma unroll 4
            for (int e = lane; e < num_experts; e += WARP) {
                const unsigned rank = rank_of(own[e]);
                const bool open = rank < last_rank || (rank == last_rank && e > last);
                if (open && rank > best) {
                    best = rank;
                    expert = e;
                }
            }
            last_rank = __reduce_max_sync(ALL_LANES, best);
            last = __reduce_min_sync(ALL_LANES, best == last_rank ? expert : num_experts);
            const float last_logit = ranked(own[last]);
            if (slot == 0) top = last_logit;
            if (lane == 0) {
                chosen[slot] = last;
                weight[slot] = expf(last_logit - top);
            }
            sum += expf(last_logit - top);
        }
        if (!renormalize) {
            sum = 0;
            for (int e = lane; e < num_experts; e += WARP) sum += expf(ranked(own[e]) - top);
            for (int away = WARP / 2; away > 0; away /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, away);
        }
        if (lane == 0)
            for (int slot = 0; slot < k; ++slot) weight[slot] /= sum;
    }
}

// How many of a block's threads' values there are below each thread's warp, and in all. Every thread calls.
__device__ int sum_before_warp(int of_warp, int* of_warps, int& all) {
    const int warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    __syncthreads();  // the sums before have been read
    if (threadIdx.x % WARP == 0) of_warps[warp] = of_warp;
    __syncthreads();
    int before = 0;
    all = 0;
    for (int other = 0; other < warps; ++other) {
        if (other < warp) before += of_warps[other];
        all += of_warps[other];
    }
    return before;
}

// A block of threads takes an expert, and each of its warps a part of the tokens' copies, in their order. It
// counts the expert's own, which is M_sizes, and those of the experts before, which lie above them. Then
// rows (tokens, k) says where each goes, and tokens_of (tokens * k) whose token lies in a row.
extern "C" __global__ void permute(const int* __restrict__ experts, int* __restrict__ M_sizes,
                                   int* __restrict__ rows, int* __restrict__ tokens_of, int copies, int k,
                                   int num_experts) {
    __shared__ int of_warps[32];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int part = ceil_div(ceil_div(copies, blockDim.x / WARP), WARP) * WARP;
    const int begin = min(warp * part, copies), end = min(begin + part, copies);
    for (int expert = blockIdx.x; expert < num_experts; expert += gridDim.x) {
        int own = 0, before = 0;
#pragma unroll 4
        for (int i = begin + lane; i < end; i += WARP) {
            own += experts[i] == expert;
            before += experts[i] < expert;
        }
        int all_own, all_before;
        const int own_before = sum_before_warp(__reduce_add_sync(ALL_LANES, own), of_warps, all_own);
        sum_before_warp(__reduce_add_sync(ALL_LANES, before), of_warps, all_before);
        if (threadIdx.x == 0) M_sizes[expert] = all_own;
        int next = all_before + own_before;
#pragma unroll 4
        for (int i = begin + lane; i - lane < end; i += WARP) {
            const bool here = i < end && experts[i] == expert;
            const unsigned all = __ballot_sync(ALL_LANES, here);
            const int row = next + __popc(all & ((1u << lane) - 1));
            if (here) {
                rows[i] = row;
                tokens_of[row] = i / k;
            }
            next += __popc(all);
        }
    }
}

// gate_up (rows, 2 * cols): the gates, then what they let through. silu(gate) * up in FP32, quantized 1x128.
extern "C" __global__ void swiglu_quantize(const u16* gate_up, u8* q, float* scales, int rows, int cols) {
    quantize_matrix(
        [=](long long row, int col) {
            const u16* own = gate_up + row * 2 * cols;
            const float gate = from_bf16(own[col]), up = from_bf16(own[cols + col]);
            return gate / (1.0f + expf(-gate)) * up;
        },
        q, scales, rows, cols);
}

// out (tokens, cols): the sum over a token's k rows of y, each times its weight, in the order of the slots.
// A thread takes W columns, which are 2 * W bytes; LOADS rows are under way before the first is added.
template <int W>
__device__ void combine_columns(const u16* y, const int* rows, const float* weights, u16* out, int tokens,
                                int cols, int k) {
    constexpr int LOADS = 4;
    struct alignas(2 * W) Columns {
        u16 bits[W];
    };
    const long long stride = (long long)gridDim.x * blockDim.x, pieces = (long long)tokens * (cols / W);
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < pieces; i += stride) {
        const long long token = i / (cols / W), col = i % (cols / W) * W;
        float sum[W] = {};
        for (int slot = 0; slot < k; slot += LOADS) {
            Columns part[LOADS];
#pragma unroll
            for (int j = 0; j < LOADS; ++j)
                if (slot + j < k)
                    part[j] = *(const Columns*)(y + (long long)rows[token * k + slot + j] * cols + col);
#pragma unroll
            for (int j = 0; j < LOADS; ++j) {
                if (slot + j >= k) break;
                const float weight = weights[token * k + slot + j];
#pragma unroll
                for (int e = 0; e < W; ++e)
                    sum[e] = __fadd_rn(sum[e], __fmul_rn(weight, from_bf16(part[j].bits[e])));
            }
        }
        Columns result;
#pragma unroll
        for (int e = 0; e < W; ++e) result.bits[e] = to_bf16(sum[e]);
        *(Columns*)(out + token * cols + col) = result;
    }
}

extern "C" __global__ void combine(const u16* y, const int* rows, const float* weights, u16* out, int tokens,
                                   int cols, int k) {
    if (cols % 8 == 0)
        combine_columns<8>(y, rows, weights, out, tokens, cols, k);
    else
        combine_columns<1>(y, rows, weights, out, tokens, cols, k);
}

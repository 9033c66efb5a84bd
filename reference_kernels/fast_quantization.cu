// Quantization to FP8 (E4M3) at the speed of memory. To see each step from naive to fast checked and timed:
//
//     python reference_kernels/ladder.py fast_quantization
//
// What came of it on an H200 is in benchmarks/results/quantization_and_moe_on_h200.md.
//
//     quantize_tensor          one scale that is known before: one pass
//     tensor_amax,
//     quantize_by_amax         one scale from the tensor itself: two passes, the second from the end
//     quantize_channels        (groups, rows, cols), a scale for each column: one pass, by a cluster
//     quantize_rows            1x128 along a row: one pass, by 16 or 32 lanes
//     quantize_tiles           (groups, rows, cols), 128x128: one pass, by a block of threads
//     swiglu_quantize          silu(gate) * up, then 1x128, in one pass
//     quantize_to_places       1x128, and each row to several: a token to its experts
//
// Each for FP32 and BF16 input (_fp32, _bf16); swiglu_quantize takes BF16. How to launch them is in
// fast_quantization.py. Scales and codes are those of quantization.py, bit for bit, and one thing more: a
// block that contains NaN or Inf has the scale NaN, so that NaN comes out at the end instead of a number.
//
// Pointers are aligned to 16 bytes and cols is a multiple of 16: 16 bytes are inside a row or outside.
// Last blocks may be ragged. FP8 conversions need compute capability 8.9, clusters 9.0.

typedef unsigned char u8;
typedef unsigned short u16;

constexpr float AMAX_FLOOR = 1e-6f, LARGEST = 448.0f;
constexpr int BLOCK = 128;  // elements, along each blocked axis, that share a scale
constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffff;
constexpr unsigned INFINITY_BITS = 0x7f800000, NAN_BITS = 0x7fc00000;

__device__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

// ---- what 16 bytes hold: four FP32 values or eight BF16 -------------------------------------------------

template <typename T>
constexpr int WIDTH = 16 / sizeof(T);

template <typename T>
__device__ uint4 load16(const T* at) {
    return __ldg(reinterpret_cast<const uint4*>(at));
}

__device__ void unpack(uint4 raw, float (&v)[4]) {
    v[0] = __uint_as_float(raw.x), v[1] = __uint_as_float(raw.y);
    v[2] = __uint_as_float(raw.z), v[3] = __uint_as_float(raw.w);
}

__device__ void unpack(uint4 raw, float (&v)[8]) {
    const unsigned word[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        v[2 * i] = __uint_as_float(word[i] << 16);
        v[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000);
    }
}

__device__ float to_float(float x) { return x; }
__device__ float to_float(u16 bf16) { return __uint_as_float((unsigned)bf16 << 16); }

// ---- scales ---------------------------------------------------------------------------------------------

// Magnitudes are compared as bits: non-negative floats are ordered like their bits; NaN is above Inf.
__device__ unsigned magnitude(float x) { return __float_as_uint(x) & 0x7fffffff; }

// One instruction for each value: |v| costs nothing there, and NaN stays.
template <int W>
__device__ unsigned largest(const float (&v)[W]) {
    float most = 0.0f;
#pragma unroll
    for (int i = 0; i < W; ++i) asm("max.NaN.f32 %0, %0, %1;" : "+f"(most) : "f"(fabsf(v[i])));
    return __float_as_uint(most);
}

// The largest value of LANES neighbouring lanes, for each of them.
template <int LANES>
__device__ unsigned largest_of(unsigned most) {
    if constexpr (LANES == WARP) {
        return __reduce_max_sync(ALL_LANES, most);
    } else {
#pragma unroll
        for (int away = LANES / 2; away > 0; away /= 2)
            most = max(most, __shfl_xor_sync(ALL_LANES, most, away));
        return most;
    }
}

// x / divisor as IEEE rounds it, in three instructions: a product with the reciprocal, and its error put
// right (Markstein 1990). Exact for quotients of 2^-11 and more, which are all that do not become zero.
// Written so that -0 stays -0.
__device__ float quotient_of(float x, float divisor, float reciprocal) {
    const float near = __fmul_rn(x, reciprocal);
    const float beyond = __fmaf_rn(near, divisor, -x);
    return __fmaf_rn(-beyond, reciprocal, near);
}

__device__ float scale_of(unsigned amax) {
    if (amax >= INFINITY_BITS) return __uint_as_float(NAN_BITS);
    return quotient_of(fmaxf(__uint_as_float(amax), AMAX_FLOOR), LARGEST, 1.0f / LARGEST);
}

struct Divisor {
    float scale, reciprocal;

    __device__ Divisor() {}
    // The reciprocal as IEEE rounds it; of scales, all of which are far from FP32's least and largest.
    __device__ explicit Divisor(float scale) : scale(scale) {
        asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(scale));
        reciprocal = __fmaf_rn(-__fmaf_rn(reciprocal, scale, -1.0f), reciprocal, reciprocal);
    }
    __device__ float quotient(float x) const { return quotient_of(x, scale, reciprocal); }
};

// x * (1 / scale): within two ulps of the quotient, for values that are approximations themselves.
struct Reciprocal : Divisor {
    using Divisor::Divisor;
    __device__ float quotient(float x) const { return x * reciprocal; }
};

// The same by the division that the compiler makes: about ten instructions and a branch.
struct PlainDivisor {
    float scale;
    __device__ explicit PlainDivisor(float scale) : scale(scale) {}
    __device__ float quotient(float x) const { return __fdiv_rn(x, scale); }
};

// For a scale that was not made from this tensor: far beyond 448 an infinity would meet another and be NaN.
struct ForeignDivisor {
    float scale, reciprocal, most;

    __device__ explicit ForeignDivisor(float scale)
        : scale(scale), reciprocal(__frcp_rn(scale)), most(1024.0f * scale) {}
    __device__ float quotient(float x) const {
        asm("min.NaN.f32 %0, %0, %1;" : "+f"(x) : "f"(most));
        asm("max.NaN.f32 %0, %0, %1;" : "+f"(x) : "f"(-most));
        return quotient_of(x, scale, reciprocal);
    }
};

// ---- codes ----------------------------------------------------------------------------------------------

// Two E4M3 codes, rounded to nearest even, saturated; `low` in the low byte.
__device__ unsigned encode2(float low, float high) {
    u16 pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
    return pair;
}

// The codes of W values, side by side.
template <int W>
struct alignas(W) Codes {
    unsigned word[W / 4];

    __device__ explicit Codes(const float (&v)[W]) {
#pragma unroll
        for (int i = 0; i < W / 4; ++i)
            word[i] = encode2(v[4 * i], v[4 * i + 1]) | encode2(v[4 * i + 2], v[4 * i + 3]) << 16;
    }
    __device__ void store(u8* q) const { *reinterpret_cast<Codes*>(q) = *this; }
};

template <int W>
__device__ void store(u8* q, const float (&v)[W]) {
    Codes<W>(v).store(q);
}

template <int W, typename By>
__device__ void divide(float (&v)[W], const By& by) {
#pragma unroll
    for (int i = 0; i < W; ++i) v[i] = by.quotient(v[i]);
}

// ---- per tensor -----------------------------------------------------------------------------------------

// Calls take(index, 16 bytes) for all of n values, which a block of threads takes in pieces: UNROLL loads of
// each thread are under way before the first is used.
template <int UNROLL, typename T, typename Take>
__device__ void stream(const T* x, long long n, Take take) {
    const long long vectors = n / WIDTH<T>, piece = (long long)blockDim.x * UNROLL;
    for (long long first = blockIdx.x * piece; first < vectors; first += gridDim.x * piece) {
        uint4 raw[UNROLL];
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            const long long i = first + u * blockDim.x + threadIdx.x;
            if (i < vectors) raw[u] = load16(x + i * WIDTH<T>);
        }
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            const long long i = first + u * blockDim.x + threadIdx.x;
            if (i < vectors) take(i, raw[u]);
        }
    }
}

template <int UNROLL, typename T>
__device__ void quantize_tensor(const T* x, u8* q, float scale, long long n) {
    const ForeignDivisor by(scale);
    stream<UNROLL>(x, n, [&](long long i, uint4 raw) {
        float v[WIDTH<T>];
        unpack(raw, v);
        divide(v, by);
        store(q + i * WIDTH<T>, v);
    });
}

extern "C" __global__ void quantize_tensor_fp32(const float* x, u8* q, const float* scale, long long n) {
    quantize_tensor<2>(x, q, *scale, n);
}

extern "C" __global__ void quantize_tensor_bf16(const u16* x, u8* q, const float* scale, long long n) {
    quantize_tensor<2>(x, q, *scale, n);
}

// `amax` starts as 0 and ends as the bits of the largest magnitude.
template <typename T>
__device__ void tensor_amax(const T* x, unsigned* amax, long long n) {
    __shared__ unsigned of_block;
    if (threadIdx.x == 0) of_block = 0;
    __syncthreads();
    unsigned most = 0;
    stream<8>(x, n, [&](long long, uint4 raw) {
        float v[WIDTH<T>];
        unpack(raw, v);
        most = max(most, largest(v));
    });
    most = __reduce_max_sync(ALL_LANES, most);
    if (threadIdx.x % WARP == 0) atomicMax(&of_block, most);
    __syncthreads();
    if (threadIdx.x == 0) atomicMax(amax, of_block);
}

extern "C" __global__ void tensor_amax_fp32(const float* x, unsigned* amax, long long n) {
    tensor_amax(x, amax, n);
}

extern "C" __global__ void tensor_amax_bf16(const u16* x, unsigned* amax, long long n) {
    tensor_amax(x, amax, n);
}

// From the last element to the first: what tensor_amax read last is still in the cache.
template <typename T>
__device__ void quantize_by_amax(const T* x, u8* q, float* scale, const unsigned* amax, long long n) {
    const float own = scale_of(*amax);
    const Divisor by(own);
    const long long vectors = n / WIDTH<T>, step = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (thread == 0) *scale = own;
#pragma unroll 4
    for (long long i = vectors - 1 - thread; i >= 0; i -= step) {
        float v[WIDTH<T>];
        unpack(load16(x + i * WIDTH<T>), v);
        divide(v, by);
        store(q + i * WIDTH<T>, v);
    }
}

extern "C" __global__ void quantize_by_amax_fp32(const float* x, u8* q, float* scale, const unsigned* amax,
                                                 long long n) {
    quantize_by_amax(x, q, scale, amax, n);
}

extern "C" __global__ void quantize_by_amax_bf16(const u16* x, u8* q, float* scale, const unsigned* amax,
                                                 long long n) {
    quantize_by_amax(x, q, scale, amax, n);
}

// ---- 1x128 along a row ----------------------------------------------------------------------------------

// The ladder's first step: a thread takes a block, and reads it twice.
extern "C" __global__ void quantize_rows_step1(const float* x, u8* q, float* scale, int rows, int cols) {
    const int across = ceil_div(cols, BLOCK);
    for (long long block = (long long)blockIdx.x * blockDim.x + threadIdx.x; block < (long long)rows * across;
         block += (long long)gridDim.x * blockDim.x) {
        const long long start = block / across * cols + block % across * BLOCK;
        const int width = min(BLOCK, cols - (int)(block % across) * BLOCK);
        unsigned most = 0;
        for (int i = 0; i < width; ++i) most = max(most, magnitude(x[start + i]));
        const PlainDivisor by(scale_of(most));
        scale[block] = by.scale;
        for (int i = 0; i < width; ++i) q[start + i] = (u8)encode2(by.quotient(x[start + i]), 0.0f);
    }
}

// The second: a warp takes a block, four bytes at a time, and keeps them.
extern "C" __global__ void quantize_rows_step2(const float* x, u8* q, float* scale, int rows, int cols) {
    const int across = ceil_div(cols, BLOCK), lane = threadIdx.x % WARP;
    for (long long block = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / WARP;
         block < (long long)rows * across; block += (long long)gridDim.x * blockDim.x / WARP) {
        const long long start = block / across * cols + block % across * BLOCK;
        const int width = min(BLOCK, cols - (int)(block % across) * BLOCK);
        float v[BLOCK / WARP];
#pragma unroll
        for (int i = 0; i < BLOCK / WARP; ++i)
            v[i] = lane + i * WARP < width ? x[start + lane + i * WARP] : 0.0f;
        const PlainDivisor by(scale_of(__reduce_max_sync(ALL_LANES, largest(v))));
        if (lane == 0) scale[block] = by.scale;
#pragma unroll
        for (int i = 0; i < BLOCK / WARP; ++i)
            if (lane + i * WARP < width) q[start + lane + i * WARP] = (u8)encode2(by.quotient(v[i]), 0.0f);
    }
}

// Where the W values of a thread lie.
struct Place {
    long long row;
    int col;
    bool inside;
};

// Calls load(place) for W values of each thread, and use(place, what was loaded), which is called by every
// lane of a warp together. Blocks of threads take pieces of rows: one division for all of a block's threads.
// UNROLL loads of each thread are under way before the first is used.
template <int W, int UNROLL, typename Load, typename Use>
__device__ void each_piece(Load load, Use use, int rows, int cols) {
    const int piece = blockDim.x * UNROLL * W, pieces = ceil_div(cols, piece);
    for (long long i = blockIdx.x; i < (long long)rows * pieces; i += gridDim.x) {
        const long long row = (unsigned)i / (unsigned)pieces;
        const int first = ((int)i - (int)row * pieces) * piece + threadIdx.x * W;
        decltype(load(Place{})) raw[UNROLL];
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            const int col = first + u * blockDim.x * W;
            raw[u] = {};
            if (col < cols) raw[u] = load(Place{row, col, true});
        }
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            const int col = first + u * blockDim.x * W;
            use(Place{row, col, col < cols}, raw[u]);
        }
    }
}

// values(what was loaded, v) are the W values of a thread: 128 / W lanes share a scale. They go to
// put(place, codes, scale).
template <int W, int UNROLL, typename By, typename Load, typename Values, typename Put>
__device__ void quantize_rows(Load load, Values values, Put put, int rows, int cols) {
    using Raw = decltype(load(Place{}));
    each_piece<W, UNROLL>(
        load,
        [=](const Place& at, const Raw& raw) {
            float v[W];
            values(raw, v);
            const By by(scale_of(largest_of<BLOCK / W>(largest(v))));
            divide(v, by);
            if (at.inside) put(at, Codes<W>(v), by.scale);
        },
        rows, cols);
}

// Where they belong: a row of codes to a row, a scale to a block.
struct InPlace {
    u8* q;
    float* scale;
    int cols;

    template <int W>
    __device__ void operator()(const Place& at, const Codes<W>& codes, float own) const {
        codes.store(q + at.row * cols + at.col);
        if (at.col % BLOCK == 0) scale[at.row * ceil_div(cols, BLOCK) + at.col / BLOCK] = own;
    }
};

// To k rows of a matrix: those that `places` (rows, k) names for this one.
struct ToPlaces {
    u8* q;
    float* scale;
    int cols, k;
    const int* places;

    template <int W>
    __device__ void operator()(const Place& at, const Codes<W>& codes, float own) const {
        const int across = ceil_div(cols, BLOCK);
        for (int slot = 0; slot < k; ++slot) {
            const long long row = __ldg(places + at.row * k + slot);
            codes.store(q + row * cols + at.col);
            if (at.col % BLOCK == 0) scale[row * across + at.col / BLOCK] = own;
        }
    }
};

template <int UNROLL, typename By, typename T, typename Put>
__device__ void quantize_rows_of(const T* x, Put put, int rows, int cols) {
    quantize_rows<WIDTH<T>, UNROLL, By>([=](const Place& at) { return load16(x + at.row * cols + at.col); },
                                        [](uint4 raw, float (&v)[WIDTH<T>]) { unpack(raw, v); }, put, rows,
                                        cols);
}

// The third: 16 bytes at a time. The fourth: four of them under way. The fifth: no division by element.
extern "C" __global__ void quantize_rows_step3(const float* x, u8* q, float* scale, int rows, int cols) {
    quantize_rows_of<1, PlainDivisor>(x, InPlace{q, scale, cols}, rows, cols);
}

extern "C" __global__ void quantize_rows_step4(const float* x, u8* q, float* scale, int rows, int cols) {
    quantize_rows_of<4, PlainDivisor>(x, InPlace{q, scale, cols}, rows, cols);
}

extern "C" __global__ void quantize_rows_step5(const float* x, u8* q, float* scale, int rows, int cols) {
    quantize_rows_of<4, Divisor>(x, InPlace{q, scale, cols}, rows, cols);
}

extern "C" __global__ void quantize_rows_fp32(const float* x, u8* q, float* scale, int rows, int cols) {
    quantize_rows_of<2, Divisor>(x, InPlace{q, scale, cols}, rows, cols);
}

extern "C" __global__ void quantize_rows_bf16(const u16* x, u8* q, float* scale, int rows, int cols) {
    quantize_rows_of<2, Divisor>(x, InPlace{q, scale, cols}, rows, cols);
}

// x (rows, cols) to q (rows * k, cols): each token's row to its experts, read and quantized once.
extern "C" __global__ void quantize_to_places_fp32(const float* x, const int* places, u8* q, float* scale,
                                                   int rows, int cols, int k) {
    quantize_rows_of<2, Divisor>(x, ToPlaces{q, scale, cols, k, places}, rows, cols);
}

extern "C" __global__ void quantize_to_places_bf16(const u16* x, const int* places, u8* q, float* scale,
                                                   int rows, int cols, int k) {
    quantize_rows_of<2, Divisor>(x, ToPlaces{q, scale, cols, k, places}, rows, cols);
}

// ---- SwiGLU, then 1x128 ---------------------------------------------------------------------------------

struct GateUp {
    uint4 gate, up;
};

// silu(gate) * up in FP32. The exponential and the reciprocal are the GPU's own approximations, right to
// about two ulps: far finer than a code's sixteenth.
__device__ float swiglu(float gate, float up) {
    constexpr float LOG2_E = 1.4426950408889634f;
    float power, inverse;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(-LOG2_E * gate));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1.0f + power));
    return gate * inverse * up;
}

__device__ void swiglu(const GateUp& raw, float (&v)[8]) {
    float gate[8], up[8];
    unpack(raw.gate, gate);
    unpack(raw.up, up);
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = swiglu(gate[i], up[i]);
}

struct LoadGateUp {
    const u16* gate_up;
    int cols;

    __device__ GateUp operator()(const Place& at) const {
        const u16* gate = gate_up + at.row * 2 * cols + at.col;
        return GateUp{load16(gate), load16(gate + cols)};
    }
};

template <int UNROLL>
__device__ void swiglu_quantize_of(const u16* gate_up, u8* q, float* scale, int rows, int cols) {
    quantize_rows<8, UNROLL, Reciprocal>(
        LoadGateUp{gate_up, cols}, [](const GateUp& raw, float (&v)[8]) { swiglu(raw, v); },
        InPlace{q, scale, cols}, rows, cols);
}

// gate_up (rows, 2 * cols): the gates, then what they let through.
extern "C" __global__ void swiglu_quantize(const u16* gate_up, u8* q, float* scale, int rows, int cols) {
    swiglu_quantize_of<2>(gate_up, q, scale, rows, cols);
}

// The first of two passes, as quick as it gets: silu(gate) * up in BF16. quantize_rows_bf16 is the second.
extern "C" __global__ void swiglu_bf16(const u16* gate_up, u16* h, int rows, int cols) {
    each_piece<8, 2>(
        LoadGateUp{gate_up, cols},
        [=](const Place& at, const GateUp& raw) {
            float v[8];
            swiglu(raw, v);
            unsigned word[4];
#pragma unroll
            for (int e = 0; e < 4; ++e)
                asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word[e]) : "f"(v[2 * e + 1]), "f"(v[2 * e]));
            const uint4 bits = make_uint4(word[0], word[1], word[2], word[3]);
            if (at.inside) *reinterpret_cast<uint4*>(h + at.row * cols + at.col) = bits;
        },
        rows, cols);
}

// ---- 128x128 --------------------------------------------------------------------------------------------

// x (groups, rows, cols). A block of THREADS takes a 128x128 block, and keeps it in registers.
template <int THREADS, typename T>
__device__ void quantize_tiles(const T* x, u8* q, float* scale, int groups, int rows, int cols) {
    constexpr int W = WIDTH<T>, LANES = BLOCK / W, STEP = THREADS / LANES, STEPS = BLOCK / STEP;
    __shared__ unsigned of_warps[THREADS / WARP];
    const int across = ceil_div(cols, BLOCK), down = ceil_div(rows, BLOCK);
    for (long long block = blockIdx.x; block < (long long)groups * down * across; block += gridDim.x) {
        const long long group = block / (down * across);
        const int first = (int)(block / across % down) * BLOCK + threadIdx.x / LANES;
        const int col = (int)(block % across) * BLOCK + threadIdx.x % LANES * W;
        const long long start = (group * rows + first) * cols + col;
        const int end =
            col < cols ? rows - first : 0;  // this thread's rows are 0, STEP, 2 * STEP, ... below it
        uint4 raw[STEPS];
#pragma unroll
        for (int i = 0; i < STEPS; ++i) {
            raw[i] = {};
            if (i * STEP < end) raw[i] = load16(x + start + (long long)i * STEP * cols);
        }
        unsigned most = 0;
#pragma unroll
        for (int i = 0; i < STEPS; ++i) {
            float v[W];
            unpack(raw[i], v);
            most = max(most, largest(v));
        }
        most = __reduce_max_sync(ALL_LANES, most);
        if (threadIdx.x % WARP == 0) of_warps[threadIdx.x / WARP] = most;
        __syncthreads();
        most = of_warps[threadIdx.x % (THREADS / WARP)];
        const Divisor by(scale_of(__reduce_max_sync(ALL_LANES, most)));
        if (threadIdx.x == 0) scale[block] = by.scale;
#pragma unroll
        for (int i = 0; i < STEPS; ++i) {
            float v[W];
            unpack(raw[i], v);
            divide(v, by);
            if (i * STEP < end) store(q + start + (long long)i * STEP * cols, v);
        }
        __syncthreads();  // the next block overwrites of_warps
    }
}

extern "C" __global__ void __launch_bounds__(512, 2)
    quantize_tiles_fp32(const float* x, u8* q, float* scale, int groups, int rows, int cols) {
    quantize_tiles<512>(x, q, scale, groups, rows, cols);
}

extern "C" __global__ void __launch_bounds__(256, 3)
    quantize_tiles_bf16(const u16* x, u8* q, float* scale, int groups, int rows, int cols) {
    quantize_tiles<256>(x, q, scale, groups, rows, cols);
}

// The ladder's first step: a block of threads takes a block, and reads it twice.
extern "C" __global__ void quantize_tiles_step1(const float* x, u8* q, float* scale, int groups, int rows,
                                                int cols) {
    __shared__ unsigned amax;
    const int across = ceil_div(cols, BLOCK), down = ceil_div(rows, BLOCK);
    for (long long block = blockIdx.x; block < (long long)groups * down * across; block += gridDim.x) {
        const int row = (int)(block / across % down) * BLOCK, col = (int)(block % across) * BLOCK;
        const int height = min(BLOCK, rows - row), width = min(BLOCK, cols - col);
        const long long start = (block / (down * across) * rows + row) * cols + col;
        if (threadIdx.x == 0) amax = 0;
        __syncthreads();
        unsigned most = 0;
        for (int i = threadIdx.x; i < height * width; i += blockDim.x)
            most = max(most, magnitude(x[start + (long long)(i / width) * cols + i % width]));
        atomicMax(&amax, most);
        __syncthreads();
        const PlainDivisor by(scale_of(amax));
        if (threadIdx.x == 0) scale[block] = by.scale;
        for (int i = threadIdx.x; i < height * width; i += blockDim.x) {
            const long long at = start + (long long)(i / width) * cols + i % width;
            q[at] = (u8)encode2(by.quotient(x[at]), 0.0f);
        }
        __syncthreads();  // the next block resets amax
    }
}

// ---- a scale for each column ----------------------------------------------------------------------------

// The ladder's first step: a thread takes a column, and reads it twice.
extern "C" __global__ void quantize_channels_step1(const float* x, u8* q, float* scale, int groups, int rows,
                                                   int cols) {
    for (long long column = (long long)blockIdx.x * blockDim.x + threadIdx.x;
         column < (long long)groups * cols; column += (long long)gridDim.x * blockDim.x) {
        const long long start = column / cols * rows * cols + column % cols;
        unsigned most = 0;
        for (int row = 0; row < rows; ++row) most = max(most, magnitude(x[start + (long long)row * cols]));
        const PlainDivisor by(scale_of(most));
        scale[column] = by.scale;
        for (int row = 0; row < rows; ++row) {
            const long long at = start + (long long)row * cols;
            q[at] = (u8)encode2(by.quotient(x[at]), 0.0f);
        }
    }
}

#ifndef CHANNEL_THREADS
#define CHANNEL_THREADS 512
#define CHANNEL_STEPS 16
#endif

#if __CUDA_ARCH__ >= 900

constexpr int CLUSTER = 8;  // blocks of threads: the most that every GPU with clusters takes

__device__ unsigned rank_in_cluster() {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

__device__ unsigned load_of_rank(const unsigned* own, int rank) {
    unsigned address = (unsigned)__cvta_generic_to_shared(own), value;
    asm volatile("mapa.shared::cluster.u32 %0, %0, %1;" : "+r"(address) : "r"(rank));
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
    return value;
}

__device__ void arrive_in_cluster() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
__device__ void wait_for_cluster() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

// 16 bytes to shared memory, asynchronously; or zeros.
__device__ void request16(uint4* to, const void* from, bool inside) {
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(to)),
        "l"(from), "r"(inside ? 16 : 0)
        : "memory");
}

__device__ void wait_for_requests() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// Where a thread's 16 bytes of a strip lie: LANES of them side by side, rows HEIGHT apart.
template <int THREADS, int LANES, typename T>
struct Strip {
    static constexpr int W = WIDTH<T>, COLS = LANES * W, HEIGHT = THREADS / LANES * CLUSTER;
    long long group, start;  // of x
    int col, first, end;     // rows from `first` on, up to `end`

    __device__ Strip(int strip, int strips, int rows, int cols) {
        group = strip / strips;
        col = strip % strips * COLS + threadIdx.x % LANES * W;
        start = group * rows * cols + col;
        first = rank_in_cluster() * (THREADS / LANES) + threadIdx.x / LANES;
        end = col < cols ? rows : 0;
    }
};

// The largest magnitude of each column of a cluster's strip, for every thread of it. `most`: of a thread's
// own columns. The caller waits for the cluster before it calls again.
template <int THREADS, int LANES, int W>
__device__ void share_maxima(unsigned (&most)[W]) {
    constexpr int COLS = LANES * W;
    __shared__ unsigned own[COLS], total[COLS];
    const int lane = threadIdx.x % LANES;
    for (int i = threadIdx.x; i < COLS; i += THREADS) own[i] = 0;
    __syncthreads();
#pragma unroll
    for (int e = 0; e < W; ++e) {
#pragma unroll
        for (int away = WARP / 2; away >= LANES; away /= 2)
            most[e] = max(most[e], __shfl_xor_sync(ALL_LANES, most[e], away));
        if (threadIdx.x % WARP < LANES) atomicMax(&own[lane * W + e], most[e]);
    }
    arrive_in_cluster();
    wait_for_cluster();
    for (int i = threadIdx.x; i < COLS; i += THREADS) {
        unsigned all = 0;
        for (int rank = 0; rank < CLUSTER; ++rank) all = max(all, load_of_rank(&own[i], rank));
        total[i] = all;
    }
    arrive_in_cluster();  // has read the others' maxima
    __syncthreads();
#pragma unroll
    for (int e = 0; e < W; ++e) most[e] = total[lane * W + e];
}

// x (groups, rows, cols). A cluster takes strips of LANES * 16 bytes across, from top to bottom, and keeps
// one in registers: STEPS times 16 bytes of each thread. AHEAD: meanwhile the next one comes to shared
// memory, which is as large. Taller strips are read twice, but for the last part, and not ahead.
template <int THREADS, int LANES, int STEPS, bool AHEAD, typename T>
__device__ void quantize_channels(const T* x, u8* q, float* scale, int groups, int rows, int cols) {
    using Strip = Strip<THREADS, LANES, T>;
    constexpr int W = Strip::W, PART = STEPS * Strip::HEIGHT;
    extern __shared__ uint4 stage[];  // each thread reads only what it has requested
    const int strips = ceil_div(cols, Strip::COLS), clusters = gridDim.x / CLUSTER;
    const bool ahead = AHEAD && rows <= PART;
    uint4 raw[STEPS];
    auto load = [&](const Strip& strip, int part) {
#pragma unroll
        for (int i = 0; i < STEPS; ++i) {
            const int row = part + i * Strip::HEIGHT + strip.first;
            raw[i] = {};
            if (row < strip.end) raw[i] = load16(x + strip.start + (long long)row * cols);
        }
    };
    auto request = [&](int number) {
        if (number >= groups * strips) return;
        const Strip strip(number, strips, rows, cols);
#pragma unroll
        for (int i = 0; i < STEPS; ++i) {
            const int row = i * Strip::HEIGHT + strip.first;
            const bool inside = row < strip.end;
            const T* from = inside ? x + strip.start + (long long)row * cols : x;
            request16(stage + i * THREADS + threadIdx.x, from, inside);
        }
    };
    if (ahead) request(blockIdx.x / CLUSTER);
    for (int number = blockIdx.x / CLUSTER; number < groups * strips; number += clusters) {
        const Strip strip(number, strips, rows, cols);
        unsigned most[W] = {};
        int part = 0;
        for (;; part += PART) {
            if (ahead) {
                wait_for_requests();
#pragma unroll
                for (int i = 0; i < STEPS; ++i) raw[i] = stage[i * THREADS + threadIdx.x];
                request(number + clusters);
            } else {
                load(strip, part);
            }
#pragma unroll
            for (int i = 0; i < STEPS; ++i) {
                float v[W];
                unpack(raw[i], v);
#pragma unroll
                for (int e = 0; e < W; ++e) most[e] = max(most[e], magnitude(v[e]));
            }
            if (part + PART >= rows) break;
        }
        share_maxima<THREADS, LANES>(most);
        Divisor by[W];
#pragma unroll
        for (int e = 0; e < W; ++e) {
            by[e] = Divisor(scale_of(most[e]));
            if (strip.first == 0 && strip.end > 0) scale[strip.group * cols + strip.col + e] = by[e].scale;
        }
        for (int last = part; part >= 0; part -= PART) {
            if (part != last) load(strip, part);
#pragma unroll
            for (int i = 0; i < STEPS; ++i) {
                const int row = part + i * Strip::HEIGHT + strip.first;
                float v[W];
                unpack(raw[i], v);
#pragma unroll
                for (int e = 0; e < W; ++e) v[e] = by[e].quotient(v[e]);
                if (row < strip.end) store(q + strip.start + (long long)row * cols, v);
            }
        }
        wait_for_cluster();  // the next strip overwrites the maxima
    }
}

// The ladder's second step: a cluster for each strip, nothing ahead.
extern "C" __global__ void __cluster_dims__(CLUSTER) __launch_bounds__(CHANNEL_THREADS, 1)
    quantize_channels_step2(const float* x, u8* q, float* scale, int groups, int rows, int cols) {
    quantize_channels<CHANNEL_THREADS, 8, CHANNEL_STEPS, false>(x, q, scale, groups, rows, cols);
}

extern "C" __global__ void __cluster_dims__(CLUSTER) __launch_bounds__(CHANNEL_THREADS, 1)
    quantize_channels_fp32(const float* x, u8* q, float* scale, int groups, int rows, int cols) {
    quantize_channels<CHANNEL_THREADS, 8, CHANNEL_STEPS, true>(x, q, scale, groups, rows, cols);
}

extern "C" __global__ void __cluster_dims__(CLUSTER) __launch_bounds__(CHANNEL_THREADS, 1)
    quantize_channels_bf16(const u16* x, u8* q, float* scale, int groups, int rows, int cols) {
    quantize_channels<CHANNEL_THREADS, 8, CHANNEL_STEPS, true>(x, q, scale, groups, rows, cols);
}

#endif

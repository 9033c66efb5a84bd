// Quantization to FP8 on a GPU: the definition in quantization.py again, and the judges of exercise 03.
//
//     reference_per_tensor_amax_kernel,
//     reference_per_tensor_quantize_kernel      A, one scale; one kernel after the other
//     reference_per_channel_kernel              B, a scale for each column
//     reference_fine_grained_kernel             A, 1x128 along a row
//     reference_block_wise_kernel               B, 128x128
//     judge_per_tensor_quantize, ...            counts a submission's wrong elements, by the rules in
//                                               quantization_rules.py
//
// How to launch them: any 1-D grid of 1-D blocks of whole warps; 1024 blocks of 256 threads fill a GPU.
// Judges take any 1-D blocks. The two per-tensor kernels share a workspace of 4 bytes that starts as 0.
//
// Arrays are aligned to 16 bytes, and cols is a multiple of 16: a float4 is inside its matrix or outside.
// Last blocks may be ragged. x contains neither NaN nor Inf.

typedef unsigned long long u64;

constexpr float AMAX_FLOOR = 1e-6f, LARGEST = 448.0f;
constexpr int BLOCK = 128;  // elements, along each blocked axis, that share a scale
constexpr int STRIP = 32;   // columns that a block of threads takes from top to bottom, per channel
constexpr unsigned ALL_LANES = 0xffffffff;

__device__ long long ceil_div(long long a, int b) { return (a + b - 1) / b; }

// Magnitudes are passed as bits: non-negative floats compare like their bits, and integers have an
// atomicMax.
__device__ unsigned magnitude(float x) { return __float_as_uint(x) & 0x7fffffff; }

__device__ unsigned magnitude(float4 v) {
    return max(max(magnitude(v.x), magnitude(v.y)), max(magnitude(v.z), magnitude(v.w)));
}

// The largest of a warp's 32 values, for every lane.
__device__ unsigned warp_max(unsigned value) {
#if __CUDA_ARCH__ >= 800
    return __reduce_max_sync(ALL_LANES, value);
#else
    for (int step = 16; step > 0; step /= 2) value = max(value, __shfl_xor_sync(ALL_LANES, value, step));
    return value;
#endif
}

__device__ float scale_of(unsigned amax) { return fmaxf(__uint_as_float(amax), AMAX_FLOOR) / LARGEST; }

// E4M3 s eeee mmm: rounded to nearest even, saturated.
__device__ unsigned encode(float x) {
    const unsigned bits = magnitude(x), sign = __float_as_uint(x) >> 24 & 0x80;
    // Codes below 8 are multiples of 2^-9. So are the last bits of floats from 2^14 on: the sum rounds to
    // one.
    if (bits < __float_as_uint(0.015625f))
        return sign |
               (__float_as_uint(__fadd_rn(__uint_as_float(bits), 16384.0f)) - __float_as_uint(16384.0f));
    // Re-bias the exponent from 127 to 7, drop 20 of the 23 mantissa bits: half a step less one is added, and
    // one more where the code below is odd.
    const unsigned code = (bits - (120 << 23) + 0x7ffff + (bits >> 20 & 1)) >> 20;
    return sign | min(code, 0x7eu);
}

__device__ unsigned encode4(float4 v, float4 scale) {
    return encode(v.x / scale.x) | encode(v.y / scale.y) << 8 | encode(v.z / scale.z) << 16 |
           encode(v.w / scale.w) << 24;
}

__device__ unsigned encode4(float4 v, float scale) {
    return encode4(v, make_float4(scale, scale, scale, scale));
}

__device__ float4 load4(const float* x, long long at) { return *reinterpret_cast<const float4*>(x + at); }
__device__ void store4(unsigned char* q, long long at, unsigned codes) {
    *reinterpret_cast<unsigned*>(q + at) = codes;
}

struct Threads {  // grid-stride: this thread's first index, and how far it is to its next one
    long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    long long stride = (long long)gridDim.x * blockDim.x;
};

// ---- reference kernels ----------------------------------------------------------------------------------

extern "C" __global__ void reference_per_tensor_amax_kernel(const float* x, unsigned char* q, float* scale,
                                                            int rows, int cols, void* workspace) {
    __shared__ unsigned amax;
    if (threadIdx.x == 0) amax = 0;
    __syncthreads();
    unsigned most = 0;
    const Threads at;
    for (long long i = at.first; i < (long long)rows * cols / 4; i += at.stride)
        most = max(most, magnitude(load4(x, 4 * i)));
    atomicMax(&amax, most);
    __syncthreads();
    if (threadIdx.x == 0) atomicMax(static_cast<unsigned*>(workspace), amax);
}

extern "C" __global__ void reference_per_tensor_quantize_kernel(const float* x, unsigned char* q,
                                                                float* scale, int rows, int cols,
                                                                void* workspace) {
    const float own = scale_of(*static_cast<const unsigned*>(workspace));
    const Threads at;
    if (at.first == 0) scale[0] = own;
    for (long long i = at.first; i < (long long)rows * cols / 4; i += at.stride)
        store4(q, 4 * i, encode4(load4(x, 4 * i), own));
}

// A block of threads takes a strip of columns, a float4 of them each thread, and reads it twice.
extern "C" __global__ void reference_per_channel_kernel(const float* x, unsigned char* q, float* scale,
                                                        int groups, int rows, int cols) {
    __shared__ unsigned amax[STRIP];
    const int lane = threadIdx.x % (STRIP / 4) * 4, step = blockDim.x / (STRIP / 4);
    const long long strips = ceil_div(cols, STRIP);
    for (long long strip = blockIdx.x; strip < groups * strips; strip += gridDim.x) {
        const long long group = strip / strips, col = strip % strips * STRIP + lane;
        const long long start = group * rows * cols + col;
        const int first_row = col < cols ? threadIdx.x / (STRIP / 4) : rows;
        for (int i = threadIdx.x; i < STRIP; i += blockDim.x) amax[i] = 0;
        __syncthreads();
        uint4 most = make_uint4(0, 0, 0, 0);
        for (int row = first_row; row < rows; row += step) {
            const float4 v = load4(x, start + (long long)row * cols);
            most = make_uint4(max(most.x, magnitude(v.x)), max(most.y, magnitude(v.y)),
                              max(most.z, magnitude(v.z)), max(most.w, magnitude(v.w)));
        }
        atomicMax(&amax[lane + 0], most.x);
        atomicMax(&amax[lane + 1], most.y);
        atomicMax(&amax[lane + 2], most.z);
        atomicMax(&amax[lane + 3], most.w);
        __syncthreads();
        const float4 own = make_float4(scale_of(amax[lane + 0]), scale_of(amax[lane + 1]),
                                       scale_of(amax[lane + 2]), scale_of(amax[lane + 3]));
        if (first_row == 0) *reinterpret_cast<float4*>(scale + group * cols + col) = own;
        for (int row = first_row; row < rows; row += step) {
            const long long at = start + (long long)row * cols;
            store4(q, at, encode4(load4(x, at), own));
        }
        __syncthreads();  // the next strip resets amax
    }
}

// A warp takes a block: 32 float4s.
extern "C" __global__ void reference_fine_grained_kernel(const float* x, unsigned char* q, float* scale,
                                                         int rows, int cols) {
    const Threads at;
    const int lane = threadIdx.x % 32 * 4;
    const long long blocks_per_row = ceil_div(cols, BLOCK), blocks = rows * blocks_per_row;
    for (long long block = at.first / 32; block < blocks; block += at.stride / 32) {
        const long long col = block % blocks_per_row * BLOCK + lane;
        const long long i = block / blocks_per_row * cols + col;
        const float4 v = col < cols ? load4(x, i) : make_float4(0, 0, 0, 0);
        const float own = scale_of(warp_max(magnitude(v)));
        if (lane == 0) scale[block] = own;
        if (col < cols) store4(q, i, encode4(v, own));
    }
}

// A block of threads takes a block, a warp a row of it, and reads it twice.
extern "C" __global__ void reference_block_wise_kernel(const float* x, unsigned char* q, float* scale,
                                                       int groups, int rows, int cols) {
    __shared__ unsigned amax;
    const int lane = threadIdx.x % 32 * 4, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const long long across = ceil_div(cols, BLOCK), down = ceil_div(rows, BLOCK);
    for (long long block = blockIdx.x; block < groups * down * across; block += gridDim.x) {
        const int first_row = block / across % down * BLOCK, end_row = min(first_row + BLOCK, rows);
        const long long col = block % across * BLOCK + lane;
        const long long start = block / (across * down) * rows * cols + col;
        if (threadIdx.x == 0) amax = 0;
        __syncthreads();
        unsigned most = 0;
        for (int row = first_row + warp; row < end_row && col < cols; row += warps)
            most = max(most, magnitude(load4(x, start + (long long)row * cols)));
        most = warp_max(most);
        if (lane == 0) atomicMax(&amax, most);
        __syncthreads();
        const float own = scale_of(amax);
        if (threadIdx.x == 0) scale[block] = own;
        for (int row = first_row + warp; row < end_row && col < cols; row += warps) {
            const long long at = start + (long long)row * cols;
            store4(q, at, encode4(load4(x, at), own));
        }
        __syncthreads();  // the next block resets amax
    }
}

// ---- judges ---------------------------------------------------------------------------------------------

// For one kernel's output: first the bytes, then the scales, with consecutive indices.
struct Verdict {
    u64 wrong;  // number of elements; starts as 0, or with the count of earlier judges
    u64 first;  // the smallest index of a wrong element; starts as ~0
};

// Within 1 ulp of the FP32 quotient. For positive FP32 numbers, bits count ulps; others are far from every
// scale.
__device__ bool right_scale(float scale, unsigned amax) {
    return llabs((long long)__float_as_int(scale) - __float_as_int(scale_of(amax))) <= 1;
}

// The value of a code without its sign.
__device__ double decode(unsigned code) {
    const unsigned exponent = code >> 3, mantissa = code & 7;
    if (exponent == 0) return mantissa * 0.001953125;  // 2^-9
    return __uint_as_float((exponent + 120) << 23 | mantissa << 20);
}

// Whether the byte encodes some real number within 2 FP32 ulps of x / scale. A code's numbers extend to
// the midpoints next to its value, which belong to it if it is even; the largest code's extend further. FP64
// decides this exactly: see quantization_rules.admissible.
__device__ bool admissible(unsigned char byte, float x, float scale) {
    const unsigned code = byte & 0x7f;
    if (code == 0x7f || !(scale > 0.0f) || isinf(scale)) return false;
    const double quotient = (byte & 0x80 ? -(double)x : (double)x) / (double)scale;
    // ulp = 2^(e - 23) in the binade from 2^e, and 2^-149 at the least. FP64 has e + 1023 in its bits.
    const int exponent = (int)(__double_as_longlong(quotient) >> 52 & 0x7ff) - 1023;
    const double slack = __longlong_as_double((long long)(1023 + 1 + max(exponent - 23, -149)) << 52);
    const double low = code > 0 ? (decode(code - 1) + decode(code)) / 2 : 0.0;
    const double high = code < 0x7e ? (decode(code) + decode(code + 1)) / 2 : 1e300;  // no quotient
    const bool closed = code % 2 == 0;
    return closed ? low <= quotient + slack && quotient - slack <= high
                  : low < quotient + slack && quotient - slack < high;
}

// Adds what a thread found. One atomic per thread that found something.
struct Found {
    u64 wrong = 0, first = ~0ull;

    __device__ void add(bool right, u64 index) {
        if (right) return;
        ++wrong;
        first = min(first, index);
    }

    __device__ void tell(Verdict* verdict) const {
        if (wrong == 0) return;
        atomicAdd(&verdict->wrong, wrong);
        atomicMin(&verdict->first, first);
    }
};

// A part of x with up to 128 scales of its own, which a block of threads judges: a scale for each of its
// rows, for each of its columns, or for all of it. Lies at `start` of x; its scales at `scales`, `apart` from
// each other.
enum Sharing { ROW, COLUMN, ALL };

struct Tile {
    long long start, cols;  // cols of the whole matrix
    int tall, wide;
    long long scales, apart;
};

template <Sharing sharing>
__device__ void judge_tile(const float* x, const unsigned char* q, const float* scale, Tile tile, long long n,
                           Found& found) {
    __shared__ unsigned amax[BLOCK];
    const int slots = sharing == ROW ? tile.tall : sharing == COLUMN ? tile.wide : 1;
    auto slot_of = [&](int i) {
        return sharing == ROW ? i / tile.wide : sharing == COLUMN ? i % tile.wide : 0;
    };
    auto index_of = [&](int i) { return tile.start + i / tile.wide * tile.cols + i % tile.wide; };

    for (int i = threadIdx.x; i < slots; i += blockDim.x) amax[i] = 0;
    __syncthreads();
    // Usually a thread's elements share a scale, so their maximum goes to shared memory once.
    unsigned most = 0;
    int slot = 0;
    for (int i = threadIdx.x; i < tile.tall * tile.wide; i += blockDim.x) {
        if (slot_of(i) != slot) {
            atomicMax(&amax[slot], most);
            slot = slot_of(i);
            most = 0;
        }
        most = max(most, magnitude(x[index_of(i)]));
    }
    atomicMax(&amax[slot], most);
    __syncthreads();
    // The thread that reads amax[i] here resets it for the next tile, so no barrier is needed in between.
    for (int i = threadIdx.x; i < slots; i += blockDim.x) {
        const long long at = tile.scales + i * tile.apart;
        found.add(right_scale(scale[at], amax[i]), n + at);
    }
    for (int i = threadIdx.x; i < tile.tall * tile.wide; i += blockDim.x) {
        const long long at = index_of(i);
        found.add(admissible(q[at], x[at], scale[tile.scales + slot_of(i) * tile.apart]), at);
    }
}

extern "C" __global__ void judge_per_channel(const float* x, const unsigned char* q, const float* scale,
                                             int groups, int rows, int cols, Verdict* verdict) {
    Found found;
    const long long strips = ceil_div(cols, STRIP), n = (long long)groups * rows * cols;
    for (long long strip = blockIdx.x; strip < groups * strips; strip += gridDim.x) {
        const long long group = strip / strips, col = strip % strips * STRIP;
        const int wide = min((long long)STRIP, cols - col);
        judge_tile<COLUMN>(x, q, scale, {group * rows * cols + col, cols, rows, wide, group * cols + col, 1},
                           n, found);
    }
    found.tell(verdict);
}

extern "C" __global__ void judge_fine_grained(const float* x, const unsigned char* q, const float* scale,
                                              int rows, int cols, Verdict* verdict) {
    Found found;
    const long long across = ceil_div(cols, BLOCK), down = ceil_div(rows, BLOCK);
    for (long long tile = blockIdx.x; tile < down * across; tile += gridDim.x) {
        const long long row = tile / across * BLOCK, block = tile % across, col = block * BLOCK;
        const int tall = min((long long)BLOCK, rows - row), wide = min((long long)BLOCK, cols - col);
        judge_tile<ROW>(x, q, scale, {row * cols + col, cols, tall, wide, row * across + block, across},
                        (long long)rows * cols, found);
    }
    found.tell(verdict);
}

extern "C" __global__ void judge_block_wise(const float* x, const unsigned char* q, const float* scale,
                                            int groups, int rows, int cols, Verdict* verdict) {
    Found found;
    const long long across = ceil_div(cols, BLOCK), down = ceil_div(rows, BLOCK);
    for (long long tile = blockIdx.x; tile < groups * down * across; tile += gridDim.x) {
        const long long group = tile / (down * across);
        const long long row = tile / across % down * BLOCK, col = tile % across * BLOCK;
        const int tall = min((long long)BLOCK, rows - row), wide = min((long long)BLOCK, cols - col);
        judge_tile<ALL>(x, q, scale, {(group * rows + row) * cols + col, cols, tall, wide, tile, 0},
                        (long long)groups * rows * cols, found);
    }
    found.tell(verdict);
}

// One scale for all of x, and no block of threads sees all of x. But the scale is right if some block's own
// amax gives it and no block's amax would give a larger one. Each block says so in the upper bits of
// verdict->wrong, three fields of 8 bits beside 40 for the count; the last to come reads them, and takes them
// out again.
constexpr int JUDGES = 255;  // blocks that take part, as many as a field can count
constexpr int SAID = 40;     // the first of the fields' bits

extern "C" __global__ void judge_per_tensor_quantize(const float* x, const unsigned char* q,
                                                     const float* scale, int rows, int cols,
                                                     Verdict* verdict) {
    __shared__ unsigned amax;
    const int judges = min((int)gridDim.x, JUDGES);
    if (blockIdx.x >= judges) return;
    if (threadIdx.x == 0) amax = 0;
    __syncthreads();
    Found found;
    unsigned most = 0;
    const long long n = (long long)rows * cols;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += judges * blockDim.x) {
        most = max(most, magnitude(x[i]));
        found.add(admissible(q[i], x[i], scale[0]), i);
    }
    atomicMax(&amax, most);
    found.tell(verdict);
    __syncthreads();
    if (threadIdx.x != 0) return;

    const bool gives_it = right_scale(scale[0], amax), gives_more = !gives_it && scale_of(amax) > scale[0];
    const u64 says = 1 | (u64)gives_it << 8 | (u64)gives_more << 16;
    const u64 said = (atomicAdd(&verdict->wrong, says << SAID) >> SAID) + says;
    if ((said & 0xff) != judges) return;
    atomicAdd(&verdict->wrong, -(said << SAID));
    const bool right = (said >> 8 & 0xff) > 0 && said >> 16 == 0;
    if (right) return;
    atomicAdd(&verdict->wrong, 1ull);
    atomicMin(&verdict->first, (u64)n);
}

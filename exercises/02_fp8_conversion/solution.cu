// FP8 conversion by hand: the reference solution.
//
// 1. Let the adder round. From 2^23 on, FP32 numbers are 1 apart, so 2^23 + |x| is rounded to an integer,
//    ties to even, and the low bits of the sum are that integer. The same works for any step size: add 2^23
//    steps and subtract the bits of 2^23 steps from the bits of the sum. The result is |x| in steps, rounded
//    as FP8 requires. A carry from the mantissa into the exponent needs no special care.
//
// 2. Subnormals are not a special case. Between 2^e and 2^(e+1), E4M3 numbers are 2^(e-3) apart. Below the
//    smallest normal number, 2^-6, the step stays the same. So clamp e to at least -6.
//
// 3. Codes are consecutive. Eight steps (four in E5M2) lead to the next exponent, so with e of at least -6
//
//     code = 8 * (e + 6) + steps        steps: 0 to 8 if e is -6 and |x| is subnormal, else 8 to 16
//
// 4. Memory limits the speed and hides the arithmetic. A thread reads float4s, writes four codes with one
//    store, and issues all its loads before it uses the first.
#include "grader.cuh"

struct E4M3 {
    static constexpr unsigned mantissa_bits = 3;
    static constexpr float largest = 448;
    static constexpr unsigned largest_code = 0x7e, nan = 0x7f;
    static constexpr unsigned smallest_normal = 0x3c800000;  // 2^-6, as FP32 bits
};

struct E5M2 {
    static constexpr unsigned mantissa_bits = 2;
    static constexpr float largest = 57344;
    static constexpr unsigned largest_code = 0x7b, nan = 0x7f;
    static constexpr unsigned smallest_normal = 0x38800000;  // 2^-14
};

constexpr unsigned INFINITE = 0x7f800000;  // the bits of +Inf, and the mask of the exponent

// Where both kinds of rounding start: |x|, saturated, and the FP8 step at that magnitude.
template <class Format>
struct Place {
    float magnitude;
    unsigned binade;  // 2^e <= |x| < 2^(e+1), as FP32 bits
    float ruler;      // 2^23 steps: an FP32 number whose last bit is worth one step

    __device__ explicit Place(float x) {
        magnitude = fminf(fabsf(x), Format::largest);  // Inf too; and NaN, which `finish` corrects
        binade = max(__float_as_uint(magnitude), Format::smallest_normal) & INFINITE;
        ruler = __uint_as_float(binade + ((23 - Format::mantissa_bits) << 23));
    }

    // `sum` is the ruler plus a whole number of steps.
    __device__ unsigned code(float sum) const {
        const unsigned steps = __float_as_uint(sum) - __float_as_uint(ruler);
        return steps + ((binade - Format::smallest_normal) >> (23 - Format::mantissa_bits));
    }
};

// Copies the sign bit, so -0 keeps it. The bits of a NaN are larger than those of Inf.
template <class Format>
__device__ unsigned char finish(float x, unsigned code) {
    const unsigned bits = __float_as_uint(x);
    return (bits >> 24 & 0x80) | ((bits & 0x7fffffff) > INFINITE ? Format::nan : code);
}

template <class Format>
__device__ unsigned char encode(float x) {
    const Place<Format> at(x);
    return finish<Format>(x, at.code(__fadd_rn(at.magnitude, at.ruler)));
}

// Truncate to whole steps (by adding with rounding towards zero), then add a step if `random` is below the
// threshold. Every operation is exact. For tiny x, the threshold, rest * 2^32 / step, can have a fractional
// part. `random` is an integer, so rounding the threshold up does not change the comparison.
template <class Format>
__device__ unsigned char encode_stochastic(float x, unsigned random) {
    const Place<Format> at(x);
    const float sum = __fadd_rz(at.magnitude, at.ruler);
    const float rest = at.magnitude - (sum - at.ruler);
    // 2^32 / step is a power of two with the exponent field 127 + 32 + mantissa_bits - e; that of `binade` is
    // 127 + e.
    const float per_step = __uint_as_float(((254 + 32 + Format::mantissa_bits) << 23) - at.binade);
    return finish<Format>(x, at.code(sum) + (random < __float2uint_ru(rest * per_step)));
}

// Shifted to the position of FP32's exponent and mantissa, the code without its sign is the right number
// except for the bias. One multiplication by a power of two corrects that. It works for subnormals too: at
// that point they are FP32 subnormals.
template <class Format>
__device__ float decode(unsigned char code) {
    const unsigned magnitude = code & 0x7f, moved = magnitude << (23 - Format::mantissa_bits);
    const float to_fp8 = __uint_as_float(Format::smallest_normal + (126 << 23));  // divided by FP32's, 2^-126
    unsigned bits = __float_as_uint(__uint_as_float(moved) * to_fp8);
    if (magnitude > Format::largest_code) bits = moved | INFINITE;  // Inf has mantissa 0 in both formats
    return __uint_as_float((code & 0x80u) << 24 | bits);
}

// The rest of the file is about memory accesses.

constexpr int THREADS = 256;
constexpr int LOADS = 4;               // loads in flight per thread, of four elements each
constexpr int TILE = THREADS * LOADS;  // groups of four that a block converts at a time

// Calls load(i) and store(i, loaded) for every group of four elements. The threads of a warp take
// neighbouring groups, so that a warp reads contiguous memory. Tiles are assigned to blocks in turn, for any
// number of blocks.
template <class Load, class Store>
__device__ __forceinline__ void for_each_four(long long n, Load load, Store store) {
    const long long fours = n / 4;
    for (long long tile = blockIdx.x; tile * TILE < fours; tile += gridDim.x) {
        const long long first = tile * TILE + threadIdx.x;
        decltype(load(first)) loaded[LOADS];
#pragma unroll
        for (int k = 0; k < LOADS; ++k)
            if (first + k * THREADS < fours) loaded[k] = load(first + k * THREADS);
#pragma unroll
        for (int k = 0; k < LOADS; ++k)
            if (first + k * THREADS < fours) store(first + k * THREADS, loaded[k]);
    }
}

// Up to three elements are left over. Returns the index of the one that this thread converts, or n if none.
__device__ __forceinline__ long long left_over(long long n) {
    return blockIdx.x == 0 && threadIdx.x < n % 4 ? n / 4 * 4 + threadIdx.x : n;
}

template <class Format>
__device__ void encode_all(const float* x, unsigned char* y, long long n) {
    for_each_four(
        n, [=](long long i) { return reinterpret_cast<const float4*>(x)[i]; },
        [=](long long i, float4 v) {
            reinterpret_cast<uchar4*>(y)[i] = make_uchar4(encode<Format>(v.x), encode<Format>(v.y),
                                                          encode<Format>(v.z), encode<Format>(v.w));
        });
    const long long i = left_over(n);
    if (i < n) y[i] = encode<Format>(x[i]);
}

template <class Format>
__device__ void decode_all(const unsigned char* x, float* y, long long n) {
    for_each_four(
        n, [=](long long i) { return reinterpret_cast<const uchar4*>(x)[i]; },
        [=](long long i, uchar4 v) {
            reinterpret_cast<float4*>(y)[i] = make_float4(decode<Format>(v.x), decode<Format>(v.y),
                                                          decode<Format>(v.z), decode<Format>(v.w));
        });
    const long long i = left_over(n);
    if (i < n) y[i] = decode<Format>(x[i]);
}

// FP32 to E4M3, rounded to nearest even.
extern "C" __global__ void encode_e4m3_kernel(const float* x, unsigned char* y, long long n) {
    encode_all<E4M3>(x, y, n);
}

// FP32 to E5M2, rounded to nearest even.
extern "C" __global__ void encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    encode_all<E5M2>(x, y, n);
}

// E4M3 to FP32.
extern "C" __global__ void decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    decode_all<E4M3>(x, y, n);
}

// E5M2 to FP32.
extern "C" __global__ void decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    decode_all<E5M2>(x, y, n);
}

struct Draws {
    float4 x;
    uint4 random;
};

// FP32 to E4M3, rounded stochastically.
extern "C" __global__ void encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                         unsigned char* y, long long n) {
    for_each_four(
        n,
        [=](long long i) {
            return Draws{reinterpret_cast<const float4*>(x)[i], reinterpret_cast<const uint4*>(random)[i]};
        },
        [=](long long i, Draws v) {
            reinterpret_cast<uchar4*>(y)[i] = make_uchar4(
                encode_stochastic<E4M3>(v.x.x, v.random.x), encode_stochastic<E4M3>(v.x.y, v.random.y),
                encode_stochastic<E4M3>(v.x.z, v.random.z), encode_stochastic<E4M3>(v.x.w, v.random.w));
        });
    const long long i = left_over(n);
    if (i < n) y[i] = encode_stochastic<E4M3>(x[i], random[i]);
}

// One block per tile; the GPU starts new blocks as others finish. Beyond a million tiles, each block takes
// several.
__device__ void cover(long long n, Launch* launch) {
    const long long tiles = (n / 4 + TILE - 1) / TILE;
    launch->grid = dim3(min(max(tiles, 1ll), 1ll << 20));
    launch->block = dim3(THREADS);
}

extern "C" __global__ void launch_encode_e4m3(long long n, Launch* launch) { cover(n, launch); }
extern "C" __global__ void launch_encode_e5m2(long long n, Launch* launch) { cover(n, launch); }
extern "C" __global__ void launch_decode_e4m3(long long n, Launch* launch) { cover(n, launch); }
extern "C" __global__ void launch_decode_e5m2(long long n, Launch* launch) { cover(n, launch); }
extern "C" __global__ void launch_encode_e4m3_stochastic(long long n, Launch* launch) { cover(n, launch); }

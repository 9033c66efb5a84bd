// FP8 conversion by hand: the reference solution.
//
// The first idea: let the adder round. FP32 numbers from 2^23 on are 1 apart, so 2^23 + |x| is rounded to a
// whole number, ties to even, and the last bits of the sum are that number. From 2^23 steps on they are one
// step apart, whatever a step is. So: add 2^23 steps, look at the bits, subtract the bits of 2^23 steps. What
// is left is how many steps |x| has, rounded as FP8 wants it, and a mantissa that overflows into the exponent
// needs no care.
//
// The second: subnormals are no special case. From 2^e to 2^(e+1) an E4M3 number goes in steps of 2^(e-3).
// Below the smallest normal number, 2^-6, the steps stop shrinking. So e is at least -6, and that is all.
//
// The third: codes are consecutive. Eight steps (in E5M2 four) take the exponent one further, so with e from
// -6 on
//
//     code = 8 * (e + 6) + steps        steps: 0 to 8 where e is -6 and |x| is subnormal, else 8 to 16
//
// The fourth: memory sets the speed, and arithmetic hides behind it. A thread reads float4s and writes four
// codes with one store, and all of its loads are on the way before it needs the first.
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

constexpr unsigned INFINITE = 0x7f800000;  // the bits of +Inf, which are those of the exponent, too

// What both ways to round begin with: |x|, saturated, and the steps that FP8 makes there.
template <class Format>
struct Place {
    float magnitude;
    unsigned binade;  // 2^e <= |x| < 2^(e+1), as FP32 bits
    float ruler;      // 2^23 steps: an FP32 number whose last bit is worth one

    __device__ explicit Place(float x) {
        magnitude = fminf(fabsf(x), Format::largest);  // also of Inf; and of NaN, but see `finish`
        binade = max(__float_as_uint(magnitude), Format::smallest_normal) & INFINITE;
        ruler = __uint_as_float(binade + ((23 - Format::mantissa_bits) << 23));
    }

    // `sum` is the ruler and a whole number of steps.
    __device__ unsigned code(float sum) const {
        const unsigned steps = __float_as_uint(sum) - __float_as_uint(ruler);
        return steps + ((binade - Format::smallest_normal) >> (23 - Format::mantissa_bits));
    }
};

// The sign is copied as a bit, so -0 keeps it. NaN is found by its bits: above those of Inf.
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

// By chance: cut off what is less than a step (this adder rounds towards zero), and add a step if `random`
// says so. Every operation is exact. The rest times 2^32 / step can have digits behind the point, for tiny x.
// `random` has none: it is below such a number just if it is below the next whole one, so round that up.
template <class Format>
__device__ unsigned char encode_stochastic(float x, unsigned random) {
    const Place<Format> at(x);
    const float sum = __fadd_rz(at.magnitude, at.ruler);
    const float rest = at.magnitude - (sum - at.ruler);
    // 2^32 / step is a power of two: its exponent field is 127 + 32 + mantissa_bits - e, and 127 + e is
    // binade's.
    const float per_step = __uint_as_float(((254 + 32 + Format::mantissa_bits) << 23) - at.binade);
    return finish<Format>(x, at.code(sum) + (random < __float2uint_ru(rest * per_step)));
}

// The code without its sign, moved to where FP32 has exponent and mantissa, is the right number but for the
// bias: FP32's smallest normal number stands where FP8's should. One multiplication by a power of two sets
// that right, for subnormals too, which arrive as subnormals of FP32.
template <class Format>
__device__ float decode(unsigned char code) {
    const unsigned magnitude = code & 0x7f, moved = magnitude << (23 - Format::mantissa_bits);
    const float to_fp8 = __uint_as_float(Format::smallest_normal + (126 << 23));  // over 2^-126, FP32's
    unsigned bits = __float_as_uint(__uint_as_float(moved) * to_fp8);
    if (magnitude > Format::largest_code) bits = moved | INFINITE;  // Inf has a mantissa of 0 here and there
    return __uint_as_float((code & 0x80u) << 24 | bits);
}

// The rest is about memory.

constexpr int THREADS = 256;
constexpr int LOADS = 4;               // of four elements each, that a thread has on the way at once
constexpr int TILE = THREADS * LOADS;  // so many fours are one turn of a block

// Calls load(i) and store(i, loaded) for every four i. The threads of a warp take neighbouring fours, so that
// a warp reads one piece of memory. The tiles are dealt out to the blocks in turn, however many blocks there
// are.
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

// The element, if any, that this thread takes of the up to three that are left over; else n.
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

// To E4M3, to nearest.
extern "C" __global__ void encode_e4m3_kernel(const float* x, unsigned char* y, long long n) {
    encode_all<E4M3>(x, y, n);
}

// To E5M2, to nearest.
extern "C" __global__ void encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    encode_all<E5M2>(x, y, n);
}

// From E4M3.
extern "C" __global__ void decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    decode_all<E4M3>(x, y, n);
}

// From E5M2.
extern "C" __global__ void decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    decode_all<E5M2>(x, y, n);
}

struct Draws {
    float4 x;
    uint4 random;
};

// To E4M3, by chance.
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

// A block for each tile, which the GPU hands out as blocks end. Beyond a million blocks each takes several
// tiles.
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

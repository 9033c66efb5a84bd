// FP8 on a GPU: the definition of fp8.py once more, and the judges of exercise 02.
//
//     reference_encode_e4m3_kernel, reference_encode_e5m2_kernel      FP32 to codes, to nearest even
//     reference_encode_e4m3_stochastic_kernel                         FP32 to codes, by chance
//     reference_decode_e4m3_kernel, reference_decode_e5m2_kernel      codes to FP32
//     judge_encode_e4m3, ...                                          counts what a submission got wrong
//
// How to launch them: any 1-D grid of any 1-D blocks; 1024 blocks of 256 threads fill a GPU. Arrays start on
// 16 bytes or more. n is any length, 0 too.
//
// As in fp8.py everything is integers. The code without its sign, read as an integer, grows with the value,
// and each step of it is one FP8 value. So encoding asks: where does |x| stand on the scale of codes?

typedef unsigned long long u64;

struct E4M3 {  // s eeee mmm
    static constexpr unsigned mantissa_bits = 3, bias = 7;
    static constexpr unsigned largest = 0x7e;                // codes without the sign: 448
    static constexpr unsigned nan = 0x7f, first_nan = 0x7f;  // no Inf
};

struct E5M2 {  // s eeeee mm
    static constexpr unsigned mantissa_bits = 2, bias = 15;
    static constexpr unsigned largest = 0x7b;                // 57344
    static constexpr unsigned nan = 0x7f, first_nan = 0x7d;  // 0x7c is Inf
};

constexpr unsigned FP32_INF = 0x7f800000;  // above it, without the sign, stand the NaN

// |x| on the scale of codes is fixed / 2^places, exactly, unless `deepest` limits places.
struct Place {
    unsigned fixed, places;
};

// Where x is a normal FP8 value, re-biasing the exponent is all; FP32 has the more mantissa bits as places.
// Below, the codes are multiples of the smallest subnormal: the significand itself, shifted by as much as x
// is too small.
template <class Format>
__device__ Place place(unsigned bits, unsigned deepest) {
    constexpr unsigned smallest_normal = 128 - Format::bias;  // its FP32 exponent field; its FP8 one is 1
    constexpr unsigned more = 23 - Format::mantissa_bits;
    const unsigned magnitude = bits & 0x7fffffff, exponent = magnitude >> 23, mantissa = magnitude & 0x7fffff;
    const unsigned normal = magnitude - ((smallest_normal - 1) << 23);
    const unsigned significand = exponent > 0 ? mantissa | 0x800000 : mantissa;
    const unsigned too_small = smallest_normal - min(exponent, smallest_normal);
    return {exponent >= smallest_normal ? normal : significand, min(too_small + more, deepest)};
}

// Saturate, give NaN its code, put the sign back.
template <class Format>
__device__ unsigned char finish(unsigned bits, unsigned code) {
    code = min(code, Format::largest);
    if ((bits & 0x7fffffff) > FP32_INF) code = Format::nan;
    return (bits >> 24 & 0x80) | code;
}

template <class Format>
__device__ unsigned char encode(float x) {
    const unsigned bits = __float_as_uint(x);
    const Place at = place<Format>(bits, 25);  // 24 bits of significand: from 25 places on, less than a half
    // Half a step less one, and one more where the code below is odd: only then does a tie carry.
    const unsigned half = 1u << (at.places - 1), odd = at.fixed >> at.places & 1;
    return finish<Format>(bits, (at.fixed + (half - 1) + odd) >> at.places);
}

// Up if random < 2^32 * (the part of the step that |x| has gone). Rounded up, the right side is an integer,
// and an integer `random` is below one if it is below the other.
template <class Format>
__device__ unsigned char encode_stochastic(float x, unsigned random) {
    const unsigned bits = __float_as_uint(x);
    const Place at = place<Format>(bits, 57);  // from 57 places on the right side is 1: just 0 is below
    const u64 one = 1ull << at.places, fraction = at.fixed & (one - 1);
    const u64 threshold = ((fraction << 32) + (one - 1)) >> at.places;
    return finish<Format>(bits, (unsigned)(at.fixed >> min(at.places, 31)) + (random < threshold));
}

// normal (-1)^s 2^(e - bias) 1.m, subnormal (-1)^s 2^(1 - bias) 0.m: whole numbers times a power of two,
// exact.
template <class Format>
__device__ float decode(unsigned char code) {
    const unsigned magnitude = code & 0x7f, sign = (unsigned)(code & 0x80) << 24;
    const unsigned exponent = magnitude >> Format::mantissa_bits;
    const unsigned mantissa = magnitude & ((1 << Format::mantissa_bits) - 1);
    const unsigned significand = exponent > 0 ? mantissa | 1 << Format::mantissa_bits : mantissa;
    const unsigned power = max(exponent, 1u) - Format::bias - Format::mantissa_bits;
    unsigned bits = __float_as_uint((float)significand * __uint_as_float((power + 127) << 23));
    if (magnitude > Format::largest) bits = FP32_INF;
    if (magnitude >= Format::first_nan) bits = 0x7fc00000;
    return __uint_as_float(sign | bits);
}

// Four elements for each load and store, and the last n % 4 one by one.

struct Threads {  // grid-stride: this thread's first index, and how far it is to its next one
    long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    long long stride = (long long)gridDim.x * blockDim.x;
};

template <class Format>
__device__ void encode_all(const float* x, unsigned char* y, long long n) {
    const Threads at;
    for (long long i = at.first; i < n / 4; i += at.stride) {
        const float4 v = reinterpret_cast<const float4*>(x)[i];
        reinterpret_cast<uchar4*>(y)[i] =
            make_uchar4(encode<Format>(v.x), encode<Format>(v.y), encode<Format>(v.z), encode<Format>(v.w));
    }
    for (long long i = n / 4 * 4 + at.first; i < n; i += at.stride) y[i] = encode<Format>(x[i]);
}

template <class Format>
__device__ void encode_all(const float* x, const unsigned* random, unsigned char* y, long long n) {
    const Threads at;
    for (long long i = at.first; i < n / 4; i += at.stride) {
        const float4 v = reinterpret_cast<const float4*>(x)[i];
        const uint4 r = reinterpret_cast<const uint4*>(random)[i];
        reinterpret_cast<uchar4*>(y)[i] =
            make_uchar4(encode_stochastic<Format>(v.x, r.x), encode_stochastic<Format>(v.y, r.y),
                        encode_stochastic<Format>(v.z, r.z), encode_stochastic<Format>(v.w, r.w));
    }
    for (long long i = n / 4 * 4 + at.first; i < n; i += at.stride)
        y[i] = encode_stochastic<Format>(x[i], random[i]);
}

template <class Format>
__device__ void decode_all(const unsigned char* x, float* y, long long n) {
    const Threads at;
    for (long long i = at.first; i < n / 4; i += at.stride) {
        const uchar4 code = reinterpret_cast<const uchar4*>(x)[i];
        reinterpret_cast<float4*>(y)[i] = make_float4(decode<Format>(code.x), decode<Format>(code.y),
                                                      decode<Format>(code.z), decode<Format>(code.w));
    }
    for (long long i = n / 4 * 4 + at.first; i < n; i += at.stride) y[i] = decode<Format>(x[i]);
}

extern "C" __global__ void reference_encode_e4m3_kernel(const float* x, unsigned char* y, long long n) {
    encode_all<E4M3>(x, y, n);
}

extern "C" __global__ void reference_encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    encode_all<E5M2>(x, y, n);
}

extern "C" __global__ void reference_encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                                   unsigned char* y, long long n) {
    encode_all<E4M3>(x, random, y, n);
}

extern "C" __global__ void reference_decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    decode_all<E4M3>(x, y, n);
}

extern "C" __global__ void reference_decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    decode_all<E5M2>(x, y, n);
}

// The judges: a code is right or wrong, and any NaN is right for a NaN.

struct Verdict {
    u64 wrong;  // how many elements; arrives as 0
    u64 first;  // the smallest index of a wrong element; starts as ~0
};

template <class Format>
__device__ bool same_code(unsigned char expected, unsigned char got) {
    return expected == got || ((expected & 0x7f) >= Format::first_nan && (got & 0x7f) >= Format::first_nan);
}

__device__ bool same_value(float expected, float got) {
    return __float_as_uint(expected) == __float_as_uint(got) || (isnan(expected) && isnan(got));
}

// One atomic for each thread that found something wrong; a thread meets its own wrong elements in ascending
// order.
template <class Right>
__device__ void judge_all(long long n, Verdict* verdict, Right right) {
    u64 wrong = 0, first = ~0ull;
    const Threads at;
    for (long long i = at.first; i < n; i += at.stride) {
        if (right(i)) continue;
        if (wrong++ == 0) first = i;
    }
    if (wrong == 0) return;
    atomicAdd(&verdict->wrong, wrong);
    atomicMin(&verdict->first, first);
}

extern "C" __global__ void judge_encode_e4m3(const float* x, const unsigned char* y, long long n,
                                             Verdict* verdict) {
    judge_all(n, verdict, [=](long long i) { return same_code<E4M3>(encode<E4M3>(x[i]), y[i]); });
}

extern "C" __global__ void judge_encode_e5m2(const float* x, const unsigned char* y, long long n,
                                             Verdict* verdict) {
    judge_all(n, verdict, [=](long long i) { return same_code<E5M2>(encode<E5M2>(x[i]), y[i]); });
}

extern "C" __global__ void judge_encode_e4m3_stochastic(const float* x, const unsigned int* random,
                                                        const unsigned char* y, long long n,
                                                        Verdict* verdict) {
    judge_all(n, verdict,
              [=](long long i) { return same_code<E4M3>(encode_stochastic<E4M3>(x[i], random[i]), y[i]); });
}

extern "C" __global__ void judge_decode_e4m3(const unsigned char* x, const float* y, long long n,
                                             Verdict* verdict) {
    judge_all(n, verdict, [=](long long i) { return same_value(decode<E4M3>(x[i]), y[i]); });
}

extern "C" __global__ void judge_decode_e5m2(const unsigned char* x, const float* y, long long n,
                                             Verdict* verdict) {
    judge_all(n, verdict, [=](long long i) { return same_value(decode<E5M2>(x[i]), y[i]); });
}

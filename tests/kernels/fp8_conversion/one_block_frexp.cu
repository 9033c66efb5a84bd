// Encodes with frexpf and rintf, decodes with __clz, by chance with two halves of 16 bits; a single block.
#include "grader.cuh"

struct E4M3 {
    static constexpr int M = 3, BIAS = 7;
    static constexpr unsigned LARGEST = 0x7e, NANCODE = 0x7f;
    static constexpr float MAX = 448.0f;
};
struct E5M2 {
    static constexpr int M = 2, BIAS = 15;
    static constexpr unsigned LARGEST = 0x7b, NANCODE = 0x7e;
    static constexpr float MAX = 57344.0f;
};

template <class F>
__device__ unsigned char encode(float x) {
    const unsigned sign = (__float_as_uint(x) >> 31) << 7;
    if (x != x) return sign | 0x7f;
    const float a = fminf(fabsf(x), F::MAX);
    if (a == 0.0f) return sign;
    int e;
    frexpf(a, &e);
    e = max(e - 1, 1 - F::BIAS);
    const float steps = rintf(ldexpf(a, F::M - e));
    return sign | (unsigned)((e + F::BIAS - 1) * (1 << F::M) + (int)steps);
}

template <class F>
__device__ float decode(unsigned char c) {
    const unsigned sign = (c & 0x80u) << 24, m7 = c & 0x7fu;
    if (m7 > F::LARGEST) return __uint_as_float(sign | 0x7f800000u | (F::M == 2 ? (m7 & 3) << 21 : 1));
    unsigned e = m7 >> F::M, m = m7 & ((1u << F::M) - 1);
    if (e == 0) {
        if (m == 0) return __uint_as_float(sign);
        const int shift = __clz(m) - (31 - F::M);
        m = (m << shift) & ((1u << F::M) - 1);
        e = 1 - shift;
    }
    return __uint_as_float(sign | (e + 127 - F::BIAS) << 23 | m << (23 - F::M));
}

// all exact: steps has 24 bits, so has its fraction
__device__ unsigned char chance(float x, unsigned r) {
    const unsigned sign = __float_as_uint(x) >> 24 & 0x80;
    if (x != x) return sign | 0x7f;
    const float a = fabsf(x);
    if (a >= 448.0f) return sign | 0x7e;
    const int e = max((int)(__float_as_uint(a) >> 23) - 127, -6);
    const float steps = a * __uint_as_float((130 - e) << 23);  // by a power of two
    const float low = truncf(steps), rest = steps - low;
    // rest * 2^32 = high * 2^16 + middle + behind
    const float h = rest * 65536.0f, high = floorf(h), t = (h - high) * 65536.0f, middle = floorf(t);
    const unsigned threshold = (unsigned)high << 16 | (unsigned)middle;
    const bool up = r < threshold || (r == threshold && t > middle);
    return sign | (unsigned)((e + 6) * 8 + (int)low + up);
}

extern "C" __global__ void encode_e4m3_kernel(const float* x, unsigned char* y, long long n) {
    for (long long i = threadIdx.x; i < n; i += blockDim.x) {
        y[i] = encode<E4M3>(x[i]);
    }
}
extern "C" __global__ void encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    for (long long i = threadIdx.x; i < n; i += blockDim.x) {
        y[i] = encode<E5M2>(x[i]);
    }
}
extern "C" __global__ void decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    for (long long i = threadIdx.x; i < n; i += blockDim.x) {
        y[i] = decode<E4M3>(x[i]);
    }
}
extern "C" __global__ void decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    for (long long i = threadIdx.x; i < n; i += blockDim.x) {
        y[i] = decode<E5M2>(x[i]);
    }
}
extern "C" __global__ void encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                         unsigned char* y, long long n) {
    for (long long i = threadIdx.x; i < n; i += blockDim.x) {
        y[i] = chance(x[i], random[i]);
    }
}
extern "C" __global__ void launch_encode_e4m3(long long n, Launch* launch) {
    launch->grid = 1;
    launch->block = 1024;
}
extern "C" __global__ void launch_encode_e5m2(long long n, Launch* launch) {
    launch->grid = 1;
    launch->block = 1024;
}
extern "C" __global__ void launch_decode_e4m3(long long n, Launch* launch) {
    launch->grid = 1;
    launch->block = 1024;
}
extern "C" __global__ void launch_decode_e5m2(long long n, Launch* launch) {
    launch->grid = 1;
    launch->block = 1024;
}
extern "C" __global__ void launch_encode_e4m3_stochastic(long long n, Launch* launch) {
    launch->grid = 1;
    launch->block = 1024;
}

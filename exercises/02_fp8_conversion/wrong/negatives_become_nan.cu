// caught by: correct[uniform] wrong-values
// The sign bit is still there when the bits are compared: every negative number is called a NaN.
#include "grader.cuh"

struct E4M3 {
    static constexpr unsigned mantissa_bits = 3, bias = 7, largest = 0x7e, nan = 0x7f;
};

struct E5M2 {
    static constexpr unsigned mantissa_bits = 2, bias = 15, largest = 0x7b, nan = 0x7f;
};

// |x| in codes: `fixed`, with so many places behind the point.
template <class Format>
__device__ unsigned place(unsigned magnitude, unsigned& places) {
    constexpr unsigned smallest_normal = 128 - Format::bias;  // as an FP32 exponent
    const unsigned exponent = max(magnitude >> 23, 1u);
    places = 23 - Format::mantissa_bits;
    if (exponent >= smallest_normal) return magnitude - ((smallest_normal - 1) << 23);
    places = min(places + smallest_normal - exponent, 57);
    return magnitude < 0x800000 ? magnitude : (magnitude & 0x7fffff) | 0x800000;
}

template <class Format>
__device__ unsigned char finish(unsigned bits, unsigned code) {
    code = min(code, Format::largest);
    if (bits > 0x7f800000) code = Format::nan;  // <-- here
    return (bits >> 24 & 0x80) | code;
}

template <class Format>
__device__ unsigned char encode(float x) {
    const unsigned bits = __float_as_uint(x);
    unsigned places;
    const unsigned long long fixed = place<Format>(bits & 0x7fffffff, places);
    const unsigned long long half = 1ull << (places - 1), odd = fixed >> places & 1;
    return finish<Format>(bits, (fixed + (half - 1) + odd) >> places);
}

template <class Format>
__device__ unsigned char encode_stochastic(float x, unsigned random) {
    const unsigned bits = __float_as_uint(x);
    unsigned places;
    const unsigned long long fixed = place<Format>(bits & 0x7fffffff, places);
    const unsigned long long one = 1ull << places, fraction = fixed & (one - 1);
    const unsigned long long threshold = ((fraction << 32) + (one - 1)) >> places;
    const unsigned char code = finish<Format>(bits & 0x7fffffff, (fixed >> places) + (random < threshold));
    return (bits >> 24 & 0x80) | code;
}

template <class Format>
__device__ float decode(unsigned char code) {
    const unsigned magnitude = code & 0x7f, sign = (code & 0x80u) << 24;
    const unsigned exponent = magnitude >> Format::mantissa_bits;
    const unsigned mantissa = magnitude & ((1 << Format::mantissa_bits) - 1);
    if (magnitude > Format::largest)
        return __uint_as_float(sign | 0x7f800000 | mantissa << (23 - Format::mantissa_bits));
    const float step = __uint_as_float((max(exponent, 1) + 127 - Format::bias - Format::mantissa_bits) << 23);
    const float value = (exponent > 0 ? mantissa + (1 << Format::mantissa_bits) : mantissa) * step;
    return __uint_as_float(sign | __float_as_uint(value));
}

__device__ long long first() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ long long stride() { return (long long)gridDim.x * blockDim.x; }

// FP32 to E4M3.
extern "C" __global__ void encode_e4m3_kernel(const float* x, unsigned char* y, long long n) {
    for (long long i = first(); i < n; i += stride()) y[i] = encode<E4M3>(x[i]);
}

// FP32 to E5M2.
extern "C" __global__ void encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    for (long long i = first(); i < n; i += stride()) y[i] = encode<E5M2>(x[i]);
}

// E4M3 to FP32.
extern "C" __global__ void decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    for (long long i = first(); i < n; i += stride()) y[i] = decode<E4M3>(x[i]);
}

// E5M2 to FP32.
extern "C" __global__ void decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    for (long long i = first(); i < n; i += stride()) y[i] = decode<E5M2>(x[i]);
}

// FP32 to E4M3, by chance.
extern "C" __global__ void encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                         unsigned char* y, long long n) {
    for (long long i = first(); i < n; i += stride()) y[i] = encode_stochastic<E4M3>(x[i], random[i]);
}

__device__ void cover(long long n, Launch* launch) {
    launch->grid = dim3(min((n + 1023) / 1024, 4096ll));
    launch->block = dim3(256);
}

extern "C" __global__ void launch_encode_e4m3(long long n, Launch* launch) { cover(n, launch); }
extern "C" __global__ void launch_encode_e5m2(long long n, Launch* launch) { cover(n, launch); }
extern "C" __global__ void launch_decode_e4m3(long long n, Launch* launch) { cover(n, launch); }
extern "C" __global__ void launch_decode_e5m2(long long n, Launch* launch) { cover(n, launch); }
extern "C" __global__ void launch_encode_e4m3_stochastic(long long n, Launch* launch) { cover(n, launch); }

// Exercise 02: FP8 conversion by hand. Read problem.md, then do the TODOs below, from top to bottom.
//
//     grade run 2
//
// grades this file; run it after every step. As it stands the file compiles and launches, and every code and
// every value comes out as 0.
#include "grader.cuh"

// What tells the two formats apart. Everything below gets one of these as `Format`, so that it is written
// once.
struct E4M3 {  // s eeee mmm
    static constexpr int mantissa_bits = 3, bias = 7;
    static constexpr unsigned largest = 0x7e;  // 448, the code without its sign; above it NaN alone
};

struct E5M2 {  // s eeeee mm
    static constexpr int mantissa_bits = 2, bias = 15;
    static constexpr unsigned largest = 0x7b;  // 57344; above it Inf (0x7c) and NaN
};

// TODO 1: from a code to its value, the easier way round. With e the exponent field and m the mantissa field,
//     e > 0:  2^(e - bias) * (1 + m / 2^mantissa_bits)
//     e = 0:  2^(1 - bias) * (0 + m / 2^mantissa_bits)
// and the sign. What lies above Format::largest is Inf or NaN. -0 is a value, too.
template <class Format>
__device__ float decode(unsigned char code) {
    return 0.0f;
}

// TODO 2: from a value to the nearest code; between two, to the even one. Too large becomes the largest, NaN
// a NaN. __float_as_uint(x) gives the bits of x: s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm, bias 127.
template <class Format>
__device__ unsigned char encode(float x) {
    return 0;
}

// TODO 3: up or down by chance. With lo <= |x| < hi the values of two neighbouring codes:
//     hi if random < 2^32 * (|x| - lo) / (hi - lo), exactly, else lo.
template <class Format>
__device__ unsigned char encode_stochastic(float x, unsigned int random) {
    return 0;
}

// The kernels: one thread for one element. That is right for every n, and slow: see TODO 4.

__device__ long long my_element() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }

// FP32 to E4M3, to nearest even.
extern "C" __global__ void encode_e4m3_kernel(const float* x, unsigned char* y, long long n) {
    const long long i = my_element();
    if (i < n) y[i] = encode<E4M3>(x[i]);
}

// FP32 to E5M2, to nearest even.
extern "C" __global__ void encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    const long long i = my_element();
    if (i < n) y[i] = encode<E5M2>(x[i]);
}

// E4M3 to FP32.
extern "C" __global__ void decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    const long long i = my_element();
    if (i < n) y[i] = decode<E4M3>(x[i]);
}

// E5M2 to FP32.
extern "C" __global__ void decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    const long long i = my_element();
    if (i < n) y[i] = decode<E5M2>(x[i]);
}

// FP32 to E4M3, by chance.
extern "C" __global__ void encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                         unsigned char* y, long long n) {
    const long long i = my_element();
    if (i < n) y[i] = encode_stochastic<E4M3>(x[i], random[i]);
}

// TODO 4: once all of it is right, make it fast. A thread that reads a float4 and writes a uchar4 moves four
// elements with two instructions. What about the last n % 4?
__device__ void one_thread_each(long long n, Launch* launch) {
    launch->grid = dim3((n + 255) / 256);
    launch->block = dim3(256);
}

// Each runs once, on one thread, before its kernel: says how to launch it.
extern "C" __global__ void launch_encode_e4m3(long long n, Launch* launch) { one_thread_each(n, launch); }
extern "C" __global__ void launch_encode_e5m2(long long n, Launch* launch) { one_thread_each(n, launch); }
extern "C" __global__ void launch_decode_e4m3(long long n, Launch* launch) { one_thread_each(n, launch); }
extern "C" __global__ void launch_decode_e5m2(long long n, Launch* launch) { one_thread_each(n, launch); }
extern "C" __global__ void launch_encode_e4m3_stochastic(long long n, Launch* launch) {
    one_thread_each(n, launch);
}

// Exercise 02: FP8 conversion by hand. Read problem.md, then do the TODOs below, from top to bottom.
//
//     grade run 2
//
// grades this file. Run it after every step. The file compiles and launches as it is; every code and every
// value is still 0.
#include "grader.cuh"

// How the two formats differ. The functions below take one of these structs as `Format`, so each is written
// only once.
struct E4M3 {  // s eeee mmm
    static constexpr int mantissa_bits = 3, bias = 7;
    static constexpr unsigned largest = 0x7e;  // the code of 448, without the sign; only NaN is above it
};

struct E5M2 {  // s eeeee mm
    static constexpr int mantissa_bits = 2, bias = 15;
    static constexpr unsigned largest = 0x7b;  // the code of 57344; Inf (0x7c) and NaN are above it
};

// TODO 1: decode, the easier direction. With the exponent field e and the mantissa field m, the magnitude is
//     e > 0:  2^(e - bias) * (1 + m / 2^mantissa_bits)
//     e = 0:  2^(1 - bias) * (0 + m / 2^mantissa_bits)
// Add the sign, also to 0. Codes above Format::largest are Inf or NaN.
template <class Format>
__device__ float decode(unsigned char code) {
    return 0.0f;
}

// TODO 2: encode, rounding to nearest even. Values that are too large become the largest; NaN becomes a NaN.
// __float_as_uint(x) gives the bits of x: s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm, bias 127.
template <class Format>
__device__ unsigned char encode(float x) {
    return 0;
}

// TODO 3: encode with stochastic rounding. If lo <= |x| < hi are the values of two neighbouring codes, choose
//     hi if random < 2^32 * (|x| - lo) / (hi - lo), evaluated exactly, else lo.
template <class Format>
__device__ unsigned char encode_stochastic(float x, unsigned int random) {
    return 0;
}

// The kernels use one thread per element. That is correct for every n, but slow: see TODO 4.

__device__ long long my_element() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }

// FP32 to E4M3, rounded to nearest even.
extern "C" __global__ void encode_e4m3_kernel(const float* x, unsigned char* y, long long n) {
    const long long i = my_element();
    if (i < n) y[i] = encode<E4M3>(x[i]);
}

// FP32 to E5M2, rounded to nearest even.
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

// FP32 to E4M3, rounded stochastically.
extern "C" __global__ void encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                         unsigned char* y, long long n) {
    const long long i = my_element();
    if (i < n) y[i] = encode_stochastic<E4M3>(x[i], random[i]);
}

// TODO 4: once everything is correct, make it fast. A thread that reads a float4 and writes a uchar4 moves
// four elements with two instructions. Which threads convert the last n % 4 elements?
__device__ void one_thread_each(long long n, Launch* launch) {
    launch->grid = dim3((n + 255) / 256);
    launch->block = dim3(256);
}

// Each runs once, on a single thread, before its kernel and decides how the kernel is launched.
extern "C" __global__ void launch_encode_e4m3(long long n, Launch* launch) { one_thread_each(n, launch); }
extern "C" __global__ void launch_encode_e5m2(long long n, Launch* launch) { one_thread_each(n, launch); }
extern "C" __global__ void launch_decode_e4m3(long long n, Launch* launch) { one_thread_each(n, launch); }
extern "C" __global__ void launch_decode_e5m2(long long n, Launch* launch) { one_thread_each(n, launch); }
extern "C" __global__ void launch_encode_e4m3_stochastic(long long n, Launch* launch) {
    one_thread_each(n, launch);
}

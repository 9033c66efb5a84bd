// Encodes with FP64, decodes with __half, by chance with FP64; a grid-stride loop.
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
    const unsigned char sign = signbit(x) ? 0x80 : 0;
    if (isnan(x)) return sign | F::NANCODE;
    double a = fabs((double)x);
    if (a > F::MAX) a = F::MAX;
    int e = a == 0 ? -1000 : ilogb(a);
    if (e < 1 - F::BIAS) e = 1 - F::BIAS;
    const long long steps = llrint(ldexp(a, F::M - e));
    return sign | (unsigned char)(steps + ((long long)(e - (1 - F::BIAS)) << F::M));
}

#include <cuda_fp16.h>
template <class F>
__device__ float decode(unsigned char c);
template <>
__device__ float decode<E5M2>(unsigned char c) {
    return __half2float(__ushort_as_half((unsigned short)(c << 8)));
}
template <>
__device__ float decode<E4M3>(unsigned char c) {
    if ((c & 0x7f) == 0x7f) return __int_as_float(0x7fc00000);
    const unsigned short bits = (unsigned short)((c & 0x80) << 8 | (c & 0x7f) << 7);
    return __half2float(__ushort_as_half(bits)) * 256.0f;
}

__device__ unsigned char chance(float x, unsigned r) {
    const unsigned sign = signbit(x) ? 0x80 : 0;
    if (isnan(x)) return sign | 0x7f;
    const double a = fabs((double)x);
    if (a >= 448.0) return sign | 0x7e;
    int e = a == 0 ? -6 : max(ilogb(a), -6);
    const double steps = ldexp(a, 3 - e), low = floor(steps);
    const bool up = (double)r < (steps - low) * 4294967296.0;
    return sign | (unsigned)((e + 6) * 8 + (int)low + up);
}

extern "C" __global__ void encode_e4m3_kernel(const float* x, unsigned char* y, long long n) {
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) {
        y[i] = encode<E4M3>(x[i]);
    }
}
extern "C" __global__ void encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) {
        y[i] = encode<E5M2>(x[i]);
    }
}
extern "C" __global__ void decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) {
        y[i] = decode<E4M3>(x[i]);
    }
}
extern "C" __global__ void decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) {
        y[i] = decode<E5M2>(x[i]);
    }
}
extern "C" __global__ void encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                         unsigned char* y, long long n) {
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) {
        y[i] = chance(x[i], random[i]);
    }
}
extern "C" __global__ void launch_encode_e4m3(long long n, Launch* launch) {
    launch->grid = dim3(launch->sm_count * 2, 1, 1);
    launch->block = dim3(192, 1, 1);
}
extern "C" __global__ void launch_encode_e5m2(long long n, Launch* launch) {
    launch->grid = dim3(launch->sm_count * 2, 1, 1);
    launch->block = dim3(192, 1, 1);
}
extern "C" __global__ void launch_decode_e4m3(long long n, Launch* launch) {
    launch->grid = dim3(launch->sm_count * 2, 1, 1);
    launch->block = dim3(192, 1, 1);
}
extern "C" __global__ void launch_decode_e5m2(long long n, Launch* launch) {
    launch->grid = dim3(launch->sm_count * 2, 1, 1);
    launch->block = dim3(192, 1, 1);
}
extern "C" __global__ void launch_encode_e4m3_stochastic(long long n, Launch* launch) {
    launch->grid = dim3(launch->sm_count * 2, 1, 1);
    launch->block = dim3(192, 1, 1);
}

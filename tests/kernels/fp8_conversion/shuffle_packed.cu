// Encodes with log2f, set right by comparisons, decodes with a loop of halvings, by chance with FP64; bytes
// packed by shuffles.
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

// exponent by comparisons, logb by hand; rounding by __float2int_rn
template <class F>
__device__ unsigned char encode(float x) {
    const bool negative = __float_as_int(x) < 0;
    unsigned code;
    if (!(x == x))
        code = 0x7f;
    else {
        const float a = fabsf(x) < F::MAX ? fabsf(x) : F::MAX;
        const int e = max((int)floorf(log2f(fmaxf(a, 1e-30f))) + 1, 1 - F::BIAS);  // may be one too large
        int ee = e;
        while (ee > 1 - F::BIAS && a < scalbnf(1.0f, ee)) --ee;
        code = __float2int_rn(scalbnf(a, F::M - ee)) + ((ee - 1 + F::BIAS) << F::M);
    }
    return negative ? code | 0x80 : code;
}

template <class F>
__device__ float decode(unsigned char c) {
    unsigned m7 = c & 0x7f;
    if (m7 > F::LARGEST)
        return (F::M == 2 && m7 == 0x7c)
                   ? (c & 0x80 ? -__int_as_float(0x7f800000) : __int_as_float(0x7f800000))
                   : __int_as_float(0xffffffff);
    float v = (float)(m7 & ((1 << F::M) - 1)) + (m7 >> F::M ? (float)(1 << F::M) : 0.0f);
    int e = max((int)(m7 >> F::M), 1) - F::BIAS - F::M;
    for (; e > 0; --e) v *= 2.0f;
    for (; e < 0; ++e) v *= 0.5f;
    return c & 0x80 ? -v : v;
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
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    unsigned w = i < n ? encode<E4M3>(x[i]) : 0;
    w |= __shfl_down_sync(~0u, w, 1) << 8;
    w |= __shfl_down_sync(~0u, w, 2) << 16;
    const long long full = n / 4 * 4;
    if (i < full) {
        if (i % 4 == 0) reinterpret_cast<unsigned*>(y)[i / 4] = w;
    } else if (i < n)
        y[i] = w;
}
extern "C" __global__ void encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    unsigned w = i < n ? encode<E5M2>(x[i]) : 0;
    w |= __shfl_down_sync(~0u, w, 1) << 8;
    w |= __shfl_down_sync(~0u, w, 2) << 16;
    const long long full = n / 4 * 4;
    if (i < full) {
        if (i % 4 == 0) reinterpret_cast<unsigned*>(y)[i / 4] = w;
    } else if (i < n)
        y[i] = w;
}
extern "C" __global__ void decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    const int lane = threadIdx.x & 31;
    const long long warp = i - lane;
    unsigned w = 0;
    if (lane < 8 && warp + 4 * lane + 3 < n) w = reinterpret_cast<const unsigned*>(x + warp)[lane];
    w = __shfl_sync(0xffffffffu, w, lane / 4);
    if (i < n) y[i] = decode<E4M3>(i < n / 4 * 4 ? (unsigned char)(w >> 8 * (lane % 4)) : x[i]);
}
extern "C" __global__ void decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    const int lane = threadIdx.x & 31;
    const long long warp = i - lane;
    unsigned w = 0;
    if (lane < 8 && warp + 4 * lane + 3 < n) w = reinterpret_cast<const unsigned*>(x + warp)[lane];
    w = __shfl_sync(0xffffffffu, w, lane / 4);
    if (i < n) y[i] = decode<E5M2>(i < n / 4 * 4 ? (unsigned char)(w >> 8 * (lane % 4)) : x[i]);
}
extern "C" __global__ void encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                         unsigned char* y, long long n) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < n) y[i] = chance(x[i], random[i]);
}
extern "C" __global__ void launch_encode_e4m3(long long n, Launch* launch) {
    launch->grid = dim3((n + 255) / 256);
    launch->block = dim3(256);
}
extern "C" __global__ void launch_encode_e5m2(long long n, Launch* launch) {
    launch->grid = dim3((n + 255) / 256);
    launch->block = dim3(256);
}
extern "C" __global__ void launch_decode_e4m3(long long n, Launch* launch) {
    launch->grid = dim3((n + 255) / 256);
    launch->block = dim3(256);
}
extern "C" __global__ void launch_decode_e5m2(long long n, Launch* launch) {
    launch->grid = dim3((n + 255) / 256);
    launch->block = dim3(256);
}
extern "C" __global__ void launch_encode_e4m3_stochastic(long long n, Launch* launch) {
    launch->grid = dim3((n + 255) / 256);
    launch->block = dim3(256);
}

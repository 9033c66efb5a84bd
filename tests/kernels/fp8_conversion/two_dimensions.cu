// Encodes with floorf and comparisons, decodes with exp2f, by chance with a threshold rounded up; a grid and
// blocks of two dimensions.
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
    unsigned sign = signbit(x) ? 128u : 0u;
    if (isnan(x)) return 0xff;
    float a = fabsf(x);
    if (a >= F::MAX) return sign + F::LARGEST;
    int e = 1 - F::BIAS;
    float step = 1.0f;
    for (int i = 0; i < F::BIAS - 1 + F::M; ++i) step *= 0.5f;
    while (a >= step * (2 << F::M)) step *= 2.0f, ++e;
    const float steps = a / step, low = floorf(steps), rest = steps - low;
    unsigned code = (unsigned)low + ((unsigned)(e + F::BIAS - 1) << F::M);
    if (rest > 0.5f || (rest == 0.5f && code % 2 == 1)) ++code;
    return sign + code;
}

template <class F>
__device__ float decode(unsigned char c) {
    int e = (c >> F::M) & (F::M == 3 ? 15 : 31), m = c % (1 << F::M), s = c >> 7;
    if (F::M == 3 && e == 15 && m == 7) return nanf("");
    if (F::M == 2 && e == 31) return m ? nanf("") : (s ? -1.0f / 0.0f : 1.0f / 0.0f);
    float v =
        e == 0 ? exp2f(1 - F::BIAS) * m / (1 << F::M) : exp2f(e - F::BIAS) * (1.0f + m / (float)(1 << F::M));
    return s ? -v : v;
}

__device__ unsigned char chance(float x, unsigned r) {
    const unsigned sign = __float_as_uint(x) >> 24 & 0x80;
    if (x != x) return sign | 0x7f;
    const float a = fabsf(x);
    if (a >= 448.0f) return sign | 0x7e;
    float step = 0.001953125f;
    int base = 0;
    while (a >= 16.0f * step) step *= 2.0f, base += 8;
    const int low = (int)(a / step);
    const float rest = (a - low * step) / step;
    // smallest whole number that is not below rest * 2^32; rest < 1, 24 bits
    const unsigned turn = __float2uint_ru(rest * 4294967296.0f);
    return sign | (base + low + (r < turn));
}

extern "C" __global__ void encode_e4m3_kernel(const float* x, unsigned char* y, long long n) {
    const long long i = ((long long)blockIdx.y * gridDim.x + blockIdx.x) * (blockDim.x * blockDim.y) +
                        threadIdx.y * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] = encode<E4M3>(x[i]);
    }
}
extern "C" __global__ void encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    const long long i = ((long long)blockIdx.y * gridDim.x + blockIdx.x) * (blockDim.x * blockDim.y) +
                        threadIdx.y * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] = encode<E5M2>(x[i]);
    }
}
extern "C" __global__ void decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    const long long i = ((long long)blockIdx.y * gridDim.x + blockIdx.x) * (blockDim.x * blockDim.y) +
                        threadIdx.y * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] = decode<E4M3>(x[i]);
    }
}
extern "C" __global__ void decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    const long long i = ((long long)blockIdx.y * gridDim.x + blockIdx.x) * (blockDim.x * blockDim.y) +
                        threadIdx.y * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] = decode<E5M2>(x[i]);
    }
}
extern "C" __global__ void encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                         unsigned char* y, long long n) {
    const long long i = ((long long)blockIdx.y * gridDim.x + blockIdx.x) * (blockDim.x * blockDim.y) +
                        threadIdx.y * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] = chance(x[i], random[i]);
    }
}
extern "C" __global__ void launch_encode_e4m3(long long n, Launch* launch) {
    const long long b = (n + 255) / 256;
    launch->grid = dim3(64, (b + 63) / 64);
    launch->block = dim3(32, 8);
}
extern "C" __global__ void launch_encode_e5m2(long long n, Launch* launch) {
    const long long b = (n + 255) / 256;
    launch->grid = dim3(64, (b + 63) / 64);
    launch->block = dim3(32, 8);
}
extern "C" __global__ void launch_decode_e4m3(long long n, Launch* launch) {
    const long long b = (n + 255) / 256;
    launch->grid = dim3(64, (b + 63) / 64);
    launch->block = dim3(32, 8);
}
extern "C" __global__ void launch_decode_e5m2(long long n, Launch* launch) {
    const long long b = (n + 255) / 256;
    launch->grid = dim3(64, (b + 63) / 64);
    launch->block = dim3(32, 8);
}
extern "C" __global__ void launch_encode_e4m3_stochastic(long long n, Launch* launch) {
    const long long b = (n + 255) / 256;
    launch->grid = dim3(64, (b + 63) / 64);
    launch->block = dim3(32, 8);
}

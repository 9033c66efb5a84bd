// Encodes with inline PTX, decodes with __clz, by chance with a threshold rounded up; tiles handed out by a
// ticket in the workspace.
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
    unsigned b = __float_as_uint(x), e, sum, code, sign;
    float a;
    asm("abs.f32 %0, %1;" : "=f"(a) : "f"(x));
    asm("min.f32 %0, %0, %1;" : "+f"(a) : "f"(F::MAX));
    asm("bfe.u32 %0, %1, 23, 8;" : "=r"(e) : "r"(__float_as_uint(a)));
    asm("max.u32 %0, %0, %1;" : "+r"(e) : "r"(128 - F::BIAS));
    const unsigned ruler = (e + 23 - F::M) << 23;
    float total;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(total) : "f"(a), "f"(__uint_as_float(ruler)));
    asm("sub.u32 %0, %1, %2;" : "=r"(sum) : "r"(__float_as_uint(total)), "r"(ruler));
    asm("mad.lo.u32 %0, %1, %2, %3;" : "=r"(code) : "r"(e - (128 - F::BIAS)), "r"(1 << F::M), "r"(sum));
    asm("shr.u32 %0, %1, 24;" : "=r"(sign) : "r"(b));
    asm("{.reg .pred p; testp.notanumber.f32 p, %1; selp.u32 %0, 127, %0, p;}" : "+r"(code) : "f"(x));
    asm("lop3.b32 %0, %1, 0x80, %2, 0xEA;" : "=r"(code) : "r"(sign), "r"(code));  // (a & b) | c
    return code;
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

extern "C" __global__ void encode_e4m3_kernel(const float* __restrict__ x, unsigned char* __restrict__ y,
                                              long long n, void* workspace) {
    // tickets: blocks take tiles as they come
    __shared__ long long tile;
    unsigned long long* next = (unsigned long long*)workspace;
    while (true) {
        if (threadIdx.x == 0) tile = atomicAdd(next, 1ull);
        __syncthreads();
        const long long base = tile * 1024;
        if (base >= n) break;
        for (long long i = base + threadIdx.x; i < min(base + 1024, n); i += blockDim.x)
            y[i] = encode<E4M3>(x[i]);
        __syncthreads();
    }
}
extern "C" __global__ void launch_encode_e4m3(long long n, Launch* launch) {
    launch->grid = dim3(launch->sm_count);
    launch->block = dim3(256);
    launch->workspace_bytes = 8;
}

extern "C" __global__ void encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = encode<E5M2>(x[i]);
}
extern "C" __global__ void decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = decode<E4M3>(x[i]);
}
extern "C" __global__ void decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = decode<E5M2>(x[i]);
}
extern "C" __global__ void encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                         unsigned char* y, long long n) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = chance(x[i], random[i]);
}
extern "C" __global__ void launch_encode_e5m2(long long n, Launch* launch) {
    launch->grid.x = (n + 127) / 128;
    launch->grid.y = launch->grid.z = 1;
    launch->block = dim3(128);
}
extern "C" __global__ void launch_decode_e4m3(long long n, Launch* launch) {
    launch->grid.x = (n + 127) / 128;
    launch->grid.y = launch->grid.z = 1;
    launch->block = dim3(128);
}
extern "C" __global__ void launch_decode_e5m2(long long n, Launch* launch) {
    launch->grid.x = (n + 127) / 128;
    launch->grid.y = launch->grid.z = 1;
    launch->block = dim3(128);
}
extern "C" __global__ void launch_encode_e4m3_stochastic(long long n, Launch* launch) {
    launch->grid.x = (n + 127) / 128;
    launch->grid.y = launch->grid.z = 1;
    launch->block = dim3(128);
}
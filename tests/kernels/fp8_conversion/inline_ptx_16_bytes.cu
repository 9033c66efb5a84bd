// Encodes with inline PTX, decodes with one multiplication, by chance with 64-bit integers; 16 for each
// thread.
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
    unsigned b = (unsigned)(c & 0x7f) << (23 - F::M);
    const float r = __uint_as_float(b) * __uint_as_float((254u - F::BIAS) << 23);
    if ((c & 0x7f) > F::LARGEST)
        b |= 0x7f800000u;
    else
        b = __float_as_uint(r);
    return copysignf(__uint_as_float(b), c & 0x80 ? -1.0f : 1.0f);
}

__device__ unsigned char chance(float x, unsigned r) {
    const unsigned b = __float_as_uint(x), sign = b >> 24 & 0x80, m = b & 0x7fffffff;
    if (m > 0x7f800000u) return sign | 0x7f;
    if (m >= 0x43e00000u) return sign | 0x7e;
    const int e = m >> 23 ? (int)(m >> 23) - 127 : -126;
    const unsigned long long sig = (m & 0x7fffff) | (m >> 23 ? 0x800000 : 0);
    const int cut = 20 + (e < -6 ? -6 - e : 0);  // bits behind the step
    unsigned low;
    bool up;
    if (cut >= 64) {
        low = 0;
        up = r == 0 && sig != 0;
    } else {
        low = sig >> cut;
        const unsigned long long rest = sig & ((1ull << cut) - 1);
        // r < rest * 2^32 / 2^cut
        if (cut <= 32)
            up = r < rest << (32 - cut);
        else {
            const int d = cut - 32;
            up = d >= 32 ? (r == 0 && rest != 0) : ((unsigned long long)r << d) < rest;
        }
    }
    return sign | ((e < -6 ? 0 : (e + 6) * 8) + low + up);
}

extern "C" __global__ void encode_e4m3_kernel(const float* x, unsigned char* y, long long n) {
    const long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x, whole = n / 16;
    if (t < whole) {
        union {
            unsigned char b[16];
            uint4 v;
        } out;
        for (int k = 0; k < 4; ++k) {
            const float4 v = reinterpret_cast<const float4*>(x)[4 * t + k];
            out.b[4 * k] = encode<E4M3>(v.x);
            out.b[4 * k + 1] = encode<E4M3>(v.y);
            out.b[4 * k + 2] = encode<E4M3>(v.z);
            out.b[4 * k + 3] = encode<E4M3>(v.w);
        }
        reinterpret_cast<uint4*>(y)[t] = out.v;
    }
    if (t < n - whole * 16) y[whole * 16 + t] = encode<E4M3>(x[whole * 16 + t]);
}
extern "C" __global__ void encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    const long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x, whole = n / 16;
    if (t < whole) {
        union {
            unsigned char b[16];
            uint4 v;
        } out;
        for (int k = 0; k < 4; ++k) {
            const float4 v = reinterpret_cast<const float4*>(x)[4 * t + k];
            out.b[4 * k] = encode<E5M2>(v.x);
            out.b[4 * k + 1] = encode<E5M2>(v.y);
            out.b[4 * k + 2] = encode<E5M2>(v.z);
            out.b[4 * k + 3] = encode<E5M2>(v.w);
        }
        reinterpret_cast<uint4*>(y)[t] = out.v;
    }
    if (t < n - whole * 16) y[whole * 16 + t] = encode<E5M2>(x[whole * 16 + t]);
}
extern "C" __global__ void decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    const long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x, whole = n / 16;
    if (t < whole) {
        alignas(16) unsigned char b[16];
        *reinterpret_cast<uint4*>(b) = reinterpret_cast<const uint4*>(x)[t];
        for (int k = 0; k < 4; ++k)
            reinterpret_cast<float4*>(y)[4 * t + k] =
                make_float4(decode<E4M3>(b[4 * k]), decode<E4M3>(b[4 * k + 1]), decode<E4M3>(b[4 * k + 2]),
                            decode<E4M3>(b[4 * k + 3]));
    }
    if (t < n - whole * 16) y[whole * 16 + t] = decode<E4M3>(x[whole * 16 + t]);
}
extern "C" __global__ void decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    const long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x, whole = n / 16;
    if (t < whole) {
        alignas(16) unsigned char b[16];
        *reinterpret_cast<uint4*>(b) = reinterpret_cast<const uint4*>(x)[t];
        for (int k = 0; k < 4; ++k)
            reinterpret_cast<float4*>(y)[4 * t + k] =
                make_float4(decode<E5M2>(b[4 * k]), decode<E5M2>(b[4 * k + 1]), decode<E5M2>(b[4 * k + 2]),
                            decode<E5M2>(b[4 * k + 3]));
    }
    if (t < n - whole * 16) y[whole * 16 + t] = decode<E5M2>(x[whole * 16 + t]);
}
extern "C" __global__ void encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                         unsigned char* y, long long n) {
    const long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    const bool aligned = ((size_t)x | (size_t)random | (size_t)y) % 16 == 0;
    for (long long i = 16 * t; i < 16 * t + 16 && i < n; ++i) {
        if (aligned && i % 16 == 0 && i + 16 <= n) {
            unsigned w[4] = {0, 0, 0, 0};
            for (int k = 0; k < 16; ++k) w[k / 4] |= (unsigned)chance(x[i + k], random[i + k]) << 8 * (k % 4);
            *(uint4*)(y + i) = make_uint4(w[0], w[1], w[2], w[3]);
            break;
        }
        y[i] = chance(x[i], random[i]);
    }
}
extern "C" __global__ void launch_encode_e4m3(long long n, Launch* launch) {
    launch->grid = dim3(max(1ll, (n + 16 * 64 - 1) / (16 * 64)));
    launch->block = dim3(64);
}
extern "C" __global__ void launch_encode_e5m2(long long n, Launch* launch) {
    launch->grid = dim3(max(1ll, (n + 16 * 64 - 1) / (16 * 64)));
    launch->block = dim3(64);
}
extern "C" __global__ void launch_decode_e4m3(long long n, Launch* launch) {
    launch->grid = dim3(max(1ll, (n + 16 * 64 - 1) / (16 * 64)));
    launch->block = dim3(64);
}
extern "C" __global__ void launch_decode_e5m2(long long n, Launch* launch) {
    launch->grid = dim3(max(1ll, (n + 16 * 64 - 1) / (16 * 64)));
    launch->block = dim3(64);
}
extern "C" __global__ void launch_encode_e4m3_stochastic(long long n, Launch* launch) {
    launch->grid = dim3(max(1ll, (n + 16 * 64 - 1) / (16 * 64)));
    launch->block = dim3(64);
}

// Encodes with binary search among the midpoints, decodes with powf, by chance with neighbouring codes found
// by search; a run of neighbours for each thread.
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
__device__ float value_of(unsigned code) {
    const int e = code >> F::M, m = code & ((1 << F::M) - 1);
    return e ? ldexpf((float)(m + (1 << F::M)), e - F::BIAS - F::M) : ldexpf((float)m, 1 - F::BIAS - F::M);
}
// the number of midpoints below |x|; one that is just |x| counts where the code above is even
template <class F>
__device__ unsigned char encode(float x) {
    const unsigned sign = signbit(x) ? 0x80 : 0;
    if (isnan(x)) return sign | F::NANCODE;
    const float a = fabsf(x);
    unsigned low = 0, high = F::LARGEST;
    while (low < high) {
        const unsigned mid = (low + high) / 2;
        const float turn = 0.5f * value_of<F>(mid) + 0.5f * value_of<F>(mid + 1);
        if (a > turn || (a == turn && mid % 2 == 1))
            low = mid + 1;
        else
            high = mid;
    }
    return sign | low;
}

template <class F>
__device__ float decode(unsigned char c) {
    int e = (c >> F::M) & (F::M == 3 ? 15 : 31), m = c % (1 << F::M), s = c >> 7;
    if (F::M == 3 && e == 15 && m == 7) return nanf("");
    if (F::M == 2 && e == 31) return m ? nanf("") : (s ? -1.0f / 0.0f : 1.0f / 0.0f);
    float v = e == 0 ? powf(2.0f, 1 - F::BIAS) * m / (1 << F::M)
                     : powf(2.0f, e - F::BIAS) * (1.0f + m / (float)(1 << F::M));
    return s ? -v : v;
}

__device__ float e4m3_value(int c) {
    return c < 8 ? c * 0.001953125f : __uint_as_float((unsigned)c << 20) * __uint_as_float(247u << 23);
}
__device__ unsigned char chance(float x, unsigned r) {
    const int sign = signbit(x) ? 0x80 : 0;
    if (isnan(x)) return 0x7f;
    const float a = fabsf(x);
    if (!(a < 448.0f)) return sign | 0x7e;
    int low = 0, high = 0x7e;
    while (high - low > 1) {
        const int mid = (low + high) / 2;
        if (e4m3_value(mid) <= a)
            low = mid;
        else
            high = mid;
    }
    const double lo = e4m3_value(low), hi = e4m3_value(high);
    return sign | ((double)r < 4294967296.0 * ((double)a - lo) / (hi - lo) ? high : low);
}

extern "C" __global__ void encode_e4m3_kernel(const float* x, unsigned char* y, long long n) {
    const long long per = (n + (long long)gridDim.x * blockDim.x - 1) / ((long long)gridDim.x * blockDim.x);
    const long long first = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * per;
    for (long long i = first; i < first + per && i < n; ++i) {
        y[i] = encode<E4M3>(x[i]);
    }
}
extern "C" __global__ void encode_e5m2_kernel(const float* x, unsigned char* y, long long n) {
    const long long per = (n + (long long)gridDim.x * blockDim.x - 1) / ((long long)gridDim.x * blockDim.x);
    const long long first = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * per;
    for (long long i = first; i < first + per && i < n; ++i) {
        y[i] = encode<E5M2>(x[i]);
    }
}
extern "C" __global__ void decode_e4m3_kernel(const unsigned char* x, float* y, long long n) {
    const long long per = (n + (long long)gridDim.x * blockDim.x - 1) / ((long long)gridDim.x * blockDim.x);
    const long long first = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * per;
    for (long long i = first; i < first + per && i < n; ++i) {
        y[i] = decode<E4M3>(x[i]);
    }
}
extern "C" __global__ void decode_e5m2_kernel(const unsigned char* x, float* y, long long n) {
    const long long per = (n + (long long)gridDim.x * blockDim.x - 1) / ((long long)gridDim.x * blockDim.x);
    const long long first = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * per;
    for (long long i = first; i < first + per && i < n; ++i) {
        y[i] = decode<E5M2>(x[i]);
    }
}
extern "C" __global__ void encode_e4m3_stochastic_kernel(const float* x, const unsigned int* random,
                                                         unsigned char* y, long long n) {
    const long long per = (n + (long long)gridDim.x * blockDim.x - 1) / ((long long)gridDim.x * blockDim.x);
    const long long first = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * per;
    for (long long i = first; i < first + per && i < n; ++i) {
        y[i] = chance(x[i], random[i]);
    }
}
extern "C" __global__ void launch_encode_e4m3(long long n, Launch* launch) {
    launch->grid = dim3(launch->sm_count);
    launch->block = dim3(256);
}
extern "C" __global__ void launch_encode_e5m2(long long n, Launch* launch) {
    launch->grid = dim3(launch->sm_count);
    launch->block = dim3(256);
}
extern "C" __global__ void launch_decode_e4m3(long long n, Launch* launch) {
    launch->grid = dim3(launch->sm_count);
    launch->block = dim3(256);
}
extern "C" __global__ void launch_decode_e5m2(long long n, Launch* launch) {
    launch->grid = dim3(launch->sm_count);
    launch->block = dim3(256);
}
extern "C" __global__ void launch_encode_e4m3_stochastic(long long n, Launch* launch) {
    launch->grid = dim3(launch->sm_count);
    launch->block = dim3(256);
}

// __shfl_down_sync, a clamp instead of saturation; per tensor: a partial amax for each block.
#include <cuda_fp8.h>
#include "grader.cuh"
__device__ float scale_of(float amax) { return fmaxf(amax, 1e-6f) * (1.0f / 448.0f); }
__device__ unsigned char enc(float x, float s) {
    return __nv_cvt_float_to_fp8(fmaxf(fminf(x / s, 448.0f), -448.0f), __NV_NOSAT, __NV_E4M3);
}

__device__ float block_max(float v) {
    __shared__ float part[32];
    __shared__ float all;
    for (int d = 16; d; d >>= 1) v = fmaxf(v, __shfl_down_sync(0xffffffff, v, d));
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
    __syncthreads();
    if (threadIdx.x < 32) {
        v = threadIdx.x < (blockDim.x + 31) / 32 ? part[threadIdx.x] : 0.0f;
        for (int d = 16; d; d >>= 1) v = fmaxf(v, __shfl_down_sync(0xffffffff, v, d));
        if (threadIdx.x == 0) all = v;
    }
    __syncthreads();
    const float r = all;
    __syncthreads();
    return r;
}

// each block leaves its amax in the workspace; every block of the second kernel reduces them all
extern "C" __global__ void per_tensor_amax_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                                  int cols, void* workspace) {
    const int n4 = rows * cols / 4;
    float m = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n4; i += gridDim.x * blockDim.x) {
        const float4 v = __ldg((const float4*)x + i);
        m = fmaxf(m, fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
    }
    m = block_max(m);
    if (threadIdx.x == 0) ((float*)workspace)[blockIdx.x] = m;
}
extern "C" __global__ void per_tensor_quantize_kernel(const float* x, unsigned char* q, float* scale,
                                                      int rows, int cols, void* workspace) {
    const float m = block_max(threadIdx.x < 64 ? ((const float*)workspace)[threadIdx.x] : 0.0f),
                s = scale_of(m);
    if (threadIdx.x == 0 && blockIdx.x == gridDim.x / 2) scale[0] = s;
    const int n4 = rows * cols / 4;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n4; i += gridDim.x * blockDim.x) {
        const float4 v = ((const float4*)x)[i];
        ((unsigned*)q)[i] = enc(v.x, s) | enc(v.y, s) << 8 | enc(v.z, s) << 16 | (unsigned)enc(v.w, s) << 24;
    }
}
extern "C" __global__ void launch_per_tensor_amax(int rows, int cols, Launch* launch) {
    launch->grid = dim3(64);
    launch->block = dim3(128);
    launch->workspace_bytes = 256;
}
extern "C" __global__ void launch_per_tensor_quantize(int rows, int cols, Launch* launch) {
    launch->grid = dim3(132);
    launch->block = dim3(128);
    launch->workspace_bytes = 256;
}

extern "C" __global__ void per_channel_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                              int rows, int cols) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= cols) return;
    const float* p = x + (size_t)blockIdx.y * rows * cols + c;
    unsigned char* o = q + (size_t)blockIdx.y * rows * cols + c;
    float m = 0;
    for (int r = 0; r < rows; ++r) m = fmaxf(m, fabsf(p[(size_t)r * cols]));
    const float s = scale_of(m);
    scale[blockIdx.y * cols + c] = s;
    for (int r = 0; r < rows; ++r) o[(size_t)r * cols] = enc(p[(size_t)r * cols], s);
}
extern "C" __global__ void launch_per_channel(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + 127) / 128, groups);
    launch->block = dim3(128);
}

// a block for a row, a warp for each piece; the mask names the lanes that have something
extern "C" __global__ void fine_grained_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                               int cols) {
    const int lane = threadIdx.x % 32, per = (cols + 127) / 128;
    for (int b = threadIdx.x / 32; b < per; b += blockDim.x / 32) {
        const int c = b * 128 + lane * 4;
        const unsigned mask = __ballot_sync(0xffffffff, c < cols);
        if (c < cols) {
            const float4 v = *(const float4*)(x + (size_t)blockIdx.x * cols + c);
            unsigned m = max(max(__float_as_uint(fabsf(v.x)), __float_as_uint(fabsf(v.y))),
                             max(__float_as_uint(fabsf(v.z)), __float_as_uint(fabsf(v.w))));
            m = __reduce_max_sync(mask, m);
            const float s = scale_of(__uint_as_float(m));
            if (lane == 0) scale[(size_t)blockIdx.x * per + b] = s;
            *(unsigned*)(q + (size_t)blockIdx.x * cols + c) =
                enc(v.x, s) | enc(v.y, s) << 8 | enc(v.z, s) << 16 | (unsigned)enc(v.w, s) << 24;
        }
        __syncwarp();
    }
}
extern "C" __global__ void launch_fine_grained(int rows, int cols, Launch* launch) {
    launch->grid = dim3(rows);
    launch->block = dim3(256);
}

extern "C" __global__ void block_wise_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                             int rows, int cols) {
    const int across = (cols + 127) / 128, down = (rows + 127) / 128, blocks = groups * across * down;
    for (int b = blockIdx.x; b < blocks; b += gridDim.x) {
        const int g = b / (across * down), r0 = b / across % down * 128, c0 = b % across * 128;
        const int h = min(128, rows - r0), w = min(128, cols - c0);
        float m = 0;
        for (int i = threadIdx.x; i < h * w; i += blockDim.x)
            m = fmaxf(m, fabsf(x[((size_t)g * rows + r0 + i / w) * cols + c0 + i % w]));
        m = block_max(m);
        const float s = scale_of(m);
        if (threadIdx.x == blockDim.x - 1) scale[b] = s;
        for (int i = threadIdx.x; i < h * w; i += blockDim.x) {
            const size_t k = ((size_t)g * rows + r0 + i / w) * cols + c0 + i % w;
            q[k] = enc(x[k], s);
        }
    }
}
extern "C" __global__ void launch_block_wise(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3(50);
    launch->block = dim3(128);
}

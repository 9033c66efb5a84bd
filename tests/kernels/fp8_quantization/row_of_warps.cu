// __reduce_max_sync, __nv_cvt_float_to_fp8; per tensor: a partial amax for each block.
#include <cuda_fp8.h>
#include "grader.cuh"
__device__ float scale_of(float amax) {
    if (!(amax > 1e-6f)) amax = 1e-6f;
    return __fdividef(amax, 448.0f);
}
__device__ unsigned char enc(float x, float s) {
    return __nv_cvt_float_to_fp8(x / s, __NV_SATFINITE, __NV_E4M3);
}

__device__ float block_max(float v) {
    __shared__ unsigned part[32];
    const unsigned w = __reduce_max_sync(0xffffffffu, __float_as_uint(v));
    part[threadIdx.x / 32] = w;  // all lanes, the same
    __syncthreads();
    unsigned r = 0;
    for (int k = 0; k < blockDim.x / 32; ++k) r = max(r, part[k]);
    __syncthreads();
    return __uint_as_float(r);
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
    const int g = blockIdx.x / cols, c = blockIdx.x % cols;
    const size_t at = (size_t)g * rows * cols + c;
    float m = 0;
    for (int r = threadIdx.x; r < rows; r += blockDim.x) m = fmaxf(m, fabsf(x[at + (size_t)r * cols]));
    const float s = scale_of(block_max(m));
    if (threadIdx.x == 0) scale[blockIdx.x] = s;
    for (int r = threadIdx.x; r < rows; r += blockDim.x)
        q[at + (size_t)r * cols] = enc(x[at + (size_t)r * cols], s);
}
extern "C" __global__ void launch_per_channel(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3(groups * cols);
    launch->block = dim3(128);
}

// 16 lanes with two float4s each: a tile of half a warp
extern "C" __global__ void fine_grained_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                               int cols) {
    const int per = (cols + 127) / 128, b = (blockIdx.x * blockDim.x + threadIdx.x) / 16,
              lane = threadIdx.x % 16;
    const bool real = b < rows * per;
    const int c = real ? b % per * 128 + lane * 8 : cols;
    const size_t at = real ? (size_t)(b / per) * cols + c : 0;
    float v[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    float m = 0;
    if (c < cols)
        for (int k = 0; k < 8; ++k) {
            v[k] = x[at + k];
            m = fmaxf(m, fabsf(v[k]));
        }
    for (int d = 8; d > 0; d >>= 1) m = fmaxf(m, __shfl_down_sync(0xffffffff, m, d, 16));
    m = __shfl_sync(0xffffffff, m, 0, 16);
    const float s = scale_of(m);
    if (real && lane == 0) scale[b] = s;
    if (c < cols)
        for (int k = 0; k < 8; ++k) q[at + k] = enc(v[k], s);
}
extern "C" __global__ void launch_fine_grained(int rows, int cols, Launch* launch) {
    launch->grid = dim3((rows * ((cols + 127) / 128) * 16 + 255) / 256);
    launch->block = dim3(256);
}

extern "C" __global__ void block_wise_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                             int rows, int cols) {
    const int r0 = blockIdx.y * 128, c = blockIdx.x * 128 + threadIdx.x;
    const int r1 = min(r0 + 128, rows);
    const size_t at = (size_t)blockIdx.z * rows * cols;
    float m = 0;
    if (c < cols)
        for (int r = r0; r < r1; ++r) m = fmaxf(m, fabsf(x[at + (size_t)r * cols + c]));
    m = block_max(m);
    const float s = scale_of(m);
    if (threadIdx.x == 0) scale[(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = s;
    if (c < cols)
        for (int r = r0; r < r1; ++r) q[at + (size_t)r * cols + c] = enc(x[at + (size_t)r * cols + c], s);
}
extern "C" __global__ void launch_block_wise(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + 127) / 128, (rows + 127) / 128, groups);
    launch->block = dim3(128);
}

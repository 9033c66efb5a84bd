// cub::BlockReduce, a reciprocal; per tensor: a partial amax for each block.
#include <cuda_fp8.h>
#include "grader.cuh"
__device__ float scale_of(float amax) { return fmaxf(amax, 1e-6f) * (1.0f / 448.0f); }
__device__ unsigned char enc(float x, float s) {
    const float inv = __frcp_rn(s);
    return __nv_cvt_float_to_fp8(__fmul_rn(x, inv), __NV_SATFINITE, __NV_E4M3);
}

#include <cub/block/block_reduce.cuh>
struct Larger {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
__device__ float block_max(float v) {
    using Reduce = cub::BlockReduce<float, 128>;
    __shared__ typename Reduce::TempStorage temp;
    __shared__ float all;
    const float r = Reduce(temp).Reduce(v, Larger());
    if (threadIdx.x == 0) all = r;
    __syncthreads();
    const float s = all;
    __syncthreads();
    return s;
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

// the amax of every column of a group in dynamic shared memory
extern "C" __global__ void per_channel_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                              int rows, int cols) {
    extern __shared__ unsigned best[];
    const size_t at = (size_t)blockIdx.x * rows * cols;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) best[c] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < rows * cols; i += blockDim.x)
        atomicMax(best + i % cols, __float_as_uint(fabsf(x[at + i])));
    __syncthreads();
    for (int c = threadIdx.x; c < cols; c += blockDim.x) {
        const float s = scale_of(__uint_as_float(best[c]));
        best[c] = __float_as_uint(s);
        scale[blockIdx.x * cols + c] = s;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < rows * cols; i += blockDim.x)
        q[at + i] = enc(x[at + i], __uint_as_float(best[i % cols]));
}
extern "C" __global__ void launch_per_channel(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3(groups);
    launch->block = dim3(512);
    launch->shared_bytes = cols * 4;
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

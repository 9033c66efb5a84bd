// Cooperative groups, __nv_fp8_e4m3; per tensor: one block that writes the scale.
#include <cuda_fp8.h>
#include "grader.cuh"
__device__ float scale_of(float amax) { return fmaxf(amax, 1e-6f) * (1.0f / 448.0f); }
__device__ unsigned char enc(float x, float s) {
    const __nv_fp8_e4m3 v(x * (1.0f / s));
    return v.__x;
}

#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
namespace cg = cooperative_groups;
__device__ float block_max(float v) {
    __shared__ float part[32];
    const auto warp = cg::tiled_partition<32>(cg::this_thread_block());
    v = cg::reduce(warp, v, cg::greater<float>());
    if (warp.thread_rank() == 0) part[warp.meta_group_rank()] = v;
    cg::this_thread_block().sync();
    v = warp.thread_rank() < warp.meta_group_size() ? part[warp.thread_rank()] : 0.0f;
    v = cg::reduce(warp, v, cg::greater<float>());
    cg::this_thread_block().sync();
    return v;
}

// one block, the amax straight to scale; the second kernel makes a scale of it in every block, and nobody
// writes
extern "C" __global__ void per_tensor_amax_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                                  int cols) {
    __shared__ float part[512];
    float m = 0;
    const int fours = rows * cols / 4;
    for (int i = threadIdx.x; i < fours; i += 512) {
        const float4 v = ((const float4*)x)[i];
        m = fmaxf(m, fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
    }
    part[threadIdx.x] = m;
    __syncthreads();
    for (int s = 256; s > 0; s >>= 1) {
        if (threadIdx.x < s) part[threadIdx.x] = fmaxf(part[threadIdx.x], part[threadIdx.x + s]);
        __syncthreads();
    }
    if (threadIdx.x == 0) scale[0] = scale_of(part[0]);
}
extern "C" __global__ void per_tensor_quantize_kernel(const float* x, unsigned char* q, float* scale,
                                                      int rows, int cols) {
    const float s = scale[0];
    for (int row = blockIdx.x; row < rows; row += gridDim.x)
        for (int c = threadIdx.x; c < cols; c += blockDim.x)
            q[(size_t)row * cols + c] = enc(x[(size_t)row * cols + c], s);
}
extern "C" __global__ void launch_per_tensor_amax(int rows, int cols, Launch* launch) {
    launch->grid = 1;
    launch->block = 512;
}
extern "C" __global__ void launch_per_tensor_quantize(int rows, int cols, Launch* launch) {
    launch->grid = min(rows, 100);
    launch->block = dim3(64);
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

extern "C" __global__ void fine_grained_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                               int cols) {
    const int c = blockIdx.x * 128 + threadIdx.x;
    const size_t i = (size_t)blockIdx.y * cols + c;
    const bool in = c < cols;
    const float v = in ? x[i] : 0.0f, s = scale_of(block_max(fabsf(v)));
    if (threadIdx.x == 0) scale[blockIdx.y * gridDim.x + blockIdx.x] = s;
    if (in) q[i] = enc(v, s);
}
extern "C" __global__ void launch_fine_grained(int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + 127) / 128, rows);
    launch->block = dim3(128);
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

// A shared tree, __nv_cvt_float_to_fp8; per tensor: atomicMax in the workspace.
#include <cuda_fp8.h>
#include "grader.cuh"
__device__ float scale_of(float amax) { return fmaxf(amax, 1e-6f) / 448.0f; }
__device__ unsigned char enc(float x, float s) {
    return __nv_cvt_float_to_fp8(x / s, __NV_SATFINITE, __NV_E4M3);
}

__device__ float block_max(float v) {
    __shared__ float part[1024];
    const int t = threadIdx.x;
    part[t] = v;
    __syncthreads();
    for (int s = blockDim.x / 2; s > 0; s /= 2) {
        if (t < s) part[t] = fmaxf(part[t], part[t + s]);
        __syncthreads();
    }
    const float r = part[0];
    __syncthreads();
    return r;
}

extern "C" __global__ void per_tensor_amax_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                                  int cols, void* workspace) {
    const long long n = (long long)rows * cols;
    float m = 0;
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n;
         i += (long long)gridDim.x * blockDim.x)
        m = fmaxf(m, fabsf(x[i]));
    for (int d = 16; d; d >>= 1) m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, d));
    if (threadIdx.x % 32 == 0) atomicMax((unsigned int*)workspace, __float_as_uint(m));
}
extern "C" __global__ void per_tensor_quantize_kernel(const float* x, unsigned char* q, float* scale,
                                                      int rows, int cols, void* workspace) {
    const long long n = (long long)rows * cols;
    const float s = scale_of(*(const float*)workspace);
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i == 0) *scale = s;
    if (i < n) q[i] = enc(x[i], s);
}
extern "C" __global__ void launch_per_tensor_amax(int rows, int cols, Launch* launch) {
    launch->grid = dim3(40);
    launch->block = dim3(256);
    launch->workspace_bytes = 4;
}
extern "C" __global__ void launch_per_tensor_quantize(int rows, int cols, Launch* launch) {
    launch->grid = dim3((rows * cols + 255) / 256);
    launch->block = dim3(256);
    launch->workspace_bytes = 4;
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

extern "C" __global__ void fine_grained_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                               int cols) {
    const int per = (cols + 127) / 128, b = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32,
              lane = threadIdx.x & 31;
    if (b >= rows * per) return;  // the whole warp
    const int c = b % per * 128 + 4 * lane;
    const size_t at = (size_t)(b / per) * cols + c;
    const bool in = c < cols;
    const float4 v = in ? *(const float4*)(x + at) : make_float4(0, 0, 0, 0);
    float m = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
    for (int d = 1; d < 32; d *= 2) m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, d));
    const float s = scale_of(m);
    if (lane == 0) scale[b] = s;
    if (in) *(uchar4*)(q + at) = make_uchar4(enc(v.x, s), enc(v.y, s), enc(v.z, s), enc(v.w, s));
}
extern "C" __global__ void launch_fine_grained(int rows, int cols, Launch* launch) {
    launch->grid = dim3((rows * ((cols + 127) / 128) + 3) / 4);
    launch->block = dim3(128);
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

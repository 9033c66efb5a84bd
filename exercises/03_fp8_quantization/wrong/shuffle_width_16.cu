// caught by: correct[uniform] wrong-values
// The shuffles have a width of 16: half of the warp keeps its maximum to itself.
#include <cuda_fp8.h>

#include "grader.cuh"

constexpr int BLOCK = 128, THREADS = 128;

__device__ float scale_of(float amax) { return fmaxf(amax, 1e-6f) / 448.0f; }

__device__ unsigned char encode(float x, float scale) {
    return __nv_cvt_float_to_fp8(x / scale, __NV_SATFINITE, __NV_E4M3);
}

__device__ float warp_max(float value) {
    for (int apart = 16; apart > 0; apart /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffff, value, apart, 16));  // <-- here
    return value;
}

__device__ float block_max(float value) {
    __shared__ float of_warp[THREADS / 32];
    value = warp_max(value);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    for (int warp = 0; warp < THREADS / 32; ++warp) value = fmaxf(value, of_warp[warp]);
    return value;
}

__device__ float amax_of(float4 v) {
    return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
}

__device__ uchar4 encode4(float4 v, float scale) {
    return make_uchar4(encode(v.x, scale), encode(v.y, scale), encode(v.z, scale), encode(v.w, scale));
}

extern "C" __global__ void per_tensor_amax_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                                  int cols, void* workspace) {
    float amax = 0.0f;
    for (int col = threadIdx.x; col < cols; col += THREADS)
        amax = fmaxf(amax, fabsf(x[(size_t)blockIdx.x * cols + col]));
    amax = block_max(amax);
    if (threadIdx.x == 0) atomicMax((unsigned*)workspace, __float_as_uint(amax));
}

extern "C" __global__ void per_tensor_quantize_kernel(const float* x, unsigned char* q, float* scale,
                                                      int rows, int cols, void* workspace) {
    const float own = scale_of(__uint_as_float(*(unsigned*)workspace));
    if (blockIdx.x == 0 && threadIdx.x == 0) scale[0] = own;
    for (int col = threadIdx.x; col < cols; col += THREADS) {
        const size_t at = (size_t)blockIdx.x * cols + col;
        q[at] = encode(x[at], own);
    }
}

extern "C" __global__ void per_channel_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                              int rows, int cols) {
    const int col = blockIdx.x * THREADS + threadIdx.x;
    if (col >= cols) return;
    const size_t first = (size_t)blockIdx.y * rows * cols + col;
    float amax = 0.0f;
    for (int row = 0; row < rows; ++row) amax = fmaxf(amax, fabsf(x[first + (size_t)row * cols]));
    const float own = scale_of(amax);
    scale[(size_t)blockIdx.y * cols + col] = own;
    for (int row = 0; row < rows; ++row) {
        const size_t at = first + (size_t)row * cols;
        q[at] = encode(x[at], own);
    }
}

extern "C" __global__ void fine_grained_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                               int cols) {
    const int per_row = (cols + BLOCK - 1) / BLOCK, lane = threadIdx.x % 32;
    const int block = blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
    if (block >= rows * per_row) return;
    const int row = block / per_row, col = block % per_row * BLOCK + lane * 4;
    const size_t at = (size_t)row * cols + col;
    const bool inside = col < cols;
    const float4 v = inside ? *(const float4*)&x[at] : make_float4(0, 0, 0, 0);
    const float own = scale_of(warp_max(amax_of(v)));
    if (lane == 0) scale[block] = own;
    if (inside) *(uchar4*)&q[at] = encode4(v, own);
}

extern "C" __global__ void block_wise_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                             int rows, int cols) {
    const int col = blockIdx.x * BLOCK + threadIdx.x;
    const int first_row = blockIdx.y * BLOCK, end_row = col < cols ? min(first_row + BLOCK, rows) : 0;
    const size_t group = (size_t)blockIdx.z * rows * cols;
    float amax = 0.0f;
    for (int row = first_row; row < end_row; ++row)
        amax = fmaxf(amax, fabsf(x[group + (size_t)row * cols + col]));
    const float own = scale_of(block_max(amax));
    if (threadIdx.x == 0) scale[(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = own;
    for (int row = first_row; row < end_row; ++row) {
        const size_t at = group + (size_t)row * cols + col;
        q[at] = encode(x[at], own);
    }
}

extern "C" __global__ void launch_per_tensor_amax(int rows, int cols, Launch* launch) {
    launch->grid = dim3(rows);
    launch->block = dim3(THREADS);
    launch->workspace_bytes = sizeof(unsigned);
}

extern "C" __global__ void launch_per_tensor_quantize(int rows, int cols, Launch* launch) {
    launch->grid = dim3(rows);
    launch->block = dim3(THREADS);
    launch->workspace_bytes = sizeof(unsigned);
}

extern "C" __global__ void launch_per_channel(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + THREADS - 1) / THREADS, groups);
    launch->block = dim3(THREADS);
}

extern "C" __global__ void launch_fine_grained(int rows, int cols, Launch* launch) {
    const int blocks = rows * ((cols + BLOCK - 1) / BLOCK), warps = THREADS / 32;
    launch->grid = dim3((blocks + warps - 1) / warps);
    launch->block = dim3(THREADS);
}

extern "C" __global__ void launch_block_wise(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + BLOCK - 1) / BLOCK, (rows + BLOCK - 1) / BLOCK, groups);
    launch->block = dim3(THREADS);
}

// caught by: correct[uniform] wrong-values
// The scale is rounded up to a power of two, as UE8M0 would hold it.
#include <cuda_fp8.h>

#include "grader.cuh"

constexpr int BLOCK = 128, THREADS = 128;

__device__ float scale_of(float amax) {
    const float scale = fmaxf(amax, 1e-6f) / 448.0f;
    return exp2f(ceilf(log2f(scale)));  // <-- here
}

__device__ unsigned char encode(float x, float scale) {
    return __nv_cvt_float_to_fp8(x / scale, __NV_SATFINITE, __NV_E4M3);
}

__device__ float block_max(float value) {
    __shared__ float shared[THREADS];
    __syncthreads();
    shared[threadIdx.x] = value;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] = fmaxf(shared[threadIdx.x], shared[threadIdx.x + half]);
        __syncthreads();
    }
    return shared[0];
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
    const int col = blockIdx.x * BLOCK + threadIdx.x;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        const size_t at = (size_t)row * cols + col;
        const float own = scale_of(block_max(col < cols ? fabsf(x[at]) : 0.0f));
        if (threadIdx.x == 0) scale[(size_t)row * gridDim.x + blockIdx.x] = own;
        if (col < cols) q[at] = encode(x[at], own);
    }
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
    launch->grid = dim3((cols + BLOCK - 1) / BLOCK, min(rows, 65535));
    launch->block = dim3(THREADS);
}

extern "C" __global__ void launch_block_wise(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + BLOCK - 1) / BLOCK, (rows + BLOCK - 1) / BLOCK, groups);
    launch->block = dim3(THREADS);
}

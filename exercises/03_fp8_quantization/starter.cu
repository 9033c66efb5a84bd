// Exercise 03: FP8 quantization. Read problem.md, then do the TODOs below, from top to bottom.
//
//     grade run 3
//
// grades this file. Run it after every step. The file compiles and launches as it is; every scale is still 1,
// and block_wise_kernel writes nothing yet.
#include <cuda_fp8.h>

#include "grader.cuh"

constexpr int BLOCK = 128;  // elements along each blocked axis that share a scale
constexpr int THREADS = 128;

// TODO 1: return the scale that maps amax to 448, the largest E4M3 value. A block of zeros has amax 0, but
// dividing by its scale must not give NaN: treat any amax below 1e-6 as 1e-6.
__device__ float scale_of(float amax) { return 1.0f; }

// One E4M3 code, rounded to nearest even and saturated. It is correct once `scale` is.
__device__ unsigned char quantize(float x, float scale) {
    return __nv_cvt_float_to_fp8(x / scale, __NV_SATFINITE, __NV_E4M3);
}

// TODO 2: return the largest `value` of the block's threads to all of them. Each thread stores its value in
// shared[threadIdx.x]; then half of the threads each take the larger of two values, then a quarter, and so
// on. What is needed between the steps? And before a second call stores its values?
__device__ float block_max(float value) {
    __shared__ float shared[THREADS];
    shared[threadIdx.x] = value;
    return shared[threadIdx.x];
}

// ---- per tensor: one scale for all of x ------------------------------------------------------------------

// Stores the amax of all of x in the workspace, which is zero at the start. The next kernel reads it there.
extern "C" __global__ void per_tensor_amax_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                                  int cols, void* workspace) {
    // TODO 3: this block handles one row of x. Let each thread find the largest |x| of its elements, reduce
    // these over the block, and let one thread update the workspace:
    //     atomicMax((unsigned*)workspace, __float_as_uint(amax));
    // This is correct for non-negative floats: they compare like their bits. Why not for negative ones?
}

extern "C" __global__ void per_tensor_quantize_kernel(const float* x, unsigned char* q, float* scale,
                                                      int rows, int cols, void* workspace) {
    const float own = scale_of(__uint_as_float(*(const unsigned*)workspace));
    if (blockIdx.x == 0 && threadIdx.x == 0) scale[0] = own;
    const size_t row = blockIdx.x;
    for (int col = threadIdx.x; col < cols; col += THREADS) {
        q[row * cols + col] = quantize(x[row * cols + col], own);
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
    launch->workspace_bytes = sizeof(unsigned);  // the same bytes, zeroed only before the first kernel
}

// ---- per channel: a scale for each column of each group --------------------------------------------------

// Each thread walks down one column twice, for the amax and to quantize. blockIdx.y: which group.
extern "C" __global__ void per_channel_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                              int rows, int cols) {
    const int col = blockIdx.x * THREADS + threadIdx.x;
    if (col >= cols) return;  // no barrier follows, so a single thread may return
    const size_t first = (size_t)blockIdx.y * rows * cols + col;

    // TODO 4: the amax of x[first], x[first + cols], x[first + 2 * cols] ...
    float amax = 0.0f;

    const float own = scale_of(amax);
    scale[(size_t)blockIdx.y * cols + col] = own;
    for (int row = 0; row < rows; ++row) {
        const size_t at = first + (size_t)row * cols;
        q[at] = quantize(x[at], own);
    }
}

extern "C" __global__ void launch_per_channel(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + THREADS - 1) / THREADS, groups);
    launch->block = dim3(THREADS);
}

// ---- fine-grained: 1x128 along a row ---------------------------------------------------------------------

// blockIdx.x: which 128 columns. blockIdx.y, in steps of gridDim.y: which row. Each thread has one element;
// in the last block of a row, some threads may have none.
extern "C" __global__ void fine_grained_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                               int cols) {
    const int col = blockIdx.x * BLOCK + threadIdx.x;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        const size_t at = (size_t)row * cols + col;

        // TODO 5: the amax of the block. A thread without an element contributes 0 and reaches every barrier.
        float amax = 0.0f;

        const float own = scale_of(amax);
        if (threadIdx.x == 0) scale[(size_t)row * gridDim.x + blockIdx.x] = own;
        if (col < cols) q[at] = quantize(x[at], own);
    }
}

extern "C" __global__ void launch_fine_grained(int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + BLOCK - 1) / BLOCK, min(rows, 65535));  // grid.y can be no larger
    launch->block = dim3(BLOCK);
}

// ---- block-wise: 128x128 ---------------------------------------------------------------------------------

// blockIdx.x and blockIdx.y: which block along the columns and along the rows. blockIdx.z: which group. Each
// thread has one column of the block.
extern "C" __global__ void block_wise_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                             int rows, int cols) {
    // TODO 6: amax, scale and bytes, as above. The block must not extend past row `rows` or column `cols`.
    // Its scale is scale[(group * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x].
}

extern "C" __global__ void launch_block_wise(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + BLOCK - 1) / BLOCK, (rows + BLOCK - 1) / BLOCK, groups);
    launch->block = dim3(BLOCK);
}

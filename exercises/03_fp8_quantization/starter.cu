// Exercise 03: FP8 quantization. Read problem.md, then do the TODOs below, from top to bottom.
//
//     grade run 3
//
// grades this file; run it after every step. As it stands the file compiles and launches, every scale comes
// out as 1, and block_wise_kernel writes nothing at all.
#include <cuda_fp8.h>

#include "grader.cuh"

constexpr int BLOCK = 128;  // elements, along each blocked axis, that share a scale
constexpr int THREADS = 128;

// TODO 1: the scale that maps amax to 448, the largest E4M3 value. A block of zeros has amax 0, and its scale
// has to be a number that one can divide by: no amax below 1e-6 counts.
__device__ float scale_of(float amax) { return 1.0f; }

// One code: to the nearest, saturated. It is right once `scale` is.
__device__ unsigned char quantize(float x, float scale) {
    return __nv_cvt_float_to_fp8(x / scale, __NV_SATFINITE, __NV_E4M3);
}

// TODO 2: the largest `value` of the block's threads, given to all of them. Each thread stores its own into
// shared[threadIdx.x]; then half of the threads take the larger of two, then a quarter ... What has to come
// between the steps? And before a second call may store again?
__device__ float block_max(float value) {
    __shared__ float shared[THREADS];
    shared[threadIdx.x] = value;
    return shared[threadIdx.x];
}

// ---- per tensor: one scale for all of x ------------------------------------------------------------------

// The amax of all of x, into the workspace, which arrives as zeros. A second kernel reads it there.
extern "C" __global__ void per_tensor_amax_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                                  int cols, void* workspace) {
    // TODO 3: this block's part of x is one row. Take the largest |x| of it, then the largest of the block's
    // threads, and let one thread bring it into the workspace:
    //     atomicMax((unsigned*)workspace, __float_as_uint(amax));
    // For floats that are not negative this is right: they are ordered as their bits are. Why "not negative"?
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
    launch->workspace_bytes = sizeof(unsigned);  // the same bytes, zeroed once, before the first kernel
}

// ---- per channel: a scale for each column of each group --------------------------------------------------

// A thread has a column to itself: it walks down, and down again. blockIdx.y: which group.
extern "C" __global__ void per_channel_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                              int rows, int cols) {
    const int col = blockIdx.x * THREADS + threadIdx.x;
    if (col >= cols) return;  // no barrier follows, so a thread may leave
    const size_t first = (size_t)blockIdx.y * rows * cols + col;

    // TODO 4: amax of x[first], x[first + cols], x[first + 2 * cols] ...
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

// blockIdx.x: which 128 columns. blockIdx.y, in steps of gridDim.y: which row. Each thread has one element.
// The last block of a row can be ragged: some of its threads have none.
extern "C" __global__ void fine_grained_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                               int cols) {
    const int col = blockIdx.x * BLOCK + threadIdx.x;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        const size_t at = (size_t)row * cols + col;

        // TODO 5: amax of the block. A thread without an element brings 0, and it comes to every barrier.
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

// blockIdx.x, y: which block, along the columns and along the rows. blockIdx.z: which group. A thread has a
// column of the block.
extern "C" __global__ void block_wise_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                             int rows, int cols) {
    // TODO 6: amax, scale, bytes, as above. The block ends at row `rows` at the latest, and at column `cols`.
    // Its scale is scale[(group * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x].
}

extern "C" __global__ void launch_block_wise(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + BLOCK - 1) / BLOCK, (rows + BLOCK - 1) / BLOCK, groups);
    launch->block = dim3(BLOCK);
}

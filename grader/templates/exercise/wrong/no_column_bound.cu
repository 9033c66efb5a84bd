// caught by: memory[ragged] out-of-bounds
// Threads without a column, in the last block of a row, write too.
#include "grader.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void scale_rows_kernel(const float* x, const float* factors, float* y, int rows,
                                             int cols) {
    const int row = blockIdx.y;
    const int col = blockIdx.x * THREADS + threadIdx.x;
    const int at = row * cols + col;
    y[at] = factors[row] * x[at];  // <-- here
}

extern "C" __global__ void launch_scale_rows(int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + THREADS - 1) / THREADS, rows);
    launch->block = dim3(THREADS);
}

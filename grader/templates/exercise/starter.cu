// {{title}}. Read problem.md, then do the TODO below.
//
//     grade watch {{number}}
//
// grades this file at every save. As it stands it compiles and launches, and every element of y comes out as 0.
#include "grader.cuh"

constexpr int THREADS = 256;

// y = factors[row] * x, for every row. blockIdx.y says which row, blockIdx.x and threadIdx.x which column.
extern "C" __global__ void scale_rows_kernel(const float* x, const float* factors, float* y, int rows,
                                             int cols) {
    const int row = blockIdx.y;
    const int col = blockIdx.x * THREADS + threadIdx.x;
    if (col >= cols) return;

    // TODO: the element of x in this row and column, times the factor of the row.
    y[row * cols + col] = 0.0f;
}

// Runs once, on one thread, before the kernel: says how to launch it.
extern "C" __global__ void launch_scale_rows(int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + THREADS - 1) / THREADS, rows);
    launch->block = dim3(THREADS);
}

// caught by: launch bad-launch
// The launch function selects variant 3, but the last kernel ends in _2.
#include "grader.cuh"

template <int ROWS_EACH>
__device__ void tall_tile(const float* A, const float* B, float* C, int M, int K, int N) {
    constexpr int ROWS = 16 * ROWS_EACH;
    __shared__ float A_tile[ROWS][16], B_tile[16][16];
    const int first_row = blockIdx.y * ROWS;
    if (first_row >= M) return;
    const int tx = threadIdx.x, ty = threadIdx.y, col = blockIdx.x * 16 + tx;
    float sum[ROWS_EACH] = {};
    for (int k0 = 0; k0 < K; k0 += 16) {
        for (int i = 0; i < ROWS_EACH; ++i) {
            const int row = first_row + ty + 16 * i;
            A_tile[ty + 16 * i][tx] = row < M ? A[(size_t)row * K + k0 + tx] : 0.0f;
        }
        B_tile[ty][tx] = B[(size_t)(k0 + ty) * N + col];
        __syncthreads();
        for (int k = 0; k < 16; ++k)
            for (int i = 0; i < ROWS_EACH; ++i) sum[i] += A_tile[ty + 16 * i][k] * B_tile[k][tx];
        __syncthreads();
    }
    for (int i = 0; i < ROWS_EACH; ++i) {
        const int row = first_row + ty + 16 * i;
        if (row < M) C[(size_t)row * N + col] = sum[i];
    }
}

#define SIGNATURE                                                                            \
    const float *A_concat, const float *B_concat, float *C_concat, const int *group_offsets, \
        const int *M_sizes, int K, int N, int num_groups
#define GROUP                                                                                \
    A_concat + (size_t)group_offsets[blockIdx.z] * K, B_concat + (size_t)blockIdx.z * K * N, \
        C_concat + (size_t)group_offsets[blockIdx.z] * N, M_sizes[blockIdx.z], K, N

extern "C" __global__ void grouped_gemm_kernel(SIGNATURE) { tall_tile<1>(GROUP); }
extern "C" __global__ void grouped_gemm_kernel_1(SIGNATURE) { tall_tile<4>(GROUP); }

// One thread per column; the row of A is the same for the whole block.
extern "C" __global__ void grouped_gemm_kernel_2(SIGNATURE) {
    const int col = blockIdx.x * blockDim.x + threadIdx.x;
    if (blockIdx.y >= M_sizes[blockIdx.z] || col >= N) return;
    const size_t row = group_offsets[blockIdx.z] + blockIdx.y;
    const float* b = B_concat + (size_t)blockIdx.z * K * N + col;
    float sum = 0;
    for (int k = 0; k < K; ++k) sum += A_concat[row * K + k] * b[(size_t)k * N];
    C_concat[row * N + col] = sum;
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0, rows = 0;
    for (int g = 0; g < num_groups; ++g) {
        most_rows = M_sizes[g] > most_rows ? M_sizes[g] : most_rows;
        rows += M_sizes[g];
    }
    const int mean = rows / num_groups;
    launch->variant = mean < 8 ? 2 : mean < 64 ? 0 : 3;  // <-- here
    const int tile = launch->variant == 2 ? 1 : launch->variant == 1 ? 64 : 16;
    const int columns = launch->variant == 2 ? (N + 63) / 64 : N / 16;
    launch->grid = dim3(columns, (most_rows + tile - 1) / tile, num_groups);
    launch->block = launch->variant == 2 ? dim3(64) : dim3(16, 16);
}

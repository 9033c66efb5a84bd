// Tensor cores: each float is split into two TF32 numbers, and three of the four products are added (wmma).
#include <mma.h>

#include "grader.cuh"

constexpr int TILE = 16;         // rows and columns of a tile
constexpr int THREADS = 256;     // of the kernels without tiles
constexpr int MAX_EXPERTS = 64;  // the most there are

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

using namespace nvcuda;

// A thread for each token: its top_k experts, and the softmax over all logits at each of them.
extern "C" __global__ void route_kernel(const float* logits, int* expert, float* weight, int num_tokens,
                                        int num_experts, int top_k) {
    const int token = blockIdx.x * blockDim.x + threadIdx.x;
    if (token >= num_tokens) return;
    const float* mine = logits + (size_t)token * num_experts;
    float largest = mine[0];
    for (int e = 1; e < num_experts; ++e) largest = fmaxf(largest, mine[e]);
    float sum = 0;
    for (int e = 0; e < num_experts; ++e) sum += expf(mine[e] - largest);
    int taken = -1;  // the first choice is not available to the second
    for (int choice = 0; choice < top_k; ++choice) {
        int best = -1;
        for (int e = 0; e < num_experts; ++e) {
            if (e != taken && (best < 0 || mine[e] > mine[best])) best = e;
        }
        expert[token * top_k + choice] = best;
        weight[token * top_k + choice] = expf(mine[best] - largest) / sum;
        taken = best;
    }
}

extern "C" __global__ void launch_route(int num_tokens, int num_experts, int top_k, int hidden,
                                        int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens, THREADS));
    launch->block = dim3(THREADS);
}

// One block counts all assignments, in shared memory.
extern "C" __global__ void count_kernel(const int* expert, int* M_sizes, int num_tokens, int num_experts,
                                        int top_k) {
    __shared__ int counts[MAX_EXPERTS];
    for (int e = threadIdx.x; e < num_experts; e += blockDim.x) counts[e] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < num_tokens * top_k; i += blockDim.x) atomicAdd(&counts[expert[i]], 1);
    __syncthreads();
    for (int e = threadIdx.x; e < num_experts; e += blockDim.x) M_sizes[e] = counts[e];
}

extern "C" __global__ void launch_count(int num_tokens, int num_experts, int top_k, int hidden,
                                        int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(1);
    launch->block = dim3(THREADS);
}

// One block of MAX_EXPERTS threads: a running sum, over twice as many experts after every step.
extern "C" __global__ void offsets_kernel(const int* M_sizes, int* group_offsets, int num_experts) {
    __shared__ int sums[MAX_EXPERTS];
    const int e = threadIdx.x;
    sums[e] = e < num_experts ? M_sizes[e] : 0;
    __syncthreads();
    for (int step = 1; step < MAX_EXPERTS; step *= 2) {
        const int left = e >= step ? sums[e - step] : 0;
        __syncthreads();
        sums[e] += left;
        __syncthreads();
    }
    if (e == 0) group_offsets[0] = 0;
    if (e < num_experts) group_offsets[e + 1] = sums[e];
}

extern "C" __global__ void launch_offsets(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(1);
    launch->block = dim3(MAX_EXPERTS);
}

// A block for each assignment: one thread draws a row of the expert, all of them copy the token there.
extern "C" __global__ void scatter_kernel(const float* x, const int* expert, const int* group_offsets,
                                          int* row, float* A, int num_tokens, int num_experts, int top_k,
                                          int hidden, void* workspace) {
    __shared__ int place;
    int* cursors = (int*)workspace;  // rows of each expert that are taken
    const int assignment = blockIdx.x, token = assignment / top_k, e = expert[assignment];
    if (threadIdx.x == 0) {
        place = group_offsets[e] + atomicAdd(&cursors[e], 1);
        row[assignment] = place;
    }
    __syncthreads();
    for (int c = threadIdx.x; c < hidden; c += blockDim.x) {
        A[(size_t)place * hidden + c] = x[(size_t)token * hidden + c];
    }
}

extern "C" __global__ void launch_scatter(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(num_tokens * top_k);
    launch->block = dim3(64);
    launch->workspace_bytes = 2 * MAX_EXPERTS * sizeof(int);
}

// The whole block, one warp, computes a 16x16 tile of A @ B into `tile`. Rows from M on and columns from N on
// are 0.
__device__ void multiply(const float* A, const float* B, int M, int N, int K, int first_row, int first_col,
                         float (*tile)[TILE]) {
    __shared__ float a_high[TILE][8], a_low[TILE][8], b_high[8][TILE], b_low[8][TILE];
    wmma::fragment<wmma::accumulator, 16, 16, 8, float> sum, rest;
    wmma::fill_fragment(sum, 0.0f);
    wmma::fill_fragment(rest, 0.0f);
    for (int k0 = 0; k0 < K; k0 += 8) {
        for (int i = threadIdx.x; i < TILE * 8; i += 32) {
            const int row = first_row + i / 8, k = k0 + i % 8;
            const float a = row < M ? A[(size_t)row * K + k] : 0.0f;
            a_high[i / 8][i % 8] = wmma::__float_to_tf32(a);
            a_low[i / 8][i % 8] = wmma::__float_to_tf32(a - a_high[i / 8][i % 8]);
            const int col = first_col + i % TILE;
            const float b = col < N ? B[(size_t)(k0 + i / TILE) * N + col] : 0.0f;
            b_high[i / TILE][i % TILE] = wmma::__float_to_tf32(b);
            b_low[i / TILE][i % TILE] = wmma::__float_to_tf32(b - b_high[i / TILE][i % TILE]);
        }
        __syncwarp();
        wmma::fragment<wmma::matrix_a, 16, 16, 8, wmma::precision::tf32, wmma::row_major> ah, al;
        wmma::fragment<wmma::matrix_b, 16, 16, 8, wmma::precision::tf32, wmma::row_major> bh, bl;
        wmma::load_matrix_sync(ah, &a_high[0][0], 8);
        wmma::load_matrix_sync(al, &a_low[0][0], 8);
        wmma::load_matrix_sync(bh, &b_high[0][0], TILE);
        wmma::load_matrix_sync(bl, &b_low[0][0], TILE);
        wmma::mma_sync(sum, ah, bh, sum);
        wmma::mma_sync(rest, ah, bl, rest);
        wmma::mma_sync(rest, al, bh, rest);
        __syncwarp();
    }
    for (int i = 0; i < sum.num_elements; ++i) sum.x[i] += rest.x[i];
    wmma::store_matrix_sync(&tile[0][0], sum, TILE, wmma::mem_row_major);
    __syncwarp();
}

// The expert that a row tile belongs to, and the tile's number within it. num_experts: there is no such tile.
__device__ int find_expert(const int* group_offsets, int num_experts, int& tile) {
    int e = 0;
    for (; e < num_experts; ++e) {
        const int tiles = ceil_div(group_offsets[e + 1] - group_offsets[e], TILE);
        if (tile < tiles) break;
        tile -= tiles;
    }
    return e;
}

__device__ void grouped_gemm(const float* A, const float* W, float* C, const int* group_offsets,
                             int num_experts, int K, int N) {
    __shared__ float result[TILE][TILE];
    int tile = blockIdx.y;
    const int e = find_expert(group_offsets, num_experts, tile);
    if (e == num_experts) return;
    const int first = group_offsets[e], M = group_offsets[e + 1] - first;
    const int first_row = tile * TILE, first_col = blockIdx.x * TILE;
    multiply(A + (size_t)first * K, W + (size_t)e * K * N, M, N, K, first_row, first_col, result);
    for (int i = threadIdx.x; i < TILE * TILE; i += 32) {
        const int row = first_row + i / TILE, col = first_col + i % TILE;
        if (row < M && col < N) C[(size_t)(first + row) * N + col] = result[i / TILE][i % TILE];
    }
}

__device__ int most_row_tiles(int rows, int num_experts) { return rows / TILE + num_experts; }

extern "C" __global__ void gate_up_kernel(const float* A, const float* W_gate_up, float* gate_up,
                                          const int* group_offsets, int num_experts, int hidden,
                                          int intermediate) {
    grouped_gemm(A, W_gate_up, gate_up, group_offsets, num_experts, hidden, 2 * intermediate);
}

extern "C" __global__ void launch_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(2 * intermediate, TILE), most_row_tiles(num_tokens * top_k, num_experts));
    launch->block = dim3(32);
}

__device__ float silu(float x) { return x / (1.0f + expf(-x)); }

// A thread for each element of h.
extern "C" __global__ void swiglu_kernel(const float* gate_up, float* h, int rows, int intermediate) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * intermediate) return;
    const int row = i / intermediate, col = i % intermediate;
    const float* both = gate_up + (size_t)row * 2 * intermediate;
    h[i] = silu(both[col]) * both[intermediate + col];
}

extern "C" __global__ void launch_swiglu(int num_tokens, int num_experts, int top_k, int hidden,
                                         int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * top_k * intermediate, THREADS));
    launch->block = dim3(THREADS);
}

extern "C" __global__ void down_kernel(const float* h, const float* W_down, float* out,
                                       const int* group_offsets, int num_experts, int hidden,
                                       int intermediate) {
    grouped_gemm(h, W_down, out, group_offsets, num_experts, intermediate, hidden);
}

extern "C" __global__ void launch_down(int num_tokens, int num_experts, int top_k, int hidden,
                                       int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(hidden, TILE), most_row_tiles(num_tokens * top_k, num_experts));
    launch->block = dim3(32);
}

// A thread for each element of y.
extern "C" __global__ void combine_kernel(const float* out, const int* row, const float* weight, float* y,
                                          int num_tokens, int top_k, int hidden) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= num_tokens * hidden) return;
    const int token = i / hidden, col = i % hidden;
    float sum = 0;
    for (int choice = 0; choice < top_k; ++choice) {
        const int assignment = token * top_k + choice;
        sum += weight[assignment] * out[(size_t)row[assignment] * hidden + col];
    }
    y[i] = sum;
}

extern "C" __global__ void launch_combine(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * hidden, THREADS));
    launch->block = dim3(THREADS);
}

// As scatter_kernel, but an expert's rows start at e * capacity, and what does not fit is dropped.
extern "C" __global__ void masked_scatter_kernel(const float* x, const int* expert, int* slot, float* A,
                                                 int num_tokens, int num_experts, int top_k, int hidden,
                                                 int capacity, void* workspace) {
    __shared__ int place;
    int* cursors = (int*)workspace + MAX_EXPERTS;  // scatter_kernel has used the ones before
    const int assignment = blockIdx.x, token = assignment / top_k, e = expert[assignment];
    if (threadIdx.x == 0) {
        const int number = atomicAdd(&cursors[e], 1);
        place = number < capacity ? e * capacity + number : num_experts * capacity;
        slot[assignment] = place;
    }
    __syncthreads();
    if (place == num_experts * capacity) return;  // dropped
    for (int c = threadIdx.x; c < hidden; c += blockDim.x) {
        A[(size_t)place * hidden + c] = x[(size_t)token * hidden + c];
    }
}

extern "C" __global__ void launch_masked_scatter(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(num_tokens * top_k);
    launch->block = dim3(64);
    launch->workspace_bytes = 2 * MAX_EXPERTS * sizeof(int);
}

// blockIdx.z: which expert.
extern "C" __global__ void masked_gate_up_kernel(const float* A, const float* W_gate_up, float* h,
                                                 const int* M_sizes, int num_experts, int capacity,
                                                 int hidden, int intermediate) {
    __shared__ float gate[TILE][TILE], up[TILE][TILE];
    const int e = blockIdx.z, M = min(M_sizes[e], capacity), N = 2 * intermediate;
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    if (first_row >= M) return;
    const float* mine = A + (size_t)e * capacity * hidden;
    const float* W = W_gate_up + (size_t)e * hidden * N;
    multiply(mine, W, M, N, hidden, first_row, first_col, gate);
    multiply(mine, W, M, N, hidden, first_row, intermediate + first_col, up);
    for (int i = threadIdx.x; i < TILE * TILE; i += 32) {
        const int row = first_row + i / TILE, col = first_col + i % TILE;
        if (row < M) {
            h[((size_t)e * capacity + row) * intermediate + col] =
                silu(gate[i / TILE][i % TILE]) * up[i / TILE][i % TILE];
        }
    }
}

extern "C" __global__ void launch_masked_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(intermediate, TILE), ceil_div(capacity, TILE), num_experts);
    launch->block = dim3(32);
}

// blockIdx.z: which expert.
extern "C" __global__ void masked_down_kernel(const float* h, const float* W_down, float* out,
                                              const int* M_sizes, int num_experts, int capacity, int hidden,
                                              int intermediate) {
    __shared__ float result[TILE][TILE];
    const int e = blockIdx.z, M = min(M_sizes[e], capacity), first_row = blockIdx.y * TILE,
              first_col = blockIdx.x * TILE;
    if (first_row >= M) return;
    multiply(h + (size_t)e * capacity * intermediate, W_down + (size_t)e * intermediate * hidden, M, hidden,
             intermediate, first_row, first_col, result);
    for (int i = threadIdx.x; i < TILE * TILE; i += 32) {
        const int row = first_row + i / TILE, col = first_col + i % TILE;
        if (row < M) out[((size_t)e * capacity + row) * hidden + col] = result[i / TILE][i % TILE];
    }
}

extern "C" __global__ void launch_masked_down(int num_tokens, int num_experts, int top_k, int hidden,
                                              int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(hidden, TILE), ceil_div(capacity, TILE), num_experts);
    launch->block = dim3(32);
}

// As combine_kernel; an assignment that was dropped adds nothing.
extern "C" __global__ void masked_combine_kernel(const float* out, const int* slot, const float* weight,
                                                 float* y, int num_tokens, int num_experts, int top_k,
                                                 int hidden, int capacity) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= num_tokens * hidden) return;
    const int token = i / hidden, col = i % hidden;
    float sum = 0;
    for (int choice = 0; choice < top_k; ++choice) {
        const int assignment = token * top_k + choice;
        if (slot[assignment] == num_experts * capacity) continue;
        sum += weight[assignment] * out[(size_t)slot[assignment] * hidden + col];
    }
    y[i] = sum;
}

extern "C" __global__ void launch_masked_combine(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * hidden, THREADS));
    launch->block = dim3(THREADS);
}

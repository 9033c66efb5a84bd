// caught by: correct[small] wrong-values
// scatter_kernel takes the token of an assignment to be assignment % num_tokens.
#include "grader.cuh"

constexpr int TILE = 16;         // rows and columns of a tile
constexpr int THREADS = 256;     // of the kernels without tiles
constexpr int MAX_EXPERTS = 64;  // the most there are

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// ---- routing -------------------------------------------------------------------------------------------

// One thread per token.
extern "C" __global__ void route_kernel(const float* logits, int* expert, float* weight, int num_tokens,
                                        int num_experts, int top_k) {
    const int token = blockIdx.x * blockDim.x + threadIdx.x;
    if (token >= num_tokens) return;
    const float* mine = logits + (size_t)token * num_experts;

    int first = 0;
    for (int e = 1; e < num_experts; ++e)
        if (mine[e] > mine[first]) first = e;
    float sum = 0;
    for (int e = 0; e < num_experts; ++e) sum += expf(mine[e] - mine[first]);
    expert[token * top_k] = first;
    weight[token * top_k] = 1 / sum;
    if (top_k == 2) {
        int second = -1;
        for (int e = 0; e < num_experts; ++e)
            if (e != first && (second < 0 || mine[e] > mine[second])) second = e;
        expert[token * top_k + 1] = second;
        weight[token * top_k + 1] = expf(mine[second] - mine[first]) / sum;
    }
}

extern "C" __global__ void launch_route(int num_tokens, int num_experts, int top_k, int hidden,
                                        int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens, THREADS));
    launch->block = dim3(THREADS);
}

// ---- the contiguous layout -----------------------------------------------------------------------------

// One block. How many assignments does each expert have?
extern "C" __global__ void count_kernel(const int* expert, int* M_sizes, int num_tokens, int num_experts,
                                        int top_k) {
    __shared__ int counts[MAX_EXPERTS];

    if (threadIdx.x < MAX_EXPERTS) counts[threadIdx.x] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < num_tokens * top_k; i += blockDim.x) atomicAdd(&counts[expert[i]], 1);
    __syncthreads();
    if (threadIdx.x < num_experts) M_sizes[threadIdx.x] = counts[threadIdx.x];
}

extern "C" __global__ void launch_count(int num_tokens, int num_experts, int top_k, int hidden,
                                        int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(1);
    launch->block = dim3(THREADS);
}

// One block of MAX_EXPERTS threads.
extern "C" __global__ void offsets_kernel(const int* M_sizes, int* group_offsets, int num_experts) {
    __shared__ int sums[MAX_EXPERTS];
    const int e = threadIdx.x;
    sums[e] = e < num_experts ? M_sizes[e] : 0;

    __syncthreads();
    for (int d = 1; d < MAX_EXPERTS; d *= 2) {
        const int left = e >= d ? sums[e - d] : 0;
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

// One block per assignment.
extern "C" __global__ void scatter_kernel(const float* x, const int* expert, const int* group_offsets,
                                          int* row, float* A, int num_tokens, int num_experts, int top_k,
                                          int hidden, void* workspace) {
    __shared__ int place;
    int* cursors = (int*)workspace;  // rows of each expert that are taken
    const int assignment = blockIdx.x, token = assignment % num_tokens, e = expert[assignment];  // <-- here

    if (threadIdx.x == 0) {
        place = group_offsets[e] + atomicAdd(&cursors[e], 1);
        row[assignment] = place;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < hidden; i += blockDim.x)
        A[(size_t)place * hidden + i] = x[(size_t)token * hidden + i];
}

extern "C" __global__ void launch_scatter(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(num_tokens * top_k);
    launch->block = dim3(64);
    launch->workspace_bytes = 2 * MAX_EXPERTS * sizeof(int);
}

// One element of A @ B: row `row` of A (M, K) times column `col` of B (K, N). The whole block calls it, with
// neighbouring rows and columns. Threads outside load zeros and get a sum that nobody uses.
__device__ float multiply(const float* A, const float* B, int M, int N, int K, int row, int col) {
    __shared__ float A_tile[TILE][TILE], B_tile[TILE][TILE];
    const int ty = threadIdx.y, tx = threadIdx.x;
    float sum = 0;
    for (int k0 = 0; k0 < K; k0 += TILE) {
        A_tile[ty][tx] = row < M ? A[(size_t)row * K + k0 + tx] : 0.0f;
        B_tile[ty][tx] = col < N ? B[(size_t)(k0 + ty) * N + col] : 0.0f;
        __syncthreads();
        for (int k = 0; k < TILE; ++k) sum += A_tile[ty][k] * B_tile[k][tx];
        __syncthreads();
    }
    return sum;
}

// C[e] = A[e] @ W[e] for all experts. A's rows have K elements, W[e] is (K, N). blockIdx.x: which column
// tile; blockIdx.y: which row tile of all experts together.
__device__ void grouped_gemm(const float* A, const float* W, float* C, const int* group_offsets,
                             int num_experts, int K, int N) {
    int e = 0, tile = blockIdx.y;
    while (e < num_experts) {
        const int tiles = ceil_div(group_offsets[e + 1] - group_offsets[e], TILE);
        if (tile < tiles) break;
        tile -= tiles;
        ++e;
    }
    if (e == num_experts) return;
    const int start = group_offsets[e], M = group_offsets[e + 1] - start;
    const int row = tile * TILE + threadIdx.y, col = blockIdx.x * TILE + threadIdx.x;
    const float sum = multiply(A + (size_t)start * K, W + (size_t)e * K * N, M, N, K, row, col);
    if (row < M && col < N) C[(size_t)(start + row) * N + col] = sum;
}

// The most row tiles that the experts can have together: each may have one that is not full.
__device__ int most_row_tiles(int rows, int num_experts) { return rows / TILE + num_experts; }

// Gate and up in one product with 2 * intermediate columns.
extern "C" __global__ void gate_up_kernel(const float* A, const float* W_gate_up, float* gate_up,
                                          const int* group_offsets, int num_experts, int hidden,
                                          int intermediate) {
    grouped_gemm(A, W_gate_up, gate_up, group_offsets, num_experts, hidden, 2 * intermediate);
}

extern "C" __global__ void launch_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(2 * intermediate, TILE), most_row_tiles(num_tokens * top_k, num_experts));
    launch->block = dim3(TILE, TILE);
}

__device__ float silu(float x) { return x / (1 + expf(-x)); }

// One thread per element of h.
extern "C" __global__ void swiglu_kernel(const float* gate_up, float* h, int rows, int intermediate) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * intermediate) return;
    const int row = i / intermediate, col = i % intermediate;

    const float* mine = gate_up + (size_t)row * 2 * intermediate;
    h[i] = silu(mine[col]) * mine[intermediate + col];
}

extern "C" __global__ void launch_swiglu(int num_tokens, int num_experts, int top_k, int hidden,
                                         int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * top_k * intermediate, THREADS));
    launch->block = dim3(THREADS);
}

// The second product.
extern "C" __global__ void down_kernel(const float* h, const float* W_down, float* out,
                                       const int* group_offsets, int num_experts, int hidden,
                                       int intermediate) {
    grouped_gemm(h, W_down, out, group_offsets, num_experts, intermediate, hidden);
}

extern "C" __global__ void launch_down(int num_tokens, int num_experts, int top_k, int hidden,
                                       int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(hidden, TILE), most_row_tiles(num_tokens * top_k, num_experts));
    launch->block = dim3(TILE, TILE);
}

// One thread per element of y.
extern "C" __global__ void combine_kernel(const float* out, const int* row, const float* weight, float* y,
                                          int num_tokens, int top_k, int hidden) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= num_tokens * hidden) return;
    const int token = i / hidden, col = i % hidden;

    float sum = 0;
    for (int choice = 0; choice < top_k; ++choice) {
        const int at = token * top_k + choice;
        sum += weight[at] * out[(size_t)row[at] * hidden + col];
    }
    y[i] = sum;
}

extern "C" __global__ void launch_combine(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * hidden, THREADS));
    launch->block = dim3(THREADS);
}

// ---- the masked layout ---------------------------------------------------------------------------------

// One block per assignment.
extern "C" __global__ void masked_scatter_kernel(const float* x, const int* expert, int* slot, float* A,
                                                 int num_tokens, int num_experts, int top_k, int hidden,
                                                 int capacity, void* workspace) {
    __shared__ int place;
    int* cursors = (int*)workspace + MAX_EXPERTS;  // scatter_kernel has used the ones before
    const int assignment = blockIdx.x, token = assignment / top_k, e = expert[assignment];

    if (threadIdx.x == 0) {
        const int taken = atomicAdd(&cursors[e], 1);
        place = taken < capacity ? e * capacity + taken : num_experts * capacity;
        slot[assignment] = place;
    }
    __syncthreads();
    if (place == num_experts * capacity) return;
    for (int i = threadIdx.x; i < hidden; i += blockDim.x)
        A[(size_t)place * hidden + i] = x[(size_t)token * hidden + i];
}

extern "C" __global__ void launch_masked_scatter(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(num_tokens * top_k);
    launch->block = dim3(64);
    launch->workspace_bytes = 2 * MAX_EXPERTS * sizeof(int);
}

// blockIdx.z: which expert. This kernel computes gate and up, and stores only h = silu(gate) * up.
extern "C" __global__ void masked_gate_up_kernel(const float* A, const float* W_gate_up, float* h,
                                                 const int* M_sizes, int num_experts, int capacity,
                                                 int hidden, int intermediate) {
    const int e = blockIdx.z, M = min(M_sizes[e], capacity);
    if (blockIdx.y * TILE >= M) return;
    const int row = blockIdx.y * TILE + threadIdx.y, col = blockIdx.x * TILE + threadIdx.x;
    const float* mine = A + (size_t)e * capacity * hidden;
    const float* W = W_gate_up + (size_t)e * hidden * 2 * intermediate;
    const float gate = multiply(mine, W, M, 2 * intermediate, hidden, row, col);
    const float up = multiply(mine, W, M, 2 * intermediate, hidden, row, intermediate + col);
    if (row < M && col < intermediate) h[((size_t)e * capacity + row) * intermediate + col] = silu(gate) * up;
}

extern "C" __global__ void launch_masked_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(intermediate, TILE), ceil_div(capacity, TILE), num_experts);
    launch->block = dim3(TILE, TILE);
}

// blockIdx.z: which expert.
extern "C" __global__ void masked_down_kernel(const float* h, const float* W_down, float* out,
                                              const int* M_sizes, int num_experts, int capacity, int hidden,
                                              int intermediate) {
    const int e = blockIdx.z, M = min(M_sizes[e], capacity);
    if (blockIdx.y * TILE >= M) return;
    const int row = blockIdx.y * TILE + threadIdx.y, col = blockIdx.x * TILE + threadIdx.x;
    const float* mine = h + (size_t)e * capacity * intermediate;
    const float* W = W_down + (size_t)e * intermediate * hidden;
    const float sum = multiply(mine, W, M, hidden, intermediate, row, col);
    if (row < M && col < hidden) out[((size_t)e * capacity + row) * hidden + col] = sum;
}

extern "C" __global__ void launch_masked_down(int num_tokens, int num_experts, int top_k, int hidden,
                                              int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(hidden, TILE), ceil_div(capacity, TILE), num_experts);
    launch->block = dim3(TILE, TILE);
}

// One thread per element of y.
extern "C" __global__ void masked_combine_kernel(const float* out, const int* slot, const float* weight,
                                                 float* y, int num_tokens, int num_experts, int top_k,
                                                 int hidden, int capacity) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= num_tokens * hidden) return;
    const int token = i / hidden, col = i % hidden;

    float sum = 0;
    for (int choice = 0; choice < top_k; ++choice) {
        const int at = token * top_k + choice;
        if (slot[at] < num_experts * capacity) sum += weight[at] * out[(size_t)slot[at] * hidden + col];
    }
    y[i] = sum;
}

extern "C" __global__ void launch_masked_combine(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * hidden, THREADS));
    launch->block = dim3(THREADS);
}

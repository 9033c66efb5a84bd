// No shared memory and no atomics: every thread finds out alone what it needs to know. Rows are in the
// tokens' order.
#include "grader.cuh"

constexpr int TILE = 16;         // rows and columns of a tile
constexpr int THREADS = 256;     // of the kernels without tiles
constexpr int MAX_EXPERTS = 64;  // the most there are

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

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

// A thread for each expert.
extern "C" __global__ void count_kernel(const int* expert, int* M_sizes, int num_tokens, int num_experts,
                                        int top_k) {
    const int e = threadIdx.x;
    if (e >= num_experts) return;
    int sent = 0;
    for (int i = 0; i < num_tokens * top_k; ++i) {
        if (expert[i] == e) ++sent;
    }
    M_sizes[e] = sent;
}

extern "C" __global__ void launch_count(int num_tokens, int num_experts, int top_k, int hidden,
                                        int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(1);
    launch->block = dim3(num_experts);
}

// A thread for each offset adds up all sizes before it.
extern "C" __global__ void offsets_kernel(const int* M_sizes, int* group_offsets, int num_experts) {
    const int e = threadIdx.x;
    int before = 0;
    for (int other = 0; other < e; ++other) before += M_sizes[other];
    group_offsets[e] = before;
}

extern "C" __global__ void launch_offsets(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(1);
    launch->block = dim3(num_experts + 1);
}

// How many assignments before this one have its expert.
__device__ int rank_of(const int* expert, int assignment) {
    const int e = expert[assignment];
    int rank = 0;
    for (int i = 0; i < assignment; ++i) rank += expert[i] == e;
    return rank;
}

// A thread for each assignment.
extern "C" __global__ void scatter_kernel(const float* x, const int* expert, const int* group_offsets,
                                          int* row, float* A, int num_tokens, int num_experts, int top_k,
                                          int hidden) {
    const int assignment = blockIdx.x * blockDim.x + threadIdx.x;
    if (assignment >= num_tokens * top_k) return;
    const int place = group_offsets[expert[assignment]] + rank_of(expert, assignment);
    row[assignment] = place;
    for (int c = 0; c < hidden; ++c) {
        A[(size_t)place * hidden + c] = x[(size_t)(assignment / top_k) * hidden + c];
    }
}

extern "C" __global__ void launch_scatter(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * top_k, 32));
    launch->block = dim3(32);
}

// A row times a column.
__device__ float multiply(const float* row, const float* column, int K, int N) {
    float sum = 0;
    for (int k = 0; k < K; ++k) sum += row[k] * column[(size_t)k * N];
    return sum;
}

// A thread for each element of C.
__device__ void grouped_gemm(const float* A, const float* W, float* C, const int* group_offsets,
                             int num_experts, int K, int N) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int row = i / N, col = i % N;
    if (row >= group_offsets[num_experts]) return;
    int e = 0;
    while (group_offsets[e + 1] <= row) ++e;
    C[i] = multiply(A + (size_t)row * K, W + (size_t)e * K * N + col, K, N);
}

extern "C" __global__ void gate_up_kernel(const float* A, const float* W_gate_up, float* gate_up,
                                          const int* group_offsets, int num_experts, int hidden,
                                          int intermediate) {
    grouped_gemm(A, W_gate_up, gate_up, group_offsets, num_experts, hidden, 2 * intermediate);
}

extern "C" __global__ void launch_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * top_k * 2 * intermediate, THREADS));
    launch->block = dim3(THREADS);
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
    launch->grid = dim3(ceil_div(num_tokens * top_k * hidden, THREADS));
    launch->block = dim3(THREADS);
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

// A thread for each assignment; those that come late are dropped.
extern "C" __global__ void masked_scatter_kernel(const float* x, const int* expert, int* slot, float* A,
                                                 int num_tokens, int num_experts, int top_k, int hidden,
                                                 int capacity) {
    const int assignment = blockIdx.x * blockDim.x + threadIdx.x;
    if (assignment >= num_tokens * top_k) return;
    const int rank = rank_of(expert, assignment);
    if (rank >= capacity) {
        slot[assignment] = num_experts * capacity;
        return;
    }
    const int place = expert[assignment] * capacity + rank;
    slot[assignment] = place;
    for (int c = 0; c < hidden; ++c) {
        A[(size_t)place * hidden + c] = x[(size_t)(assignment / top_k) * hidden + c];
    }
}

extern "C" __global__ void launch_masked_scatter(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * top_k, 32));
    launch->block = dim3(32);
}

// A thread for each element of h, filled or not.
extern "C" __global__ void masked_gate_up_kernel(const float* A, const float* W_gate_up, float* h,
                                                 const int* M_sizes, int num_experts, int capacity,
                                                 int hidden, int intermediate) {
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int slot = i / intermediate, col = i % intermediate, e = slot / capacity;
    if (e >= num_experts || slot % capacity >= M_sizes[e]) return;
    const float* W = W_gate_up + (size_t)e * hidden * 2 * intermediate + col;
    const float gate = multiply(A + (size_t)slot * hidden, W, hidden, 2 * intermediate);
    h[i] = silu(gate) * multiply(A + (size_t)slot * hidden, W + intermediate, hidden, 2 * intermediate);
}

extern "C" __global__ void launch_masked_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_experts * capacity * intermediate, THREADS));
    launch->block = dim3(THREADS);
}

// A thread for each element of out, filled or not.
extern "C" __global__ void masked_down_kernel(const float* h, const float* W_down, float* out,
                                              const int* M_sizes, int num_experts, int capacity, int hidden,
                                              int intermediate) {
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int slot = i / hidden, col = i % hidden, e = slot / capacity;
    if (e >= num_experts || slot % capacity >= M_sizes[e]) return;
    out[i] = multiply(h + (size_t)slot * intermediate, W_down + (size_t)e * intermediate * hidden + col,
                      intermediate, hidden);
}

extern "C" __global__ void launch_masked_down(int num_tokens, int num_experts, int top_k, int hidden,
                                              int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_experts * capacity * hidden, THREADS));
    launch->block = dim3(THREADS);
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

// A thread computes four rows of a column; scatter goes through the assignments backwards; an online softmax.
#include "grader.cuh"

constexpr int TILE = 16;         // rows and columns of a tile
constexpr int THREADS = 256;     // of the kernels without tiles
constexpr int MAX_EXPERTS = 64;  // the most there are

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// One pass: when a larger logit comes, the sum so far is scaled down.
extern "C" __global__ void route_kernel(const float* logits, int* expert, float* weight, int num_tokens,
                                        int num_experts, int top_k) {
    const int token = blockIdx.x * blockDim.x + threadIdx.x;
    if (token >= num_tokens) return;
    const float* mine = logits + (size_t)token * num_experts;
    float largest = -INFINITY, second = -INFINITY, sum = 0;
    int first_e = 0, second_e = 0;
    for (int e = 0; e < num_experts; ++e) {
        const float logit = mine[e];
        if (logit > largest) {
            sum = sum * expf(largest - logit) + 1.0f;
            second = largest, second_e = first_e;
            largest = logit, first_e = e;
        } else {
            sum += expf(logit - largest);
            if (logit > second) second = logit, second_e = e;
        }
    }
    const float inverse = 1.0f / sum;
    expert[token * top_k] = first_e;
    weight[token * top_k] = inverse;
    if (top_k > 1) {
        expert[token * top_k + 1] = second_e;
        weight[token * top_k + 1] = expf(second - largest) * inverse;
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

// A block for each assignment. The expert's last free row comes first.
extern "C" __global__ void scatter_kernel(const float* x, const int* expert, const int* group_offsets,
                                          int* row, float* A, int num_tokens, int num_experts, int top_k,
                                          int hidden, void* workspace) {
    __shared__ int place;
    const int assignment = gridDim.x - 1 - blockIdx.x, e = expert[assignment];
    if (threadIdx.x == 0) {
        place = group_offsets[e + 1] - 1 - atomicAdd((int*)workspace + e, 1);
        row[assignment] = place;
    }
    __syncthreads();
    const float4* from = (const float4*)(x + (size_t)(assignment / top_k) * hidden);
    float4* to = (float4*)(A + (size_t)place * hidden);
    for (int c = threadIdx.x; c < hidden / 4; c += blockDim.x) to[c] = from[c];
}

extern "C" __global__ void launch_scatter(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(num_tokens * top_k);
    launch->block = dim3(32);
    launch->workspace_bytes = 2 * MAX_EXPERTS * sizeof(int);
}

constexpr int ROWS = 4;  // of a thread

// `sum`: rows first_row to first_row + ROWS - 1 of A (M, K) times one column of B. Rows that do not exist
// repeat the last one.
__device__ void multiply(const float* A, const float* B, int M, int N, int K, int first_row, int col,
                         float (&sum)[ROWS]) {
    const float* rows[ROWS];
    for (int i = 0; i < ROWS; ++i) {
        rows[i] = A + (size_t)min(first_row + i, M - 1) * K;
        sum[i] = 0;
    }
    for (int k = 0; k < K; k += 4) {
        float b[4];
        for (int j = 0; j < 4; ++j) b[j] = B[(size_t)(k + j) * N + col];
        for (int i = 0; i < ROWS; ++i) {
            const float4 a = *(const float4*)&rows[i][k];
            sum[i] += a.x * b[0] + a.y * b[1] + a.z * b[2] + a.w * b[3];
        }
    }
}

// blockIdx.y: which strip of ROWS rows of all experts together; a thread for each column.
__device__ void grouped_gemm(const float* A, const float* W, float* C, const int* group_offsets,
                             int num_experts, int K, int N) {
    const int col = blockIdx.x * blockDim.x + threadIdx.x;
    int strip = blockIdx.y;
    for (int e = 0; e < num_experts && col < N; ++e) {
        const int first = group_offsets[e], M = group_offsets[e + 1] - first, strips = ceil_div(M, ROWS);
        if (strip < strips) {
            float sum[ROWS];
            multiply(A + (size_t)first * K, W + (size_t)e * K * N, M, N, K, strip * ROWS, col, sum);
            for (int i = 0; i < min(ROWS, M - strip * ROWS); ++i) {
                C[(size_t)(first + strip * ROWS + i) * N + col] = sum[i];
            }
            return;
        }
        strip -= strips;
    }
}

extern "C" __global__ void gate_up_kernel(const float* A, const float* W_gate_up, float* gate_up,
                                          const int* group_offsets, int num_experts, int hidden,
                                          int intermediate) {
    grouped_gemm(A, W_gate_up, gate_up, group_offsets, num_experts, hidden, 2 * intermediate);
}

extern "C" __global__ void launch_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(2 * intermediate, 64), num_tokens * top_k / ROWS + num_experts);
    launch->block = dim3(64);
}

__device__ float silu(float x) { return x / (1.0f + expf(-x)); }

// Two elements of h for each thread.
extern "C" __global__ void swiglu_kernel(const float* gate_up, float* h, int rows, int intermediate) {
    const int i = 2 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= rows * intermediate) return;
    const float* both = gate_up + (size_t)(i / intermediate) * 2 * intermediate + i % intermediate;
    const float2 gate = *(const float2*)both, up = *(const float2*)(both + intermediate);
    *(float2*)&h[i] = make_float2(silu(gate.x) * up.x, silu(gate.y) * up.y);
}

extern "C" __global__ void launch_swiglu(int num_tokens, int num_experts, int top_k, int hidden,
                                         int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * top_k * intermediate, 2 * THREADS));
    launch->block = dim3(THREADS);
}

extern "C" __global__ void down_kernel(const float* h, const float* W_down, float* out,
                                       const int* group_offsets, int num_experts, int hidden,
                                       int intermediate) {
    grouped_gemm(h, W_down, out, group_offsets, num_experts, intermediate, hidden);
}

extern "C" __global__ void launch_down(int num_tokens, int num_experts, int top_k, int hidden,
                                       int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(hidden, 64), num_tokens * top_k / ROWS + num_experts);
    launch->block = dim3(64);
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

// blockIdx.z: which expert; blockIdx.y: which strip of its rows; a thread for each column of h.
extern "C" __global__ void masked_gate_up_kernel(const float* A, const float* W_gate_up, float* h,
                                                 const int* M_sizes, int num_experts, int capacity,
                                                 int hidden, int intermediate) {
    const int e = blockIdx.z, M = min(M_sizes[e], capacity), first_row = blockIdx.y * ROWS;
    const int col = blockIdx.x * blockDim.x + threadIdx.x, N = 2 * intermediate;
    if (first_row >= M || col >= intermediate) return;
    const float* mine = A + (size_t)e * capacity * hidden;
    const float* W = W_gate_up + (size_t)e * hidden * N;
    float gate[ROWS], up[ROWS];
    multiply(mine, W, M, N, hidden, first_row, col, gate);
    multiply(mine, W, M, N, hidden, first_row, intermediate + col, up);
    for (int i = 0; i < min(ROWS, M - first_row); ++i) {
        h[((size_t)e * capacity + first_row + i) * intermediate + col] = silu(gate[i]) * up[i];
    }
}

extern "C" __global__ void launch_masked_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(intermediate, 64), ceil_div(capacity, ROWS), num_experts);
    launch->block = dim3(64);
}

// The same for out.
extern "C" __global__ void masked_down_kernel(const float* h, const float* W_down, float* out,
                                              const int* M_sizes, int num_experts, int capacity, int hidden,
                                              int intermediate) {
    const int e = blockIdx.z, M = min(M_sizes[e], capacity), first_row = blockIdx.y * ROWS;
    const int col = blockIdx.x * blockDim.x + threadIdx.x;
    if (first_row >= M || col >= hidden) return;
    float sum[ROWS];
    multiply(h + (size_t)e * capacity * intermediate, W_down + (size_t)e * intermediate * hidden, M, hidden,
             intermediate, first_row, col, sum);
    for (int i = 0; i < min(ROWS, M - first_row); ++i) {
        out[((size_t)e * capacity + first_row + i) * hidden + col] = sum[i];
    }
}

extern "C" __global__ void launch_masked_down(int num_tokens, int num_experts, int top_k, int hidden,
                                              int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(hidden, 64), ceil_div(capacity, ROWS), num_experts);
    launch->block = dim3(64);
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

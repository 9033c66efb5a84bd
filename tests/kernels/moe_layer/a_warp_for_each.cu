// A warp for each token, assignment and row of a tile: shuffles, votes and matching lanes; no barrier but
// one.
#include "grader.cuh"

constexpr int TILE = 16;         // rows and columns of a tile
constexpr int THREADS = 256;     // of the kernels without tiles
constexpr int MAX_EXPERTS = 64;  // the most there are

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
constexpr unsigned ALL = 0xffffffffu;
constexpr int WARPS = THREADS / 32;

// The larger of two logits; of equal ones, that with the smaller index.
__device__ void keep_better(float& logit, int& e, float other_logit, int other_e) {
    if (other_logit > logit || (other_logit == logit && other_e < e)) {
        logit = other_logit;
        e = other_e;
    }
}

// A warp for each token; each lane has every 32nd expert.
extern "C" __global__ void route_kernel(const float* logits, int* expert, float* weight, int num_tokens,
                                        int num_experts, int top_k) {
    const int token = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (token >= num_tokens) return;  // the whole warp
    const float* mine = logits + (size_t)token * num_experts;
    int taken = -1;
    float largest = 0, sum = 0;
    for (int choice = 0; choice < top_k; ++choice) {
        float best = -INFINITY;
        int best_e = 0x7fffffff;
        for (int e = lane; e < num_experts; e += 32) {
            if (e != taken) keep_better(best, best_e, mine[e], e);
        }
        for (int step = 16; step > 0; step /= 2) {
            const float other = __shfl_xor_sync(ALL, best, step);
            keep_better(best, best_e, other, __shfl_xor_sync(ALL, best_e, step));
        }
        if (choice == 0) {
            largest = best;
            for (int e = lane; e < num_experts; e += 32) sum += expf(mine[e] - largest);
            for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(ALL, sum, step);
        }
        if (lane == 0) {
            expert[token * top_k + choice] = best_e;
            weight[token * top_k + choice] = expf(best - largest) / sum;
        }
        taken = best_e;
    }
}

extern "C" __global__ void launch_route(int num_tokens, int num_experts, int top_k, int hidden,
                                        int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens, WARPS));
    launch->block = dim3(THREADS);
}

// One block. Lanes with the same expert elect one of them, which adds all of theirs.
extern "C" __global__ void count_kernel(const int* expert, int* M_sizes, int num_tokens, int num_experts,
                                        int top_k) {
    __shared__ int counts[MAX_EXPERTS];
    if (threadIdx.x < MAX_EXPERTS) counts[threadIdx.x] = 0;
    __syncthreads();
    for (int first = 0; first < num_tokens * top_k; first += THREADS) {
        const int i = first + threadIdx.x, lane = threadIdx.x % 32;
        const int e = i < num_tokens * top_k ? expert[i] : -1;
        const unsigned same = __match_any_sync(ALL, e);
        if (e >= 0 && lane == __ffs(same) - 1) atomicAdd(&counts[e], __popc(same));
    }
    __syncthreads();
    if (threadIdx.x < num_experts) M_sizes[threadIdx.x] = counts[threadIdx.x];
}

extern "C" __global__ void launch_count(int num_tokens, int num_experts, int top_k, int hidden,
                                        int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(1);
    launch->block = dim3(THREADS);
}

// One warp, 32 experts at a time.
extern "C" __global__ void offsets_kernel(const int* M_sizes, int* group_offsets, int num_experts) {
    int before = 0;
    for (int first = 0; first < num_experts; first += 32) {
        const int e = first + threadIdx.x;
        int sum = e < num_experts ? M_sizes[e] : 0;
        const int own = sum;
        for (int step = 1; step < 32; step *= 2) {
            const int left = __shfl_up_sync(ALL, sum, step);
            if (threadIdx.x >= step) sum += left;
        }
        if (e < num_experts) group_offsets[e] = before + sum - own;
        before += __shfl_sync(ALL, sum, 31);
    }
    if (threadIdx.x == 0) group_offsets[num_experts] = before;
}

extern "C" __global__ void launch_offsets(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(1);
    launch->block = dim3(32);
}

// A warp for each assignment; the row goes to all lanes by a shuffle.
extern "C" __global__ void scatter_kernel(const float* x, const int* expert, const int* group_offsets,
                                          int* row, float* A, int num_tokens, int num_experts, int top_k,
                                          int hidden, void* workspace) {
    const int assignment = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (assignment >= num_tokens * top_k) return;  // the whole warp
    int place = 0;
    if (lane == 0) place = atomicAdd((int*)workspace + expert[assignment], 1);
    place = group_offsets[expert[assignment]] + __shfl_sync(ALL, place, 0);
    if (lane == 0) row[assignment] = place;
    for (int c = lane; c < hidden; c += 32) {
        A[(size_t)place * hidden + c] = x[(size_t)(assignment / top_k) * hidden + c];
    }
}

extern "C" __global__ void launch_scatter(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * top_k, WARPS));
    launch->block = dim3(THREADS);
    launch->workspace_bytes = 2 * MAX_EXPERTS * sizeof(int);
}

// A warp computes 32 columns of one row, a lane for each. Its lanes load 32 elements of the row together and
// pass them on.
__device__ float multiply(const float* row, const float* W, int K, int N, int col) {
    const int lane = threadIdx.x % 32;
    float sum = 0;
    for (int k0 = 0; k0 < K; k0 += 32) {
        const float mine = k0 + lane < K ? row[k0 + lane] : 0.0f;
        const int steps = min(32, K - k0);
        for (int k = 0; k < steps; ++k) {
            const float a = __shfl_sync(ALL, mine, k);
            if (col < N) sum += a * W[(size_t)(k0 + k) * N + col];
        }
    }
    return sum;
}

__device__ void grouped_gemm(const float* A, const float* W, float* C, const int* group_offsets,
                             int num_experts, int K, int N) {
    const int row = blockIdx.y * WARPS + threadIdx.x / 32, col = blockIdx.x * 32 + threadIdx.x % 32;
    if (row >= group_offsets[num_experts]) return;  // the whole warp
    int e = 0;
    while (row >= group_offsets[e + 1]) ++e;
    const float sum = multiply(A + (size_t)row * K, W + (size_t)e * K * N, K, N, col);
    if (col < N) C[(size_t)row * N + col] = sum;
}

extern "C" __global__ void gate_up_kernel(const float* A, const float* W_gate_up, float* gate_up,
                                          const int* group_offsets, int num_experts, int hidden,
                                          int intermediate) {
    grouped_gemm(A, W_gate_up, gate_up, group_offsets, num_experts, hidden, 2 * intermediate);
}

extern "C" __global__ void launch_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(2 * intermediate, 32), ceil_div(num_tokens * top_k, WARPS));
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
    launch->grid = dim3(ceil_div(hidden, 32), ceil_div(num_tokens * top_k, WARPS));
    launch->block = dim3(THREADS);
}

// A warp for each token.
__device__ void gather(const float* out, const int* place, int places, const float* weight, float* y,
                       int num_tokens, int top_k, int hidden) {
    const int token = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (token >= num_tokens) return;
    for (int c = lane; c < hidden; c += 32) {
        float sum = 0;
        for (int i = token * top_k; i < (token + 1) * top_k; ++i) {
            if (place[i] < places) sum = fmaf(weight[i], out[(size_t)place[i] * hidden + c], sum);
        }
        y[(size_t)token * hidden + c] = sum;
    }
}

extern "C" __global__ void combine_kernel(const float* out, const int* row, const float* weight, float* y,
                                          int num_tokens, int top_k, int hidden) {
    gather(out, row, num_tokens * top_k, weight, y, num_tokens, top_k, hidden);
}

extern "C" __global__ void launch_combine(int num_tokens, int num_experts, int top_k, int hidden,
                                          int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens, WARPS));
    launch->block = dim3(THREADS);
}

// As scatter_kernel, with cursors of its own.
extern "C" __global__ void masked_scatter_kernel(const float* x, const int* expert, int* slot, float* A,
                                                 int num_tokens, int num_experts, int top_k, int hidden,
                                                 int capacity, void* workspace) {
    const int assignment = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (assignment >= num_tokens * top_k) return;
    int number = 0;
    if (lane == 0) number = atomicAdd((int*)workspace + MAX_EXPERTS + expert[assignment], 1);
    number = __shfl_sync(ALL, number, 0);
    const int place = number < capacity ? expert[assignment] * capacity + number : num_experts * capacity;
    if (lane == 0) slot[assignment] = place;
    for (int c = lane; number < capacity && c < hidden; c += 32) {
        A[(size_t)place * hidden + c] = x[(size_t)(assignment / top_k) * hidden + c];
    }
}

extern "C" __global__ void launch_masked_scatter(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * top_k, WARPS));
    launch->block = dim3(THREADS);
    launch->workspace_bytes = 2 * MAX_EXPERTS * sizeof(int);
}

// blockIdx.z: which expert.
extern "C" __global__ void masked_gate_up_kernel(const float* A, const float* W_gate_up, float* h,
                                                 const int* M_sizes, int num_experts, int capacity,
                                                 int hidden, int intermediate) {
    const int e = blockIdx.z, row = blockIdx.y * WARPS + threadIdx.x / 32,
              col = blockIdx.x * 32 + threadIdx.x % 32;
    if (row >= min(M_sizes[e], capacity)) return;
    const float* mine = A + ((size_t)e * capacity + row) * hidden;
    const float* W = W_gate_up + (size_t)e * hidden * 2 * intermediate;
    const int inside = min(col, intermediate - 1);  // every lane takes part
    const float gate = multiply(mine, W, hidden, 2 * intermediate, inside);
    const float up = multiply(mine, W, hidden, 2 * intermediate, intermediate + inside);
    if (col < intermediate) h[((size_t)e * capacity + row) * intermediate + col] = silu(gate) * up;
}

extern "C" __global__ void launch_masked_gate_up(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(intermediate, 32), ceil_div(capacity, WARPS), num_experts);
    launch->block = dim3(THREADS);
}

// blockIdx.z: which expert.
extern "C" __global__ void masked_down_kernel(const float* h, const float* W_down, float* out,
                                              const int* M_sizes, int num_experts, int capacity, int hidden,
                                              int intermediate) {
    const int e = blockIdx.z, row = blockIdx.y * WARPS + threadIdx.x / 32,
              col = blockIdx.x * 32 + threadIdx.x % 32;
    if (row >= min(M_sizes[e], capacity)) return;
    const float sum = multiply(h + ((size_t)e * capacity + row) * intermediate,
                               W_down + (size_t)e * intermediate * hidden, intermediate, hidden, col);
    if (col < hidden) out[((size_t)e * capacity + row) * hidden + col] = sum;
}

extern "C" __global__ void launch_masked_down(int num_tokens, int num_experts, int top_k, int hidden,
                                              int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(hidden, 32), ceil_div(capacity, WARPS), num_experts);
    launch->block = dim3(THREADS);
}

extern "C" __global__ void masked_combine_kernel(const float* out, const int* slot, const float* weight,
                                                 float* y, int num_tokens, int num_experts, int top_k,
                                                 int hidden, int capacity) {
    gather(out, slot, num_experts * capacity, weight, y, num_tokens, top_k, hidden);
}

extern "C" __global__ void launch_masked_combine(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens, WARPS));
    launch->block = dim3(THREADS);
}

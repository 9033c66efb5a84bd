// Exercise 06: an MoE layer. Read problem.md, then do the TODOs below, from top to bottom.
//
//     grade run 6
//
// grades this file. Run it after every step. The file compiles and launches as it is; no kernel writes
// anything yet.
//
// Each kernel is judged for itself: whatever yours writes, the next one is given the right results. So you
// may also do the TODOs in another order.
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

    // TODO 1: find the top_k largest of mine[0] to mine[num_experts - 1]. Of equal logits, the expert with
    // the smaller index comes first. Then store, for choice 0 (the largest) to top_k - 1:
    //     expert[token * top_k + choice]: which expert
    //     weight[token * top_k + choice]: exp(its logit) / the sum of exp(logit) over all experts
    // What happens to exp(100)? Subtract the largest logit from all of them first.
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

    // TODO 2: set the counts to 0, then let the threads share the num_tokens * top_k elements of `expert` and
    // count each with atomicAdd(&counts[...], 1). Copy the counts to M_sizes. Where do you need a barrier?
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

    // TODO 3: turn `sums` into running sums: first each thread adds its left neighbour's, then that of the
    // thread 2 to the left, then 4, 8, ... A barrier is needed before and after every addition. Then store
    // group_offsets[0] = 0 and group_offsets[e + 1] = the sum of M_sizes[0] to M_sizes[e].
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
    const int assignment = blockIdx.x, token = assignment / top_k, e = expert[assignment];

    // TODO 4: let one thread draw a row of expert e: cursors[e] counts how many are taken; atomicAdd returns
    // the count before the addition. Store its number in row[assignment] and in `place`, for the other
    // threads. Then all threads copy row `token` of x to row `place` of A.
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
    // TODO 5: find the expert and the rows of this block's tile. The row tiles are numbered from 0, those of
    // expert 0 first: expert e has ceil_div(rows of e, TILE) of them, and an expert without rows has none.
    // The grid may have more blocks than there are tiles; these return, but only as a whole.
    //
    // TODO 6: compute the tile with multiply(), and store the elements that exist. Expert e's rows of A and C
    // start at row group_offsets[e], its matrix W at element e * K * N.
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

// TODO 7: silu(x) = x / (1 + exp(-x)).
__device__ float silu(float x) { return x; }

// One thread per element of h.
extern "C" __global__ void swiglu_kernel(const float* gate_up, float* h, int rows, int intermediate) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * intermediate) return;
    const int row = i / intermediate, col = i % intermediate;

    // TODO 8: h = silu(gate) * up. A row of gate_up holds `intermediate` elements of gate, then as many of
    // up.
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

    // TODO 9: the sum over the token's choices of weight * out, at row row[token * top_k + choice].
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

    // TODO 10: as TODO 4, but expert e has the slots e * capacity to (e + 1) * capacity - 1. If these are
    // taken, the assignment is dropped: its slot is num_experts * capacity, and nothing is copied.
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
    // TODO 11: M_sizes[e] says how many assignments expert e was sent. How many of its rows are there? A
    // block whose tile is beyond them returns. Call multiply() for the gate's tile and for up's, which is
    // `intermediate` columns further right, and store the elements of h that exist.
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
    // TODO 12: out = h @ W_down for the rows that are there.
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

    // TODO 13: as TODO 9. An assignment that was dropped adds nothing; its slot is num_experts * capacity.
}

extern "C" __global__ void launch_masked_combine(int num_tokens, int num_experts, int top_k, int hidden,
                                                 int intermediate, int capacity, Launch* launch) {
    launch->grid = dim3(ceil_div(num_tokens * hidden, THREADS));
    launch->block = dim3(THREADS);
}

// The judges of exercise 06: each counts the elements of one kernel's outputs that are wrong, by the rules of
// moe_rules.py, where every bound is derived.
//
// How to launch them: any 1-D grid of 256 threads. They are plain, not fast: they run outside every timed
// region.

typedef unsigned long long u64;

constexpr double U = 5.9604644775390625e-8;      // 2^-24
constexpr double TINY = 2.3509887016445750e-38;  // 2^-125
constexpr double STEEPEST = 1.1;                 // slope of silu

struct Verdict {
    u64 wrong;  // number of elements; starts as 0
    u64 first;  // the smallest index of a wrong element; starts as ~0
};

// What one thread has found so far.
struct Tally {
    u64 wrong = 0, first = ~0ull;

    __device__ void add(bool bad, u64 index) {
        if (!bad) return;
        ++wrong;
        first = min(first, index);
    }
    __device__ void report(Verdict* verdict) const {
        if (wrong == 0) return;
        atomicAdd(&verdict->wrong, wrong);
        atomicMin(&verdict->first, first);
    }
};

__device__ u64 start() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ u64 stride() { return (u64)gridDim.x * blockDim.x; }

// NaN is.
__device__ bool beyond(float got, double exact, double bound) { return !(fabs(got - exact) <= bound); }
__device__ bool differ(float a, float b) { return __float_as_uint(a) != __float_as_uint(b); }

__device__ double exponential(double x) { return (4 + 3.4 * fabs(x)) * U; }

__device__ double sigmoid(double x) {
    const double small = exp(-fabs(x));
    return (x >= 0 ? 1 : small) / (1 + small);
}

// What is known of a number: its exact value, and how far a right kernel may be from it.
struct Exact {
    double value, bound;
};

// A row of K floats times a column of a matrix with N columns.
__device__ Exact product(const float* row, const float* column, int K, int N) {
    double sum = 0, of_row = 0, of_column = 0;
    for (int k = 0; k < K; ++k) {
        const double a = row[k], b = column[(u64)k * N];
        sum += a * b;
        of_row += a * a;
        of_column += b * b;
    }
    return {sum, (K + 1) * U * sqrt(of_row * of_column)};
}

__device__ Exact swiglu(double gate, double up) {
    const double s = sigmoid(gate);
    return {gate * s * up, fabs(gate * up) * (s * (exponential(gate) + 7 * U) + 2 * U)};
}

// The expert that a row of the contiguous layout belongs to.
__device__ int expert_of(const int* group_offsets, int row) {
    int e = 0;
    while (row >= group_offsets[e + 1]) ++e;
    return e;
}

__device__ int sent_to(const int* expert, int e, int assignments) {
    int sent = 0;
    for (int i = 0; i < assignments; ++i) sent += expert[i] == e;
    return sent;
}

// ---- routing and permutation ---------------------------------------------------------------------------

// Softmax over the logits of one token.
struct Softmax {
    const float* logits;
    int num_experts;
    double largest, sum = 0, of_sum = 0;

    __device__ Softmax(const float* logits, int num_experts) : logits(logits), num_experts(num_experts) {
        largest = logits[0];
        for (int e = 1; e < num_experts; ++e) largest = fmax(largest, (double)logits[e]);
        for (int e = 0; e < num_experts; ++e) {
            const double power = exp(logits[e] - largest);
            sum += power;
            of_sum += power * of_power(e);
        }
    }
    // What the exponential of one expert may be off by, whatever is subtracted from its logit.
    __device__ double of_power(int e) const {
        return exponential(fmax(largest - logits[e], fabs((double)logits[e])));
    }
    __device__ bool differs(float weight, int e) const {
        const double exact = exp(logits[e] - largest) / sum;
        return beyond(weight, exact, exact * (of_power(e) + of_sum / sum + (num_experts + 4) * U) + TINY);
    }
};

// A weight is right if it is that of the expert that was chosen, or of the one that should have been: a wrong
// choice is wrong only once.
extern "C" __global__ void judge_route(const float* logits, const int* expert, const float* weight,
                                       int num_tokens, int num_experts, int top_k, Verdict* verdict) {
    Tally tally;
    for (u64 token = start(); token < num_tokens; token += stride()) {
        const float* mine = logits + token * num_experts;
        const Softmax softmax(mine, num_experts);
        int taken = -1;
        for (int choice = 0; choice < top_k; ++choice) {
            int best = -1;
            for (int e = 0; e < num_experts; ++e) {
                if (e != taken && (best < 0 || mine[e] > mine[best])) best = e;
            }
            taken = best;
            const u64 at = token * top_k + choice;
            const int own = expert[at];
            const bool exists = own >= 0 && own < num_experts;
            tally.add(own != best, at);
            tally.add(softmax.differs(weight[at], best) && (!exists || softmax.differs(weight[at], own)), at);
        }
    }
    tally.report(verdict);
}

extern "C" __global__ void judge_count(const int* expert, const int* M_sizes, int num_tokens, int num_experts,
                                       int top_k, Verdict* verdict) {
    Tally tally;
    for (u64 e = start(); e < num_experts; e += stride()) {
        tally.add(M_sizes[e] != sent_to(expert, e, num_tokens * top_k), e);
    }
    tally.report(verdict);
}

extern "C" __global__ void judge_offsets(const int* M_sizes, const int* group_offsets, int num_experts,
                                         Verdict* verdict) {
    Tally tally;
    for (u64 e = start(); e <= num_experts; e += stride()) {
        int before = 0;
        for (int other = 0; other < e; ++other) before += M_sizes[other];
        tally.add(group_offsets[e] != before, e);
    }
    tally.report(verdict);
}

// Whether a row is taken twice shows in A: at least one of the two assignments does not find its token.
extern "C" __global__ void judge_scatter(const float* x, const int* expert, const int* group_offsets,
                                         const int* row, const float* A, int num_tokens, int num_experts,
                                         int top_k, int hidden, Verdict* verdict) {
    Tally tally;
    for (u64 i = start(); i < (u64)num_tokens * top_k * hidden; i += stride()) {
        const u64 assignment = i / hidden, c = i % hidden;
        const int place = row[assignment], e = expert[assignment];
        const bool outside = place < group_offsets[e] || place >= group_offsets[e + 1];
        if (c == 0) tally.add(outside, assignment);
        if (outside) continue;
        const u64 at = (u64)place * hidden + c;
        tally.add(differ(A[at], x[assignment / top_k * hidden + c]), at);
    }
    tally.report(verdict);
}

extern "C" __global__ void judge_masked_scatter(const float* x, const int* expert, const int* slot,
                                                const float* A, int num_tokens, int num_experts, int top_k,
                                                int hidden, int capacity, Verdict* verdict) {
    Tally tally;
    const int assignments = num_tokens * top_k, nowhere = num_experts * capacity;
    for (u64 assignment = start(); assignment < assignments; assignment += stride()) {
        const int place = slot[assignment], e = expert[assignment], sent = sent_to(expert, e, assignments);
        const int kept = min(sent, capacity);
        if (place == nowhere) {
            int dropped = 0;
            for (int i = 0; i < assignments; ++i) dropped += expert[i] == e && slot[i] == nowhere;
            tally.add(dropped > sent - kept, assignment);
            continue;
        }
        const bool outside = place < e * capacity || place >= e * capacity + kept;
        tally.add(outside, assignment);
        for (int c = 0; c < hidden && !outside; ++c) {
            const u64 at = (u64)place * hidden + c;
            tally.add(differ(A[at], x[assignment / top_k * hidden + c]), at);
        }
    }
    tally.report(verdict);
}

// ---- products ------------------------------------------------------------------------------------------

__device__ void judge_product(const float* A, const float* W, const float* C, const int* group_offsets,
                              int num_experts, int K, int N, Verdict* verdict) {
    Tally tally;
    for (u64 i = start(); i < (u64)group_offsets[num_experts] * N; i += stride()) {
        const u64 row = i / N, e = expert_of(group_offsets, row);
        const Exact exact = product(A + row * K, W + e * K * N + i % N, K, N);
        tally.add(beyond(C[i], exact.value, exact.bound), i);
    }
    tally.report(verdict);
}

extern "C" __global__ void judge_gate_up(const float* A, const float* W_gate_up, const float* gate_up,
                                         const int* group_offsets, int num_experts, int hidden,
                                         int intermediate, Verdict* verdict) {
    judge_product(A, W_gate_up, gate_up, group_offsets, num_experts, hidden, 2 * intermediate, verdict);
}

extern "C" __global__ void judge_down(const float* h, const float* W_down, const float* out,
                                      const int* group_offsets, int num_experts, int hidden, int intermediate,
                                      Verdict* verdict) {
    judge_product(h, W_down, out, group_offsets, num_experts, intermediate, hidden, verdict);
}

extern "C" __global__ void judge_swiglu(const float* gate_up, const float* h, int rows, int intermediate,
                                        Verdict* verdict) {
    Tally tally;
    for (u64 i = start(); i < (u64)rows * intermediate; i += stride()) {
        const float* both = gate_up + i / intermediate * 2 * intermediate + i % intermediate;
        const Exact exact = swiglu(both[0], both[intermediate]);
        tally.add(beyond(h[i], exact.value, exact.bound), i);
    }
    tally.report(verdict);
}

// Rows beyond an expert's count are unused and not judged.
extern "C" __global__ void judge_masked_gate_up(const float* A, const float* W_gate_up, const float* h,
                                                const int* M_sizes, int num_experts, int capacity, int hidden,
                                                int intermediate, Verdict* verdict) {
    Tally tally;
    for (u64 i = start(); i < (u64)num_experts * capacity * intermediate; i += stride()) {
        const u64 row = i / intermediate, e = row / capacity;
        if (row % capacity >= M_sizes[e]) continue;
        const float* W = W_gate_up + e * hidden * 2 * intermediate + i % intermediate;
        const Exact gate = product(A + row * hidden, W, hidden, 2 * intermediate);
        const Exact up = product(A + row * hidden, W + intermediate, hidden, 2 * intermediate);
        const Exact exact = swiglu(gate.value, up.value);
        const double through = STEEPEST * gate.bound * (fabs(up.value) + up.bound) +
                               fabs(gate.value * sigmoid(gate.value)) * up.bound;
        tally.add(beyond(h[i], exact.value, exact.bound + through), i);
    }
    tally.report(verdict);
}

extern "C" __global__ void judge_masked_down(const float* h, const float* W_down, const float* out,
                                             const int* M_sizes, int num_experts, int capacity, int hidden,
                                             int intermediate, Verdict* verdict) {
    Tally tally;
    for (u64 i = start(); i < (u64)num_experts * capacity * hidden; i += stride()) {
        const u64 row = i / hidden, e = row / capacity;
        if (row % capacity >= M_sizes[e]) continue;
        const float* W = W_down + e * intermediate * hidden + i % hidden;
        const Exact exact = product(h + row * intermediate, W, intermediate, hidden);
        tally.add(beyond(out[i], exact.value, exact.bound), i);
    }
    tally.report(verdict);
}

// ---- combining -----------------------------------------------------------------------------------------

// `places`: how many rows there are. A place from there on is no row: the assignment was dropped.
__device__ void judge_sum(const float* out, const int* place, int places, const float* weight, const float* y,
                          int num_tokens, int top_k, int hidden, Verdict* verdict) {
    Tally tally;
    for (u64 i = start(); i < (u64)num_tokens * hidden; i += stride()) {
        double sum = 0, magnitude = 0;
        for (int choice = 0; choice < top_k; ++choice) {
            const u64 assignment = i / hidden * top_k + choice;
            if (place[assignment] >= places) continue;
            const double part =
                (double)weight[assignment] * out[(u64)place[assignment] * hidden + i % hidden];
            sum += part;
            magnitude += fabs(part);
        }
        tally.add(beyond(y[i], sum, 2 * top_k * U * magnitude), i);
    }
    tally.report(verdict);
}

extern "C" __global__ void judge_combine(const float* out, const int* row, const float* weight,
                                         const float* y, int num_tokens, int top_k, int hidden,
                                         Verdict* verdict) {
    judge_sum(out, row, num_tokens * top_k, weight, y, num_tokens, top_k, hidden, verdict);
}

extern "C" __global__ void judge_masked_combine(const float* out, const int* slot, const float* weight,
                                                const float* y, int num_tokens, int num_experts, int top_k,
                                                int hidden, int capacity, Verdict* verdict) {
    judge_sum(out, slot, num_experts * capacity, weight, y, num_tokens, top_k, hidden, verdict);
}

// The judge of exercise 05: counts the elements of C that are wrong, by the rule of
// fp8_grouped_gemm_error.py.
//
// How to launch it: any 1-D grid of 256 threads.

typedef unsigned long long u64;

constexpr int BLOCK = 128;  // elements along K, and columns of B, that share a scale
constexpr int TILE = 16;  // rows and columns of C that a block of threads judges at a time, one element each
constexpr int STEP = 32;  // products of one step of a tensor core
constexpr int FRACTION_BITS = 13;
constexpr double TRUNCATIONS = 10, DEVIATIONS = 8;

struct Verdict {
    u64 wrong;  // number of elements; starts as 0
    u64 first;  // the smallest index of a wrong element; starts as ~0
};

__device__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

// The value of an E4M3 code.
__device__ double decode(unsigned code) {
    const unsigned exponent = code >> 3 & 15, mantissa = code & 7;
    const float magnitude = exponent == 0 ? mantissa * 0.001953125f  // 2^-9
                                          : __uint_as_float((exponent + 120) << 23 | mantissa << 20);
    return code & 0x80 ? -magnitude : magnitude;
}

// FP64's bits for 2^exponent.
__device__ double power_of_two(int exponent) {
    return __longlong_as_double((long long)(1023 + exponent) << 52);
}

// 2^e <= |x| < 2^(e + 1), for what is no subnormal.
__device__ int exponent_of(double x) { return (int)(__double_as_longlong(x) >> 52 & 0x7ff) - 1023; }

// BF16, rounded to nearest even, as an integer in the order of the numbers; both zeros are 0.
__device__ int order_of(unsigned bits) {
    const int magnitude = bits & 0x7fff;
    return bits & 0x8000 ? -magnitude : magnitude;
}
__device__ int rounded_order(double x) {
    const double magic = 1.5 * power_of_two(max(exponent_of(x), -126) + 45);
    const float rounded = (float)__dsub_rn(__dadd_rn(x, magic), magic);
    return order_of(__float_as_uint(rounded) >> 16);
}

// What is known of one element: its exact value, and how far a right kernel may be from it.
struct Exact {
    double value = 0, variance = 0, magnitude = 0;

    // A block of 128 along K: the sum of its products, and u^2 of its steps.
    __device__ void add(double sum, double lost, double scale) {
        value += scale * sum;
        variance += scale * scale * lost;
        magnitude += fabs(scale * sum);
    }

    __device__ bool admits(unsigned short bits, int blocks) const {
        const double allowed =
            DEVIATIONS * sqrt(TRUNCATIONS / 3 * variance) + (blocks + 2) * power_of_two(-24) * magnitude;
        const int got = order_of(bits);
        return (bits & 0x7f80) != 0x7f80 && rounded_order(value - allowed) <= got &&
               got <= rounded_order(value + allowed);
    }
};

// Judges one tile of one group; A, B, C and their scales are the group's.
__device__ void judge_tile(const unsigned char* A, const float* A_scales, const unsigned char* B,
                           const float* B_scales, int M, int N, int K, int row, int col, Exact& exact) {
    __shared__ double a[TILE][STEP + 1], b[TILE][STEP + 1];
    const int ty = threadIdx.x / TILE, tx = threadIdx.x % TILE;
    const int first_row = row - ty, first_col = col - tx, blocks = ceil_div(K, BLOCK);
    for (int block = 0; block < blocks; ++block) {
        double sum = 0, lost = 0;
        for (int k0 = block * BLOCK; k0 < min(K, (block + 1) * BLOCK); k0 += STEP) {
            for (int i = threadIdx.x; i < TILE * STEP; i += blockDim.x) {
                const int at = i / STEP, k = k0 + i % STEP;
                a[at][i % STEP] =
                    first_row + at < M && k < K ? decode(A[(size_t)(first_row + at) * K + k]) : 0.0;
                b[at][i % STEP] =
                    first_col + at < N && k < K ? decode(B[(size_t)(first_col + at) * K + k]) : 0.0;
            }
            __syncthreads();
            const double before = fabs(sum);
            double fourth_powers = 0;
            for (int k = 0; k < STEP; ++k) {
                const double product = a[ty][k] * b[tx][k];
                sum += product;
                fourth_powers += product * product * (product * product);
            }
            const double largest = fmax(fmax(before, fabs(sum)), sqrt(sqrt(fourth_powers)));
            if (largest > 0) lost += power_of_two(2 * (exponent_of(largest) - FRACTION_BITS));
            __syncthreads();  // the next step refills a and b
        }
        if (row < M && col < N)
            exact.add(sum, lost,
                      (double)A_scales[(size_t)row * blocks + block] *
                          B_scales[(size_t)(col / BLOCK) * blocks + block]);
    }
}

extern "C" __global__ void judge_fp8_grouped_gemm(const unsigned char* A_concat, const float* A_scales,
                                                  const unsigned char* B_concat, const float* B_scales,
                                                  const unsigned short* C_concat, const int* group_offsets,
                                                  const int* M_sizes, int K, int N, int num_groups,
                                                  Verdict* verdict) {
    const int blocks = ceil_div(K, BLOCK), across = ceil_div(N, TILE);
    u64 wrong = 0, first = ~0ull;
    int group = 0, passed = 0;  // tiles of the groups before
    for (int tile = blockIdx.x;; tile += gridDim.x) {
        while (group < num_groups && tile - passed >= ceil_div(M_sizes[group], TILE) * across)
            passed += ceil_div(M_sizes[group++], TILE) * across;
        if (group == num_groups) break;
        const int row = (tile - passed) / across * TILE + threadIdx.x / TILE;
        const int col = (tile - passed) % across * TILE + threadIdx.x % TILE;
        const size_t offset = group_offsets[group];
        Exact exact;
        judge_tile(A_concat + offset * K, A_scales + offset * blocks, B_concat + (size_t)group * N * K,
                   B_scales + (size_t)group * ceil_div(N, BLOCK) * blocks, M_sizes[group], N, K, row, col,
                   exact);
        if (row >= M_sizes[group] || col >= N) continue;
        const size_t index = (offset + row) * N + col;
        if (exact.admits(C_concat[index], blocks)) continue;
        ++wrong;
        first = min(first, (u64)index);
    }
    if (wrong == 0) return;
    atomicAdd(&verdict->wrong, wrong);
    atomicMin(&verdict->first, first);
}

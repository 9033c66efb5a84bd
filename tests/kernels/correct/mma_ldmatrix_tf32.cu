// Tensor cores through inline PTX: cp.async, ldmatrix and mma. Each input is split into two TF32 numbers,
// and three products are added.
#include "grader.cuh"

constexpr int TILE = 32, STEP = 16;
constexpr int A_PITCH = STEP + 4, B_PITCH = TILE + 8;  // so that the lanes of a warp hit different banks

__device__ unsigned int shared_address(const void* p) { return (unsigned int)__cvta_generic_to_shared(p); }

__device__ void copy16(float* to, const float* from, bool inside) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(inside ? 16 : 0)
                 : "memory");
}

__device__ unsigned int to_tf32(float x) {
    unsigned int bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

// x is high + low, each of 11 significant bits.
__device__ void split(float x, unsigned int& high, unsigned int& low) {
    high = to_tf32(x);
    low = to_tf32(x - __uint_as_float(high));
}

__device__ void mma(float (&sum)[4], const unsigned int (&a)[4], const unsigned int (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four warps, each 16 rows and 16 columns of the 32x32 tile.
extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups) {
    __shared__ __align__(16) float A_tile[2][TILE][A_PITCH];
    __shared__ __align__(16) float B_tile[2][STEP][B_PITCH];
    const int group = blockIdx.z, M = M_sizes[group];
    const int first_row = blockIdx.y * TILE, first_col = blockIdx.x * TILE;
    if (first_row >= M) return;
    const float* A = A_concat + (size_t)group_offsets[group] * K;
    const float* B = B_concat + (size_t)group * K * N;
    const int t = threadIdx.x, lane = t % 32, warp = t / 32;
    const int warp_row = warp / 2 * 16, warp_col = warp % 2 * 16;

    auto request = [&](int k0) {
        const int stage = k0 / STEP % 2;
        if (k0 < K) {
            const int row = first_row + t / 4, k = t / 8, col = first_col + t % 8 * 4;
            copy16(&A_tile[stage][t / 4][t % 4 * 4], row < M ? &A[(size_t)row * K + k0 + t % 4 * 4] : A,
                   row < M);
            copy16(&B_tile[stage][k][t % 8 * 4], col < N ? &B[(size_t)(k0 + k) * N + col] : B, col < N);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    };

    float sum[2][4] = {};
    request(0);
    for (int k0 = 0; k0 < K; k0 += STEP) {
        request(k0 + STEP);
        asm volatile("cp.async.wait_group 1;" ::: "memory");
        __syncthreads();
        const int stage = k0 / STEP % 2;
        float part[2][4] = {};  // tensor cores cut off what they add up: short sums keep the error small
        for (int k = 0; k < STEP; k += 8) {
            // Four matrices of 8 rows of 16 bytes: rows 0-7 and 8-15, then the same four numbers further on.
            unsigned int bits[4], a_high[4], a_low[4];
            const float* row = &A_tile[stage][warp_row + lane % 16][k + lane / 16 * 4];
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                         : "=r"(bits[0]), "=r"(bits[1]), "=r"(bits[2]), "=r"(bits[3])
                         : "r"(shared_address(row))
                         : "memory");
            for (int i = 0; i < 4; ++i) split(__uint_as_float(bits[i]), a_high[i], a_low[i]);
            for (int j = 0; j < 2; ++j) {
                unsigned int b_high[2], b_low[2];
                for (int i = 0; i < 2; ++i)
                    split(B_tile[stage][k + lane % 4 + 4 * i][warp_col + 8 * j + lane / 4], b_high[i],
                          b_low[i]);
                mma(part[j], a_low, b_high);
                mma(part[j], a_high, b_low);
                mma(part[j], a_high, b_high);
            }
        }
        for (int j = 0; j < 2; ++j)
            for (int i = 0; i < 4; ++i) sum[j][i] += part[j][i];
        __syncthreads();
    }
    for (int j = 0; j < 2; ++j)
        for (int i = 0; i < 4; ++i) {
            const int row = first_row + warp_row + lane / 4 + i / 2 * 8;
            const int col = first_col + warp_col + 8 * j + lane % 4 * 2 + i % 2;
            if (row < M && col < N) C_concat[(size_t)(group_offsets[group] + row) * N + col] = sum[j][i];
        }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    int most_rows = 0;
    for (int g = 0; g < num_groups; ++g) most_rows = max(most_rows, M_sizes[g]);
    launch->grid = dim3((N + TILE - 1) / TILE, (most_rows + TILE - 1) / TILE, num_groups);
    launch->block = dim3(128);
}

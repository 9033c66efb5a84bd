// Every thread draws its next element of C from one counter; coalesced_threads draws once for all that come.
#include <cooperative_groups.h>

#include "grader.cuh"

namespace cg = cooperative_groups;

__device__ unsigned draw(unsigned* counter) {
    const cg::coalesced_group here = cg::coalesced_threads();  // whoever is in this branch together
    unsigned first = 0;
    if (here.thread_rank() == 0) first = atomicAdd(counter, here.size());
    return here.shfl(first, 0) + here.thread_rank();
}

extern "C" __global__ void grouped_gemm_kernel(const float* A_concat, const float* B_concat, float* C_concat,
                                               const int* group_offsets, const int* M_sizes, int K, int N,
                                               int num_groups, void* workspace) {
    const unsigned elements = group_offsets[num_groups] * N;
    for (unsigned at; (at = draw((unsigned*)workspace)) < elements;) {
        const int row = at / N, col = at % N;
        int group = 0;
        while (row >= group_offsets[group + 1]) ++group;
        float sum = 0;
        for (int k = 0; k < K; ++k)
            sum += A_concat[(size_t)row * K + k] * B_concat[((size_t)group * K + k) * N + col];
        C_concat[at] = sum;
    }
}

extern "C" __global__ void launch_grouped_gemm(const int* M_sizes, int K, int N, int num_groups,
                                               Launch* launch) {
    launch->grid = dim3(24);
    launch->block = dim3(100);  // the last warp has four threads
    launch->workspace_bytes = sizeof(unsigned);
}

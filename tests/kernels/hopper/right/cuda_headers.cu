// What CUDA's own headers offer: cuda::ptx for copies and mbarriers, cuda::barrier for a split barrier of the block,
// cooperative_groups::cluster_group for the sums of two blocks.
#include <cooperative_groups.h>
#include <cuda/barrier>
#include <cuda/ptx>

extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    namespace ptx = cuda::ptx;
    alignas(1024) __shared__ u16 A[TILE * STEP];
    alignas(1024) __shared__ u16 B[COLUMNS * STEP];
    __shared__ float part[TILE * COLUMNS];
    __shared__ uint64_t full;
#pragma nv_diag_suppress static_var_with_dynamic_init
    __shared__ cuda::barrier<cuda::thread_scope_block> read;
    auto cluster = cooperative_groups::this_cluster();
    const int rank = cluster.block_rank(), first_row = blockIdx.x / 2 * TILE;
    if (threadIdx.x == 0) {
        ptx::mbarrier_init(&full, 1);
        init(&read, 128);
        ptx::fence_mbarrier_init(ptx::sem_release, ptx::scope_cluster);
    }
    __syncthreads();
    float sum[SUMS] = {};
#pragma unroll 1
    for (int i = 0; i < STEPS / 2; ++i) {
        const int step = rank * STEPS / 2 + i;
        if (threadIdx.x == 0) {
            const int from_a[2] = {step * STEP, first_row}, from_b[2] = {step * STEP, 0};
            ptx::mbarrier_arrive_expect_tx(ptx::sem_release, ptx::scope_cta, ptx::space_shared, &full, TILE_BYTES);
            ptx::cp_async_bulk_tensor(ptx::space_cluster, ptx::space_global, A, &of_a, from_a, &full);
            ptx::cp_async_bulk_tensor(ptx::space_cluster, ptx::space_global, B, &of_b, from_b, &full);
        }
        while (!ptx::mbarrier_try_wait_parity(&full, i & 1)) {
        }
        fence_registers();
        multiply_step(sum, A, B);
        commit();
        wait_for_products<0>();
        read.arrive_and_wait();
    }
    store_sums(part, sum, 0);
    cluster.sync();
    const float* theirs = cluster.map_shared_rank(part, rank ^ 1);
    for (int i = threadIdx.x; i < TILE * COLUMNS / 2; i += 128) {
        const int mine = rank * TILE * COLUMNS / 2 + i;
        d[first_row * COLUMNS + mine] = part[mine] + theirs[mine];
    }
    cluster.sync();
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, 2 * ROWS / TILE, 128, 2); }

// As distributed_sum.cu, but each block sends one half of its sums to the other with st.async, which an mbarrier
// there counts.
extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[2][TILE * STEP];
    alignas(1024) __shared__ u16 B[2][COLUMNS * STEP];
    __shared__ float inbox[128 * SUMS / 2];
    __shared__ u64 full, came;
    const int rank = rank_in_cluster(), first_row = blockIdx.x / 2 * TILE, other = rank ^ 1;
    if (threadIdx.x == 0) {
        init(&full, 1);
        init(&came, 1);
        fence_init();
        expect(&came, sizeof inbox);
        expect(&full, 2 * TILE_BYTES);
        for (int i = 0; i < 2; ++i) {
            const int step = rank * STEPS / 2 + i;
            load(A[i], &of_a, step * STEP, first_row, &full);
            load(B[i], &of_b, step * STEP, 0, &full);
        }
    }
    sync_cluster();
    float sum[SUMS] = {};
    wait(&full, 0);
    fence_registers();
    for (int i = 0; i < 2; ++i) multiply_step(sum, A[i], B[i]);
    commit();
    wait_for_products<0>();
    const u32 box = mapped(&inbox[threadIdx.x], other), signal = mapped(&came, other);
    for (int i = 0; i < SUMS / 2; ++i) store_async(box + 512 * i, rank ? sum[i] : sum[SUMS / 2 + i], signal);
    wait(&came, 0);
    for (int i = 0; i < SUMS / 2; ++i) {
        const int own = rank * SUMS / 2 + i;
        const float mine = rank ? sum[SUMS / 2 + i] : sum[i];
        d[(first_row + row_of(own)) * COLUMNS + column_of(own)] = mine + inbox[threadIdx.x + 128 * i];
    }
    sync_cluster();
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, 2 * ROWS / TILE, 128, 2); }

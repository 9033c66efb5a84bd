// Two warpgroups take turns: each has tiles of its own, and while one stores its sums, the other multiplies. Named
// barriers pass the turn on.
constexpr int STAGES = 2, CONSUMERS = 256;

inline_device void take_turn(int group) { asm volatile("bar.sync %0, 256;" ::"r"(1 + group) : "memory"); }
inline_device void pass_turn(int group) { asm volatile("bar.arrive %0, 256;" ::"r"(2 - group) : "memory"); }

extern "C" __global__ void gemm_kernel(GEMM_PARAMETERS) {
    alignas(1024) __shared__ u16 A[STAGES][TILE * STEP];
    alignas(1024) __shared__ u16 B[STAGES][COLUMNS * STEP];
    __shared__ u64 full[STAGES], empty[STAGES];
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) {
            init(&full[stage], 1);
            init(&empty[stage], 1);
        }
        fence_init();
    }
    __syncthreads();
    if (threadIdx.x >= CONSUMERS) {
        if (threadIdx.x == CONSUMERS) {
#pragma unroll 1
            for (int i = 0; i < 2 * STEPS; ++i) {
                const int stage = i % STAGES, step = i % STEPS, tile = i / STEPS;
                wait(&empty[stage], i / STAGES & 1 ^ 1);
                expect(&full[stage], TILE_BYTES);
                load(A[stage], &of_a, step * STEP, tile * TILE, &full[stage]);
                load(B[stage], &of_b, step * STEP, 0, &full[stage]);
            }
        }
        return;
    }
    const int group = threadIdx.x / 128;
    float sum[SUMS] = {};
    if (group == 1) take_turn(group);
#pragma unroll 1
    for (int step = 0; step < STEPS; ++step) {
        const int i = group * STEPS + step, stage = i % STAGES;
        wait(&full[stage], i / STAGES & 1);
        fence_registers();
        multiply_step(sum, A[stage], B[stage]);
        commit();
        wait_for_products<0>();
        asm volatile("bar.sync %0, 128;" ::"r"(4 + group) : "memory");
        if (threadIdx.x % 128 == 0) arrive(&empty[stage]);
    }
    if (group == 0) pass_turn(group);
    store_sums(d, sum, group * TILE);
}

extern "C" __global__ void launch_gemm(Launch* launch) { launch_with(launch, 1, CONSUMERS + 32); }
